#include "predict/skew_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "predict/worker_cost.h"
#include "report/figures.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

constexpr int kTried = 30;  // parts of the range whose ends are tried before halving
constexpr int kHalvings = 7;
constexpr int kShownEvery = 5;

struct Phases {
  double decode = 0;
  double prefill = 0;
};

Phases expert_seconds(const StepCost& costs, const Worker& worker) {
  const std::int64_t rows = (worker.batch + worker.microbatches - 1) / worker.microbatches;
  const std::int64_t prompts =
      std::min(prompts_per_pass(costs.workload().isl, worker.chunk), worker.batch);
  Phases out;
  for (std::size_t k = 0; k < costs.model().kinds.size(); ++k) {
    const auto layers =
        static_cast<double>(std::ranges::count(costs.model().layers, static_cast<std::int32_t>(k)));
    const double share = costs.peak_share(k, worker);
    out.decode += layers * static_cast<double>(worker.microbatches) *
                  costs.experts(k, worker, rows, share).seconds;
    out.prefill += layers * costs.experts_prefill(k, worker, prompts, share).seconds;
  }
  return out;
}

SpreadAndCut both(const StepCost& costs, const ExpertBalance& balance) {
  const Phases spread = expert_seconds(costs, balance.spread);
  const Phases cut = expert_seconds(costs, balance.cut);
  return {spread.decode, cut.decode, spread.prefill, cut.prefill};
}

SpreadAndCut at_skew(const StepCost& costs, const ExpertBalance& balance, double skew) {
  Workload workload = costs.workload();
  workload.expert_load = nullptr;
  workload.skew = skew;
  const StepCost skewed(costs.model(), costs.cluster(), costs.engine(), workload,
                        costs.operators());
  return both(skewed, balance);
}

bool cut_decodes_faster(const SpreadAndCut& s) {
  return s.cut_decode_s < s.spread_decode_s;
}
bool cut_prefills_faster(const SpreadAndCut& s) {
  return s.cut_prefill_s < s.spread_prefill_s;
}

// Smallest exponent of `tried` (ascending) at which `faster` holds, then halved down to it.
template <class Faster>
std::optional<double> break_even(const StepCost& costs, const ExpertBalance& balance,
                                 const std::vector<ExpertBalance::Point>& tried,
                                 const Faster& faster) {
  const auto first =
      std::ranges::find_if(tried, [&](const auto& point) { return faster(point.seconds); });
  if (first == tried.end()) return std::nullopt;
  if (first == tried.begin()) return first->skew;
  double below = std::prev(first)->skew;
  double above = first->skew;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (below + above) / 2;
    (faster(at_skew(costs, balance, middle)) ? above : below) = middle;
  }
  return above;
}

}  // namespace

std::optional<ExpertBalance> expert_balance(const StepCost& costs, const Worker& worker) {
  if (worker.ep <= 1 || costs.model().experts() == 0) return std::nullopt;
  ExpertBalance out;
  out.spread = worker;
  out.cut = worker;
  out.cut.etp = worker.ep * worker.etp;
  out.cut.ep = 1;
  out.cut.redundant = 0;
  out.cut_folds = expert_degree_fits(costs.model(), out.cut.etp);
  out.asked = both(costs, out);
  std::vector<ExpertBalance::Point> tried;
  for (int i = 0; i <= kTried; ++i) {
    const double skew = kHighestSkew * i / kTried;
    tried.push_back({skew, at_skew(costs, out, skew)});
    if (i % kShownEvery == 0) out.points.push_back(tried.back());
  }
  out.decode_skew = break_even(costs, out, tried, cut_decodes_faster);
  out.prefill_skew = break_even(costs, out, tried, cut_prefills_faster);
  return out;
}

std::string break_even_text(const std::optional<double>& skew) {
  if (!skew) return fmt::format("never (up to {})", kHighestSkew);
  if (*skew == 0) return "always";
  return fmt::format("from a Zipf exponent of {:.2f} on", *skew);
}

std::string describe(const ExpertBalance& balance) {
  const auto seconds = [](double s) { return format_figure(s, FigureUnit::Seconds); };
  MarkdownTable table({"experts' load", fmt::format("decode, ep {}", balance.spread.ep),
                       fmt::format("decode, etp {}", balance.cut.etp),
                       fmt::format("prefill, ep {}", balance.spread.ep),
                       fmt::format("prefill, etp {}", balance.cut.etp)});
  const auto row = [&](const std::string& load, const SpreadAndCut& s) {
    table.add({load, seconds(s.spread_decode_s), seconds(s.cut_decode_s),
               seconds(s.spread_prefill_s), seconds(s.cut_prefill_s)});
  };
  row("as asked", balance.asked);
  for (const ExpertBalance::Point& point : balance.points) {
    row(fmt::format("Zipf {:.1f}", point.skew), point.seconds);
  }
  return fmt::format(
             "Every expert cut over {} ranks instead of whole experts on each is faster: decode "
             "{}, prefill {}{}.\n\n",
             balance.cut.etp, break_even_text(balance.decode_skew),
             break_even_text(balance.prefill_skew),
             balance.cut_folds ? "" : " (this model's experts cannot be cut that far)") +
         table.text();
}

}  // namespace pentafold
