#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace pentafold {

const char* to_string(StepKind kind) {
  return kind == StepKind::Prefill ? "prefill" : "decode";
}

double Report::mean_ttft_s() const {
  double sum = 0;
  for (const RequestReport& r : requests) sum += r.ttft_s;
  return requests.empty() ? 0 : sum / static_cast<double>(requests.size());
}

double Report::mean_tpot_s() const {
  double sum = 0;
  double count = 0;
  for (const RequestReport& r : requests) {
    if (const auto tpot = r.tpot_s()) {
      sum += *tpot;
      count += 1;
    }
  }
  return count == 0 ? 0 : sum / count;
}

std::int64_t Report::generated() const {
  std::int64_t sum = 0;
  for (const RequestReport& r : requests) sum += static_cast<std::int64_t>(r.tokens.size());
  return sum;
}

double Report::tokens_per_s() const {
  return run_s > 0 ? static_cast<double>(generated()) / run_s : 0;
}

namespace {

std::string format_routing(const RoutingStats& routing) {
  std::string out = "  layer  tokens  max/mean    CV  overflow  balance loss\n";
  for (std::size_t i = 0; i < routing.layers.size(); ++i) {
    if (routing.layers[i].tokens == 0) continue;
    const RoutingSummary s = routing.layer(i);
    out += fmt::format("  {:>5}  {:>6}  {:>8.2f}  {:>4.2f}  {:>7.1f}%  {:>12.3f}\n", i,
                       routing.layers[i].tokens, s.max_over_mean, s.cv, 100 * s.overflow_rate,
                       s.balance_loss);
  }
  return out;
}

std::string format_memory(const MemoryReport& memory) {
  const auto bytes = [](std::int64_t n) { return format_bytes(static_cast<double>(n)); };
  return fmt::format(
      "memory: {} on the fullest rank, {} predicted ({:.2f} x); {} over all ranks as devices, {} "
      "in "
      "this process; working memory {}, {} of it used\n",
      bytes(memory.peak), bytes(memory.predicted_peak),
      static_cast<double>(memory.predicted_peak) /
          static_cast<double>(std::max<std::int64_t>(memory.peak, 1)),
      bytes(memory.peak_of_all), bytes(memory.process), bytes(memory.working),
      bytes(memory.working_used));
}

std::string format_collectives(const std::map<std::string, CollectiveReport>& collectives) {
  std::string out = "  collective         calls      bytes between ranks\n";
  for (const auto& [name, c] : collectives) {
    out += fmt::format("  {:<14} {:>9}  {:>12}\n", name, c.calls,
                       format_bytes(static_cast<double>(c.bytes)));
  }
  return out;
}

}  // namespace

std::string format_report(const Report& report, bool details) {
  std::int64_t moved = 0;
  for (const auto& [name, c] : report.collectives) moved += c.bytes;
  std::string out = fmt::format(
      "plan {} on {} rank{}: start {}, weights {} in {}\n", report.plan, report.ranks,
      report.ranks == 1 ? "" : "s", format_seconds(report.start_s),
      format_bytes(static_cast<double>(report.weight_bytes)), format_seconds(report.load_s));
  out += fmt::format(
      "{} request{}, {} tokens generated in {} steps, {}: TTFT {}, TPOT {}, {:.1f} tokens/s\n",
      report.requests.size(), report.requests.size() == 1 ? "" : "s", report.generated(),
      report.steps, format_seconds(report.run_s), format_seconds(report.mean_ttft_s()),
      format_seconds(report.mean_tpot_s()), report.tokens_per_s());
  const RoutingSummary routing = report.routing.total();
  if (routing.max_over_mean > 0) {
    out += fmt::format("experts: busiest {:.2f} x mean, CV {:.2f}, overflow {:.1f} %; ",
                       routing.max_over_mean, routing.cv, 100 * routing.overflow_rate);
  }
  out += fmt::format("{} moved between ranks\n", format_bytes(static_cast<double>(moved)));
  if (details) {
    out += format_memory(report.memory) + format_routing(report.routing) +
           format_collectives(report.collectives);
  }
  return out;
}

namespace {

void add_times(const Report& report, nlohmann::json& out) {
  out["step_times"] = nlohmann::json::array();
  for (const StepReport& step : report.step_reports) {
    out["step_times"].push_back({{"kind", to_string(step.kind)},
                                 {"requests", step.requests},
                                 {"tokens", step.tokens},
                                 {"context", step.context},
                                 {"seconds", step.seconds}});
  }
  for (const StepKind kind : {StepKind::Prefill, StepKind::Decode}) {
    for (const auto& [name, time] : report.operators[static_cast<std::size_t>(kind)]) {
      out["operators"][to_string(kind)][name] = {{"calls", time.calls},
                                                 {"seconds", time.seconds},
                                                 {"flop", time.flop},
                                                 {"bytes", time.bytes}};
    }
  }
}

}  // namespace

std::string report_json(const Report& report) {
  nlohmann::json out = {{"plan", report.plan},
                        {"ranks", report.ranks},
                        {"start_s", report.start_s},
                        {"load_s", report.load_s},
                        {"run_s", report.run_s},
                        {"weight_bytes", report.weight_bytes},
                        {"steps", report.steps},
                        {"ttft_s_mean", report.mean_ttft_s()},
                        {"tpot_s_mean", report.mean_tpot_s()},
                        {"tokens_per_s", report.tokens_per_s()},
                        {"logits_hash", fmt::format("{:016x}", report.logits_hash)},
                        {"logit_rows", report.logit_rows}};
  out["requests"] = nlohmann::json::array();
  for (const RequestReport& r : report.requests) {
    nlohmann::json one = {{"id", r.id},
                          {"prompt_tokens", r.prompt_tokens},
                          {"tokens", r.tokens},
                          {"ttft_s", r.ttft_s},
                          {"e2e_s", r.last_s}};
    if (const auto tpot = r.tpot_s()) one["tpot_s"] = *tpot;
    out["requests"].push_back(std::move(one));
  }
  out["collectives"] = nlohmann::json::object();
  for (const auto& [name, c] : report.collectives) {
    out["collectives"][name] = {{"calls", c.calls}, {"bytes", c.bytes}};
  }
  add_times(report, out);
  out["memory"] = {{"predicted_peak_bytes", report.memory.predicted_peak},
                   {"peak_bytes", report.memory.peak},
                   {"peak_bytes_of_all_ranks", report.memory.peak_of_all},
                   {"process_bytes", report.memory.process},
                   {"working_bytes", report.memory.working},
                   {"working_bytes_used", report.memory.working_used}};
  out["routing"] = nlohmann::json::array();
  for (std::size_t i = 0; i < report.routing.layers.size(); ++i) {
    const LayerRouting& layer = report.routing.layers[i];
    if (layer.tokens == 0) continue;
    const RoutingSummary s = report.routing.layer(i);
    out["routing"].push_back({{"layer", i},
                              {"tokens", layer.tokens},
                              {"chosen", layer.chosen},
                              {"assigned", layer.assigned},
                              {"refused", layer.refused},
                              {"max_over_mean", s.max_over_mean},
                              {"cv", s.cv},
                              {"overflow_rate", s.overflow_rate},
                              {"balance_loss", s.balance_loss}});
  }
  return out.dump(2);
}

}  // namespace pentafold
