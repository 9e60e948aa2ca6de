// Why this plan: what binds each phase, what one decision more or less would do, and what became of
// the other families.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "planner/plan_report_parts.h"
#include "planner/undecided.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

struct Change {
  const char* name;  // of its figures
  const char* text;
  // False where the worker cannot be changed so.
  std::function<bool(Worker&)> apply;
};

bool halve(std::int64_t& n) {
  if (n % 2 != 0) return false;
  n /= 2;
  return true;
}

// Twice `up` for half of `down`: as many ranks.
Change trade(const char* name, const char* text, std::int64_t Worker::* up,
             std::int64_t Worker::* down) {
  return {name, text, [up, down](Worker& w) {
            w.*up *= 2;
            return halve(w.*down);
          }};
}

std::vector<Change> changes(const ReportPool& p) {
  const auto twice = [](std::int64_t Worker::* field) {
    return [field](Worker& w) {
      w.*field *= 2;
      return true;
    };
  };
  const auto half = [](std::int64_t Worker::* field) {
    return [field](Worker& w) { return halve(w.*field); };
  };
  std::vector<Change> out = {
      trade("tp_up", "twice tp, half dp", &Worker::tp, &Worker::dp),
      trade("tp_down", "half tp, twice dp", &Worker::dp, &Worker::tp),
      trade("ep_up", "twice ep, half etp", &Worker::ep, &Worker::etp),
      trade("ep_down", "half ep, twice etp", &Worker::etp, &Worker::ep),
      {"ep_wider", "twice ep over the same ranks", twice(&Worker::ep)},
      {"ep_narrower", "half ep, expert mesh repeated", half(&Worker::ep)},
      {"larger", "twice dp and ep: a larger worker",
       [](Worker& w) {
         w.dp *= 2;
         w.ep *= 2;
         return true;
       }},
      {"smaller", "half dp and ep: a smaller worker",
       [](Worker& w) { return halve(w.dp) && halve(w.ep); }},
  };
  if (p.decodes()) {
    out.push_back({"batch_up", "twice the batch", twice(&Worker::batch)});
    out.push_back({"batch_down", "half the batch", half(&Worker::batch)});
  }
  if (p.prefills()) {
    out.push_back({"chunk_up", "twice the chunk", twice(&Worker::chunk)});
    out.push_back({"chunk_down", "half the chunk", half(&Worker::chunk)});
  }
  return out;
}

// The first limit of a worker alone that it would miss.
std::string missed(const ReportContext& x, const ReportPool& p, const Worker& worker,
                   const WorkerPrediction& prediction) {
  const Targets& t = x.problem.targets;
  if (prediction.memory.total() > x.problem.memory_limit()) return "memory";
  if (worker.gpus() > x.problem.gpu_limit()) return "number of GPUs";
  if (p.prefills() && t.ttft_s && prediction.rates.ttft_s > *t.ttft_s) return "TTFT";
  if (p.decodes() && t.tpot_s && prediction.rates.tpot_s > *t.tpot_s) return "TPOT";
  return "-";
}

std::string neighbours(ReportContext& x, const ReportPool& p) {
  MarkdownTable table({"one decision changed", "requests/s per GPU", p.decodes() ? "TPOT" : "pass",
                       "memory", "limit missed"});
  const double own = p.prediction.rates.requests_per_s / static_cast<double>(p.worker().gpus());
  if (own <= 0) return "";
  for (const Change& change : changes(p)) {
    Worker w = p.worker();
    if (!change.apply(w) || w == p.worker() || w.ep < 1 || w.stage_ranks() % (w.ep * w.etp) != 0 ||
        folding_failure(x.problem.model, w)) {
      continue;
    }
    const WorkerPrediction other = predict_worker(x.costs, w, p.pool.role);
    const std::string start = p.id(fmt::format("neighbour.{}.", change.name));
    const std::string source =
        fmt::format("predict/worker_cost.h: predict_worker of {}", describe(w));
    const double rate = other.rates.requests_per_s / static_cast<double>(w.gpus());
    table.add({change.text,
               x.figures.show({start + "gain", rate / own - 1, U::Share,
                               "more (less) requests/s per GPU than planned", "", source}),
               x.figures.show({start + "seconds",
                               p.decodes() ? other.rates.tpot_s : other.timing.prefill_s,
                               U::Seconds, p.decodes() ? "TPOT" : "pass", "", source}),
               x.figures.show({start + "memory", other.memory.total(), U::Bytes,
                               "on the fullest rank", "", source}),
               missed(x, p, w, other)});
  }
  return table.empty() ? "" : table.text();
}

