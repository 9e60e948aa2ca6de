#include "report/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace pentafold {
namespace {

std::string job_name(const BenchJob& job) {
  return job.kind == StepKind::Prefill ? fmt::format("prefill {}", job.size)
                                       : fmt::format("decode {} @ {}", job.size, job.context);
}

double all_seconds(const std::map<std::string, OperatorReport>& operators) {
  double sum = 0;
  for (const auto& [name, time] : operators) sum += time.seconds;
  return sum;
}

// Of those that do any.
std::string rate(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? fmt::format("{:.1f}", amount / seconds / 1e9) : "";
}

nlohmann::json operators_json(const std::map<std::string, OperatorReport>& operators) {
  auto out = nlohmann::json::object();
  const double all = all_seconds(operators);
  for (const auto& [name, time] : operators) {
    out[name] = {{"calls", time.calls},
                 {"seconds", time.seconds},
                 {"share", all > 0 ? time.seconds / all : 0},
                 {"flop", time.flop},
                 {"bytes", time.bytes}};
  }
  return out;
}

nlohmann::json row_json(const BenchRow& row) {
  return {{"plan", row.plan},
          {"ranks", row.ranks},
          {"threads_per_rank", row.threads_per_rank},
          {"kind", to_string(row.job.kind)},
          {"size", row.job.size},
          {"context", row.job.context},
          {"seconds", row.seconds},
          {"samples", row.samples},
          {"tokens", row.tokens},
          {"tokens_per_s", row.tokens_per_s()},
          {"flop", row.flop},
          {"bytes", row.bytes},
          {"limit_threads", row.limits.threads},
          {"of_fma_peak", row.of_flops()},
          {"of_memory_bandwidth", row.of_memory()},
          {"operators", operators_json(row.operators)}};
}

}  // namespace

std::string format_profile(const std::map<std::string, OperatorReport>& operators) {
  std::vector<std::pair<std::string, OperatorReport>> order(operators.begin(), operators.end());
  std::ranges::stable_sort(order, std::greater<>(),
                           [](const auto& entry) { return entry.second.seconds; });
  const double all = all_seconds(operators);
  std::string out = fmt::format("    {:<16} {:>9} {:>10} {:>7} {:>8} {:>7}\n", "step", "calls",
                                "time", "share", "GFLOP/s", "GB/s");
  for (const auto& [name, time] : order) {
    out += fmt::format("    {:<16} {:>9} {:>10} {:>5.1f} % {:>8} {:>7}\n", name, time.calls,
                       format_seconds(time.seconds), all > 0 ? 100 * time.seconds / all : 0,
                       rate(time.flop, time.seconds), rate(time.bytes, time.seconds));
  }
  return out;
}

std::string format_bench(const BenchReport& report, bool profile) {
  std::string out = report.model + "\n";
  for (const SpeedLimits& limits : report.limits) {
    out += fmt::format(
        "limits of {} thread{}: {:.1f} GFLOP/s (f32 multiply-add), {:.1f} GB/s "
        "(memory, read)\n",
        limits.threads, limits.threads == 1 ? "" : "s", limits.flops / 1e9,
        limits.bytes_per_s / 1e9);
  }
  std::size_t widest = 4;
  for (const BenchRow& row : report.rows) widest = std::max(widest, row.plan.size());
  out += fmt::format("{:<{}} {:>8} {:>16} {:>9} {:>9} {:>8} {:>9} {:>6} {:>10}\n", "plan", widest,
                     "threads", "job", "tokens/s", "ms", "GFLOP/s", "of peak", "GB/s", "of memory");
  for (const BenchRow& row : report.rows) {
    out += fmt::format(
        "{:<{}} {:>8} {:>16} {:>9.1f} {:>9.2f} {:>8.1f} {:>7.1f} % {:>6.1f} {:>8.1f} %\n", row.plan,
        widest, fmt::format("{} x {}", row.ranks, row.threads_per_rank), job_name(row.job),
        row.tokens_per_s(), row.seconds * 1e3, row.flop / row.seconds / 1e9, 100 * row.of_flops(),
        row.bytes / row.seconds / 1e9, 100 * row.of_memory());
    if (profile) out += format_profile(row.operators);
  }
  return out;
}

std::string bench_json(const BenchReport& report) {
  nlohmann::json out = {{"model", report.model},
                        {"rounds", report.rounds},
                        {"limits", nlohmann::json::array()},
                        {"rows", nlohmann::json::array()}};
  for (const SpeedLimits& limits : report.limits) {
    out["limits"].push_back({{"threads", limits.threads},
                             {"flops", limits.flops},
                             {"bytes_per_s", limits.bytes_per_s}});
  }
  for (const BenchRow& row : report.rows) out["rows"].push_back(row_json(row));
  return out.dump(2);
}

}  // namespace pentafold
