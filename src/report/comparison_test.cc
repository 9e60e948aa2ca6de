#include "report/comparison.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pentafold {
namespace {

Report report_of(std::vector<double> prefill, std::vector<double> decode) {
  Report out;
  out.plan = "p";
  for (const double s : prefill) out.step_reports.push_back({StepKind::Prefill, 1, 8, 8, s});
  for (const double s : decode) out.step_reports.push_back({StepKind::Decode, 1, 1, 9, s});
  return out;
}

PlanComparison plan_of(const char* job, double predicted, double measured) {
  const Report seen = report_of({}, {measured});
  PlanComparison out = compare_reports(report_of({}, {predicted}), {&seen, 1});
  out.job = job;
  return out;
}

TEST(Comparison, MediansOfStepsAndLowerQuartilesOfTheirRepetitions) {
  std::vector<Report> measured;
  for (const double disturbed : {0.0, 0.0, 1.0, 90.0, 95.0}) {
    measured.push_back(report_of({4 + disturbed}, {1 + disturbed, 9 + disturbed, 2 + disturbed}));
  }
  const PlanComparison out = compare_reports(report_of({5}, {1, 1.5, 99}), measured);
  ASSERT_EQ(out.kinds.size(), 2U);
  EXPECT_EQ(out.kinds[0].kind, StepKind::Prefill);
  EXPECT_DOUBLE_EQ(out.kinds[0].measured_s, 4);
  EXPECT_DOUBLE_EQ(out.kinds[0].error(), 0.25);
  EXPECT_EQ(out.kinds[1].steps, 15);
  EXPECT_DOUBLE_EQ(out.kinds[1].measured_s, 2);
  EXPECT_DOUBLE_EQ(out.kinds[1].predicted_s, 1.5);
}

TEST(Comparison, AKindWithoutStepsIsNotCompared) {
  const Report measured = report_of({1}, {});
  EXPECT_EQ(compare_reports(report_of({1}, {2}), {&measured, 1}).kinds.size(), 1U);
}

TEST(Comparison, PairsAreCountedWithinAJob) {
  const std::vector<PlanComparison> plans = {
      plan_of("a", 1.0, 1.1), plan_of("a", 2.0, 2.2), plan_of("a", 3.0, 2.0),
      plan_of("b", 9.0, 9.0),  // the only one of its job
  };
  const ComparisonSummary all = summarize(plans, std::nullopt);
  EXPECT_EQ(all.order.pairs, 3);
  EXPECT_EQ(all.order.right, 2);
  EXPECT_DOUBLE_EQ(*all.worst_error, 0.5);
  EXPECT_NEAR(*all.median_error, 1 - 1 / 1.1, 1e-12);
  EXPECT_EQ(summarize(plans, StepKind::Prefill).order.pairs, 0);
  EXPECT_FALSE(summarize(plans, StepKind::Prefill).median_error);
}

TEST(Comparison, PairsTooCloseToTellAreCountedApart) {
  const std::vector<PlanComparison> plans = {plan_of("a", 1, 1), plan_of("a", 2, 0.99),
                                             plan_of("a", 3, 2)};
  const PlanOrder order = summarize(plans, StepKind::Decode).order;
  EXPECT_EQ(order.pairs, 3);
  EXPECT_EQ(order.right, 2);
  EXPECT_EQ(order.clear_pairs, 2);
  EXPECT_EQ(order.clear_right, 2);
}

TEST(Comparison, TextAndJsonSayTheSame) {
  const std::vector<PlanComparison> plans = {plan_of("a", 1, 2), plan_of("a", 3, 4)};
  const auto json = nlohmann::json::parse(comparison_json(plans));
  EXPECT_DOUBLE_EQ(json["plans"][0]["steps"]["decode"]["error"], -0.5);
  EXPECT_EQ(json["summary"]["decode"]["pair_order"]["right"], 1);
  const std::string text = format_comparison(plans);
  EXPECT_NE(text.find("-50.0%"), std::string::npos) << text;
  EXPECT_NE(text.find("1 of 1 pairs"), std::string::npos) << text;
}

}  // namespace
}  // namespace pentafold