std::string binds(ReportContext& x, const std::string& phase, const std::string& whole,
                  const Cost& cost) {
  const auto largest =
      static_cast<Bound>(std::max_element(cost.by.begin(), cost.by.end()) - cost.by.begin());
  const Figures& f = x.figures;
  return fmt::format("- {} is bound by {}, {} of {}; in all: {}.\n", phase, to_string(largest),
                     x.figures.show(*f.find(phase + ".share." + figure_name(largest))),
                     x.figures.show(*f.find(phase + "." + whole)), binding(cost));
}

std::string family_title(const StrategyFamily& family) {
  return family.disaggregated ? "two pools" : family_name(family.kinds);
}

void family_rows(ReportContext& x, const StrategyFamily& family, MarkdownTable& table) {
  const std::string title = family_title(family);
  const std::string start = "family." + figure_name(title) + ".";
  const std::string source = "planner/search.h: the best of the family";
  if (family.best) {
    const Score& s = family.best->score;
    table.add({title,
               x.figures.show({start + "per_gpu", s.tokens_per_s_per_gpu(), U::TokensPerSecond,
                               "generated, per GPU", "", source}),
               x.figures.show({start + "ttft", s.ttft_s, U::Seconds, "TTFT", "", source}),
               x.figures.show({start + "tpot", s.tpot_s, U::Seconds, "TPOT", "", source}),
               describe(*family.best)});
  } else if (family.nearest) {
    const Miss& miss = *family.nearest;
    const std::string over =
        x.figures.show({start + "over", miss.ratio(), U::Ratio, "times the limit that is missed",
                        "", "planner/search.h: the candidate of the family that came nearest"});
    table.add({title, "-", "-", "-",
               fmt::format("misses {} {} times: {} against {}; nearest: {}", to_string(miss.limit),
                           over, format_limit(miss.limit, miss.reached),
                           format_limit(miss.limit, miss.bound), describe(family.nearest_worker))});
  }
}

// The best of other kinds that may be as good: their difference is within its error.
std::string not_told_apart(ReportContext& x) {
  MarkdownTable table({"family", "behind the best", "error of the difference", "plan"});
  for (const Undecided& other : undecided(x.problem, x.result)) {
    const std::string start = "undecided." + figure_name(other.kind) + ".";
    const std::string source = "planner/undecided.h; docs/planner.md derives it";
    table.add({other.kind,
               x.figures.show({start + "behind", std::expm1(other.behind), U::Share,
                               "worse by the objective than the winner", "", source}),
               x.figures.show({start + "error", std::expm1(other.error), U::Share,
                               "half-width of the 80 % interval, without what both plans share", "",
                               source}),
               describe(other.deployment)});
  }
  if (table.empty()) return "";
  return "Not told apart from the winner by the prediction:\n\n" + table.text();
}

}  // namespace

std::string rationale_section(ReportContext& x) {
  std::string out = "## Why this plan\n\n";
  for (const ReportPool& p : x.pools) {
    if (p.prefills()) out += binds(x, "prefill", "pass", p.prediction.prefill);
    if (p.decodes()) out += binds(x, "decode", "step", p.prediction.decode);
  }
  out +=
      fmt::format("- Considered: {} candidates, {} of them not cut by a bound.\n\n",
                  x.figures.show({"search.lattice", static_cast<double>(x.result.lattice), U::Count,
                                  "workers and pairs of pools", "", "planner/lattice.h"}),
                  x.figures.show({"search.evaluated", static_cast<double>(x.result.evaluated),
                                  U::Count, "candidates priced", "", "planner/search.h"}));
  for (const ReportPool& p : x.pools) {
    const std::string table = neighbours(x, p);
    if (!table.empty()) out += fmt::format("Neighbours of the worker{}:\n\n{}", p.title(), table);
  }
  std::vector<const StrategyFamily*> order;
  for (const StrategyFamily& family : x.result.families) order.push_back(&family);
  std::ranges::stable_sort(order, [&](const StrategyFamily* a, const StrategyFamily* b) {
    if (a->best && b->best) return compare(x.problem, a->best->score, b->best->score) > 0;
    if (a->best || b->best) return a->best.has_value();
    return a->nearest && b->nearest && a->nearest->nearer_than(*b->nearest);
  });
  MarkdownTable table({"family", "tokens/s per GPU", "TTFT", "TPOT", "best, or why not"});
  for (const StrategyFamily* family : order) family_rows(x, *family, table);
  if (!table.empty()) out += "All families, best first:\n\n" + table.text();
  return out + not_told_apart(x);
}

}  // namespace pentafold
