#include "planner/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "planner/plan_report_parts.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

ReportPool report_pool(const StepCost& costs, const Pool& pool, bool split) {
  ReportPool out;
  out.pool = pool;
  out.prediction = predict_worker(costs, pool.worker, pool.role);
  if (split) out.prefix = pool.role == Role::Prefill ? "prefill." : "decode.";
  double most = 0;
  for (std::int64_t s = 0; s < pool.worker.pp(); ++s) {
    const double bytes =
        stage_bytes(costs.model(), pool.worker, s, cached_tokens(costs.workload(), pool.role),
                    out.prediction.peak_share)
            .total();
    if (bytes > most) {
      most = bytes;
      out.fullest = s;
    }
  }
  return out;
}

// Of the families' nearest candidates the nearest; none where nothing was tried.
const StrategyFamily* nearest_family(const SearchResult& result) {
  const StrategyFamily* nearest = nullptr;
  for (const StrategyFamily& family : result.families) {
    if (!family.nearest) continue;
    // A worker for both phases says more than half of a pair.
    const bool better = nearest == nullptr || (nearest->disaggregated == family.disaggregated
                                                   ? family.nearest->nearer_than(*nearest->nearest)
                                                   : nearest->disaggregated);
    if (better) nearest = &family;
  }
  return nearest;
}

void choose_pools(const Problem& problem, const SearchResult& result, ReportContext& x) {
  if (result.winner) {
    const bool split = result.winner->disaggregated();
    for (const Pool& pool : result.winner->pools) {
      x.pools.push_back(report_pool(x.costs, pool, split));
    }
    x.score = result.winner->score;
    return;
  }
  const StrategyFamily* family = nearest_family(result);
  if (family == nullptr) return;
  Pool pool{family->nearest_worker, 1, Role::Both};
  // A decode worker has no chunk axis (planner/lattice.h).
  if (family->disaggregated) pool.role = pool.worker.chunk == 1 ? Role::Decode : Role::Prefill;
  ReportPool only = report_pool(x.costs, pool, false);
  if (pool.role == Role::Both) {
    std::int64_t replicas = 0;
    x.score = pool_score(problem, pool.worker, only.prediction.rates, &replicas);
    only.pool.replicas = std::max<std::int64_t>(replicas, 1);
  }
  x.pools.push_back(std::move(only));
}

std::string headline(const ReportContext& x) {
  const Problem& problem = x.problem;
  std::string out = fmt::format("# {} on {}\n\n", markdown_cell(problem.model.name),
                                markdown_cell(problem.cluster.gpu.name));
  if (x.result.winner) {
    const Score& s = x.result.winner->score;
    return out + fmt::format("**{}**\n\n{} per GPU, TTFT {}, TPOT {}, on {} GPUs.\n\n",
                             describe(*x.result.winner),
                             format_figure(s.tokens_per_s_per_gpu(), FigureUnit::TokensPerSecond) +
                                 " [throughput.per_gpu]",
                             format_figure(s.ttft_s, FigureUnit::Seconds) + " [prefill.ttft]",
                             format_figure(s.tpot_s, FigureUnit::Seconds) +
                                 (problem.workload.osl > 1 ? " [decode.tpot]" : ""),
                             fmt::format("{} [plan.gpus]", s.gpus));
  }
  out += "**No plan of the lattice holds all limits.**";
  const StrategyFamily* nearest = nearest_family(x.result);
  if (nearest == nullptr) return out + " No candidate fits the fleet at all.\n\n";
  Miss miss = *nearest->nearest;
  // The search stops adding up at the limit; here are all of its bytes.
  if (miss.limit == Limit::Memory) miss.reached = x.pools.front().prediction.memory.total();
  return out + fmt::format(
                   " The nearest misses {}: {} against {}. This document is about that "
                   "candidate, {}.\n\n",
                   to_string(miss.limit), format_limit(miss.limit, miss.reached),
                   format_limit(miss.limit, miss.bound), describe(nearest->nearest_worker));
}

}  // namespace

std::string ReportPool::title() const {
  return prefix.empty() ? "" : fmt::format(", {} pool", to_string(pool.role));
}

std::string figure_name(std::string_view words) {
  std::string name;
  for (const char c : words) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      name += static_cast<char>(std::tolower(byte));
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  return name.empty() ? "unnamed" : name;
}

PlanReport plan_report(const Problem& problem, const SearchResult& result,
                       const std::optional<WhyNot>& why) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  ReportContext x{problem, result, why, costs, {}, std::nullopt, {}};
  choose_pools(problem, result, x);
  std::string text = headline(x) + hardware_section(x) + request_section(x);
  if (x.pools.empty()) {
    text += path_section(x);
  } else {
    text += model_section(x);
    text += degrees_section(x);
    text += rank_map_section(x);
    text += memory_section(x);
    text += speed_section(x);
    text += rationale_section(x);
    text += lengths_section(x);
    text += balance_section(x);
    text += traffic_section(x);
    text += bubble_section(x);
    text += targets_section(x);
    text += risks_section(x);
    text += path_section(x);
  }
  text += "## Figures\n\nEvery number in brackets, and how it came about.\n\n";
  text += figure_table(x.figures);
  return {std::move(text), std::move(x.figures)};
}

}  // namespace pentafold
