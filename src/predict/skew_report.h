// skew_report: how uneven the experts' load must be for cutting experts to beat spreading them.
//
// Whole experts on each rank (ep) read fewest weights per rank and send a row only where it is
// wanted, but a step waits for the rank with the hot ones; every expert cut over all ranks of its
// group (ep 1, etp = ep x etp) is even whatever the load, reads a part of every touched expert on
// every rank and sends every row everywhere. The break-even is the smallest Zipf exponent at which
// the expert part of a step (dispatch, experts, combine, of all layers) is faster when cut.
// Source: predict/step_cost.h at each exponent. Cost: about 50 StepCosts. Held by
// predict/skew_report_test.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "predict/step_cost.h"

namespace pentafold {

// Seconds of the expert part over all layers: one decode step, one prefill pass.
struct SpreadAndCut {
  double spread_decode_s = 0;
  double cut_decode_s = 0;
  double spread_prefill_s = 0;
  double cut_prefill_s = 0;
};

inline constexpr double kHighestSkew = 3;

struct ExpertBalance {
  Worker spread;          // as planned
  Worker cut;             // the same with every expert cut
  bool cut_folds = true;  // experts can be cut that far (plan/worker.h)
  SpreadAndCut asked;     // under the workload's own load
  struct Point {
    double skew = 0;
    SpreadAndCut seconds;
  };
  std::vector<Point> points;  // ascending skew
  // 0: cut is faster even when even; none: nowhere up to kHighestSkew.
  std::optional<double> decode_skew;
  std::optional<double> prefill_skew;
};

// None where nothing is spread: ep is 1, or the model has no experts.
std::optional<ExpertBalance> expert_balance(const StepCost& costs, const Worker& worker);

// "from a Zipf exponent of 0.84 on", "always", "never (up to 3)"
std::string break_even_text(const std::optional<double>& skew);
// A sentence and a table, Markdown.
std::string describe(const ExpertBalance& balance);

}  // namespace pentafold
