// comparison: a prediction held against a measurement, both Reports, step kind by step kind.
//
// What a step took is the lower quartile of its repetitions, as what pentafold calibrate measured
// is of its samples: on a shared machine a median of either says how busy the others were. The
// steps of a kind are summed up by their median. Over several plans: the median error, and pair
// order: of two plans of one job (same model, same requests, same step kind), is the one that was
// faster also predicted faster? Pairs measured closer than kTie cannot be told apart by one
// measurement and are counted separately.
// Cost: O(steps log steps); pairs O(plans^2). Held by report/comparison_test.cc.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "report/report.h"

namespace pentafold {

inline constexpr double kTie = 0.05;

struct KindComparison {
  StepKind kind = StepKind::Prefill;
  std::int64_t steps = 0;  // measured
  double predicted_s = 0;
  double measured_s = 0;
  double error() const { return predicted_s / measured_s - 1; }  // -0.1: predicted a tenth too fast
};

struct PlanComparison {
  std::string plan;
  std::string job;  // plans of one job are comparable with each other
  std::int64_t ranks = 0;
  std::vector<KindComparison> kinds;  // those that both reports have steps of
};

// `measured`: repetitions of one run.
PlanComparison compare_reports(const Report& predicted, std::span<const Report> measured);

struct PlanOrder {
  std::int64_t right = 0;
  std::int64_t pairs = 0;
  std::int64_t clear_right = 0;  // of the pairs that differ by more than kTie
  std::int64_t clear_pairs = 0;
};
struct ComparisonSummary {
  std::optional<double> median_error;  // of the absolute errors; none without steps
  std::optional<double> worst_error;
  PlanOrder order;
};
// Of one kind, or of all.
ComparisonSummary summarize(std::span<const PlanComparison> plans, std::optional<StepKind> kind);

std::string format_comparison(std::span<const PlanComparison> plans);
std::string comparison_json(std::span<const PlanComparison> plans);

}  // namespace pentafold
