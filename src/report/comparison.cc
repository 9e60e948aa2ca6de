#include "report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "report/error_table.h"

namespace pentafold {
namespace {

// Of a step's repetitions: others share the machine, and calibrate takes the same of its samples.
constexpr double kUndisturbed = 0.25;
constexpr std::array<StepKind, 2> kKinds = {StepKind::Prefill, StepKind::Decode};

std::vector<double> seconds_of(const Report& report, StepKind kind) {
  std::vector<double> out;
  for (const StepReport& step : report.step_reports) {
    if (step.kind == kind) out.push_back(step.seconds);
  }
  return out;
}

// Of values that are there; the mean of the middle two of an even number.
double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void count_pair(const KindComparison& a, const KindComparison& b, PlanOrder& order) {
  const bool right = (a.predicted_s < b.predicted_s) == (a.measured_s < b.measured_s);
  ++order.pairs;
  order.right += right ? 1 : 0;
  const double apart = std::abs(a.measured_s - b.measured_s) / std::min(a.measured_s, b.measured_s);
  if (apart <= kTie) return;
  ++order.clear_pairs;
  order.clear_right += right ? 1 : 0;
}

}  // namespace

PlanComparison compare_reports(const Report& predicted, std::span<const Report> measured) {
  PlanComparison out;
  out.plan = predicted.plan;
  out.ranks = predicted.ranks;
  for (const StepKind kind : kKinds) {
    std::vector<std::vector<double>> of_step;
    std::int64_t count = 0;
    for (const Report& report : measured) {
      const auto some = seconds_of(report, kind);
      of_step.resize(std::max(of_step.size(), some.size()));
      for (std::size_t i = 0; i < some.size(); ++i) of_step[i].push_back(some[i]);
      count += std::ssize(some);
    }
    const auto expected = seconds_of(predicted, kind);
    if (count == 0 || expected.empty()) continue;
    std::vector<double> seen;
    for (auto& repetitions : of_step) {
      std::ranges::sort(repetitions);
      seen.push_back(quantile(repetitions, kUndisturbed));
    }
    out.kinds.push_back({kind, count, median(expected), median(seen)});
  }
  return out;
}

ComparisonSummary summarize(std::span<const PlanComparison> plans, std::optional<StepKind> kind) {
  ComparisonSummary out;
  std::vector<double> errors;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    for (const KindComparison& mine : plans[i].kinds) {
      if (kind && mine.kind != *kind) continue;
      errors.push_back(std::abs(mine.error()));
      for (const PlanComparison& other : plans.subspan(i + 1)) {
        if (other.job != plans[i].job) continue;
        for (const KindComparison& theirs : other.kinds) {
          if (theirs.kind == mine.kind) count_pair(mine, theirs, out.order);
        }
      }
    }
  }
  if (errors.empty()) return out;
  out.worst_error = *std::ranges::max_element(errors);
  out.median_error = median(std::move(errors));
  return out;
}

namespace {

std::string format_summary(const char* what, const ComparisonSummary& summary) {
  if (!summary.median_error) return "";
  std::string out = fmt::format("{:<8} median error {:.1f} %, worst {:.1f} %", what,
                                100 * *summary.median_error, 100 * *summary.worst_error);
  const PlanOrder& order = summary.order;
  if (order.pairs > 0) {
    const auto share = [](std::int64_t right, std::int64_t of) {
      return of == 0 ? 100.0 : 100.0 * static_cast<double>(right) / static_cast<double>(of);
    };
    out += fmt::format(
        "; order {} of {} pairs ({:.1f} %), {} of {} ({:.1f} %) more than {:.0f} % "
        "apart",
        order.right, order.pairs, share(order.right, order.pairs), order.clear_right,
        order.clear_pairs, share(order.clear_right, order.clear_pairs), 100 * kTie);
  }
  return out + "\n";
}

nlohmann::json summary_json(const ComparisonSummary& summary) {
  nlohmann::json out = {{"pair_order",
                         {{"right", summary.order.right},
                          {"of", summary.order.pairs},
                          {"clear_right", summary.order.clear_right},
                          {"clear_of", summary.order.clear_pairs}}}};
  if (summary.median_error) {
    out["median_error"] = *summary.median_error;
    out["worst_error"] = *summary.worst_error;
  }
  return out;
}

}  // namespace

std::string format_comparison(std::span<const PlanComparison> plans) {
  std::size_t width = 4;
  for (const PlanComparison& plan : plans) width = std::max(width, plan.plan.size());
  std::string out = fmt::format("{:<{}}  {:<8} {:>6} {:>10} {:>10} {:>8}\n", "plan", width, "step",
                                "steps", "predicted", "measured", "error");
  std::string job;
  for (const PlanComparison& plan : plans) {
    if (plan.job != job) out += fmt::format("{}\n", job = plan.job);
    for (const KindComparison& kind : plan.kinds) {
      out += fmt::format("{:<{}}  {:<8} {:>6} {:>10} {:>10} {:>+7.1f}%\n", plan.plan, width,
                         to_string(kind.kind), kind.steps, format_seconds(kind.predicted_s),
                         format_seconds(kind.measured_s), 100 * kind.error());
    }
  }
  if (plans.size() < 2) return out;
  for (const StepKind kind : kKinds) out += format_summary(to_string(kind), summarize(plans, kind));
  return out + format_summary("all", summarize(plans, std::nullopt));
}

std::string comparison_json(std::span<const PlanComparison> plans) {
  nlohmann::json out = {{"plans", nlohmann::json::array()}};
  for (const PlanComparison& plan : plans) {
    nlohmann::json entry = {{"plan", plan.plan}, {"job", plan.job}, {"ranks", plan.ranks}};
    for (const KindComparison& kind : plan.kinds) {
      entry["steps"][to_string(kind.kind)] = {{"steps", kind.steps},
                                              {"predicted_s", kind.predicted_s},
                                              {"measured_s", kind.measured_s},
                                              {"error", kind.error()}};
    }
    out["plans"].push_back(std::move(entry));
  }
  for (const StepKind kind : kKinds) {
    out["summary"][to_string(kind)] = summary_json(summarize(plans, kind));
  }
  out["summary"]["all"] = summary_json(summarize(plans, std::nullopt));
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace pentafold
