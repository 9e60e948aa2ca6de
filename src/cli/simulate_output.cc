// A simulation as text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/units.h"
#include "cli/simulate.h"
#include "cli/simulate_figures.h"

namespace pentafold {
namespace {

constexpr std::size_t kColumns = 60;  // of a curve

// Eighths of a block: U+2581 to U+2588, a blank for nothing.
std::string sparkline(const Series& curve, double top) {
  std::string out;
  for (const double value : curve) {
    const double part = top > 0 ? value / top : 0;
    const int eighths = std::clamp(static_cast<int>(std::ceil(part * 8)), 0, 8);
    if (eighths == 0) {
      out += ' ';
    } else {
      out += "\xE2\x96";
      out += static_cast<char>(0x80 + eighths);
    }
  }
  return out;
}

double largest(const Series& curve) {
  return curve.empty() ? 0 : *std::ranges::max_element(curve);
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

std::string format_pool_limits(const SimulationCase& asked, std::size_t i) {
  const Pool& pool = asked.plan.pools[i];
  const BatchLimits& limits = asked.pool(i).limits;
  return fmt::format(
      "{} x {} ({})\n  KV {} tokens in each of {} dp groups; at most {} sequences, {} rows a step, "
      "{} of one prompt\n",
      pool.replicas, describe(pool.worker), to_string(pool.role),
      limits.blocks_per_group * limits.block_tokens, limits.groups,
      std::min(limits.max_sequences, limits.max_group_sequences * limits.groups),
      limits.step_tokens, limits.piece_tokens);
}

std::string format_latencies(const ServiceSummary& summary) {
  std::string out =
      fmt::format("\n{:<8}{:>12}{:>12}{:>12}{:>12}\n", "", "mean", "p50", "p90", "p99");
  for (const NamedDistribution& d : distributions(summary)) {
    if (d.values.n == 0) continue;
    out += fmt::format("{:<8}{:>12}{:>12}{:>12}{:>12}\n", d.name, format_seconds(d.values.mean),
                       format_seconds(d.values.p50), format_seconds(d.values.p90),
                       format_seconds(d.values.p99));
  }
  return out;
}

std::string format_throughput(const SimulationAnswer& answer) {
  const ServiceSummary& s = answer.found.summary;
  const ServiceTargets& slo = answer.asked.slo;
  std::string out = fmt::format(
      "\n{} requests served in {}: {:.3g}/s, {:.1f} tokens/s generated ({:.1f} a GPU), {:.1f} with "
      "prompts\n",
      s.finished, format_seconds(s.duration_s), s.requests_per_s, s.output_tokens_per_s,
      s.output_tokens_per_s_per_gpu, s.total_tokens_per_s);
  if (slo.any()) {
    std::string limits;
    const auto add = [&](const char* name, const std::optional<double>& limit) {
      if (limit)
        limits +=
            fmt::format("{} {} within {}", limits.empty() ? "" : ",", name, format_seconds(*limit));
    };
    add("TTFT", slo.ttft_s);
    add("TPOT", slo.tpot_s);
    add("E2E", slo.e2e_s);
    const auto n = static_cast<double>(std::max<std::int64_t>(s.finished + s.rejected, 1));
    out += fmt::format("goodput: {} requests ({}) had{}: {:.3g}/s\n", s.good,
                       percent(static_cast<double>(s.good) / n), limits, s.goodput_per_s);
  }
  if (s.shared_prompt_share > 0) {
    out += fmt::format("prefixes: {} of the prompts' tokens were in a cache already\n",
                       percent(s.shared_prompt_share));
  }
  if (s.preemptions > 0) out += fmt::format("preemptions: {}\n", s.preemptions);
  if (s.rejected > 0) {
    out += fmt::format("rejected: {} requests that the KV blocks of one dp group cannot hold\n",
                       s.rejected);
  }
  return out;
}

// A line for each stage whose ranks differ, or which differs from the others: who is busy, who
// waits.
std::string format_ranks(const std::vector<RankTime>& ranks) {
  const auto [least, most] = std::ranges::minmax(ranks, {}, &RankTime::compute);
  constexpr double kAlike = 0.001;
  if (most.compute - least.compute < kAlike) return "";
  constexpr std::int64_t kStages = 8;
  std::string out;
  for (std::size_t at = 0; at < ranks.size();) {
    const std::int64_t stage = ranks[at].stage;
    std::size_t end = at;
    while (end < ranks.size() && ranks[end].stage == stage) ++end;
    const auto mine = std::span(ranks).subspan(at, end - at);
    at = end;
    if (stage == kStages) {
      out += "  ... (--json lists all ranks)\n";
      break;
    }
    const auto idlest = std::ranges::min(mine, {}, &RankTime::compute);
    const auto busiest = std::ranges::max(mine, {}, &RankTime::compute);
    out += fmt::format("  stage {}, {} ranks: rank {} computes most, {}", stage, mine.size(),
                       busiest.rank, percent(busiest.compute));
    if (busiest.compute - idlest.compute >= kAlike) {
      out += fmt::format(" (dp group {}, expert group {}), rank {} least, {}", busiest.dp_group,
                         busiest.expert_group, idlest.rank, percent(idlest.compute));
    }
    out += fmt::format("; all communicate {}, wait in the pipeline {}\n",
                       percent(busiest.communication), percent(busiest.bubble));
  }
  return out;
}

std::string format_pool_use(const SimulationAnswer& answer, std::size_t i) {
  const PoolUse& use = answer.found.pools[i];
  const RankTime time = mean_of(answer.ranks[i]);
  const PoolCurves curves = curves_of(use, kColumns);
  std::string out = fmt::format(
      "\n{}: {} steps; ranks compute {}, communicate {}, wait for busier ranks {}, wait in the "
      "pipeline {}, idle {}\n",
      to_string(answer.asked.plan.pools[i].role), use.steps, percent(time.compute),
      percent(time.communication), percent(time.waiting), percent(time.bubble), percent(time.idle));
  out += format_ranks(answer.ranks[i]);
  out += fmt::format("  over time, a column is {}\n", format_seconds(curves.bucket_s));
  const auto line = [&](const char* name, const Series& curve, double top,
                        const std::string& most) {
    out += fmt::format("  {:<8}|{}| {}\n", name, sparkline(curve, top), most);
  };
  line("queue", curves.queue, largest(curves.queue),
       fmt::format("up to {:.3g}", largest(curves.queue)));
  line("running", curves.running, largest(curves.running),
       fmt::format("up to {:.3g}", largest(curves.running)));
  line("KV", curves.kv, largest(curves.kv),
       fmt::format("up to {} of the blocks, {} of the fullest replica's",
                   percent(largest(curves.kv)), percent(use.peak_kv_share)));
  line("busy", curves.busy, 1, fmt::format("mean {}", percent(use.busy_share)));
  return out;
}

std::string format_measured(const std::vector<MeasuredMetric>& compared) {
  if (compared.empty()) return "";
  std::string out = fmt::format("\n{:<10}{:>12}{:>12}{:>9}   of {} requests that were measured\n",
                                "", "simulated", "measured", "error", compared.front().measured.n);
  const auto line = [&](const std::string& name, double simulated, double measured) {
    out += fmt::format("{:<10}{:>12}{:>12}{:>+8.1f} %\n", name, format_seconds(simulated),
                       format_seconds(measured), 100 * error_of(simulated, measured));
  };
  for (const MeasuredMetric& c : compared) {
    line(fmt::format("{} mean", c.name), c.simulated.mean, c.measured.mean);
    line(fmt::format("{} p50", c.name), c.simulated.p50, c.measured.p50);
    line(fmt::format("{} p90", c.name), c.simulated.p90, c.measured.p90);
    line(fmt::format("{} p99", c.name), c.simulated.p99, c.measured.p99);
  }
  return out;
}

}  // namespace

std::string format_simulation(const SimulationAnswer& answer) {
  const SimulationCase& asked = answer.asked;
  const Problem& problem = asked.request.problem;
  std::string out = fmt::format("{} on {} GPUs ({}), engine {}\n", problem.model.name,
                                asked.plan.gpus(), problem.cluster.gpu.name, problem.engine.name);
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) out += format_pool_limits(asked, i);
  out += describe(asked.arriving.trace, asked.arriving.left_out);
  if (answer.step_factor > 1) {
    out += fmt::format("steps take what is said here within a factor of {:.2f} (80 %)\n",
                       answer.step_factor);
  }
  if (answer.found.summary.finished > 0) out += format_latencies(answer.found.summary);
  out += format_throughput(answer);
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) out += format_pool_use(answer, i);
  return out + format_measured(measured_metrics(answer));
}

}  // namespace pentafold
