#include "predict/measurement.h"

#include <fmt/format.h>

namespace pentafold {
namespace {

const char* statistic_name(Statistic statistic) {
  switch (statistic) {
    case Statistic::Mean:
      return "mean";
    case Statistic::Median:
      return "median";
    case Statistic::P90:
      return "p90";
    case Statistic::P99:
      return "p99";
  }
  return "?";
}

const char* quantity_name(Quantity quantity) {
  switch (quantity) {
    case Quantity::Ttft:
      return "TTFT";
    case Quantity::Tpot:
      return "TPOT";
    case Quantity::E2e:
      return "E2E";
    case Quantity::OutputTokens:
      return "output tokens/s";
    case Quantity::InputTokens:
      return "input tokens/s";
    case Quantity::TotalTokens:
      return "total tokens/s";
    case Quantity::Requests:
      return "requests/s";
  }
  return "?";
}

std::string length_text(const LengthRange& length) {
  return length.exact() ? fmt::format("{}", length.high)
                        : fmt::format("{}-{}", length.low, length.high);
}

// What all layouts of a job share.
std::string request_text(const Measurement& m) {
  return fmt::format("in {} out {} {} {} of {}", length_text(m.input), length_text(m.output),
                     to_string(m.load), m.concurrency, m.requests);
}

std::string pool_text(const MeasuredPool& pool) {
  const Worker& w = pool.worker;
  std::string out;
  for (const auto& [name, degree] : {std::pair("pp", w.pp()), std::pair("dp", w.dp),
                                     std::pair("tp", w.tp), std::pair("ep", w.ep)}) {
    if (degree > 1) out += fmt::format("{}{}{}", out.empty() ? "" : " ", name, degree);
  }
  if (out.empty()) out = "tp1";
  return pool.replicas > 1 ? fmt::format("{} x {}", pool.replicas, out) : out;
}

}  // namespace

std::string to_string(const Metric& metric) {
  if (metric.is_time()) {
    return fmt::format("{} {}", statistic_name(metric.statistic), quantity_name(metric.quantity));
  }
  return fmt::format("{}{}", quantity_name(metric.quantity), metric.per_gpu ? "/GPU" : "");
}

const char* to_string(LoadKind kind) {
  switch (kind) {
    case LoadKind::ClosedLoop:
      return "closed loop";
    case LoadKind::StaticBatch:
      return "static batch";
    case LoadKind::AllQueued:
      return "all queued";
  }
  return "?";
}

std::string layout(const Measurement& m) {
  std::string out;
  for (const MeasuredPool& pool : m.pools) out += (out.empty() ? "" : " + ") + pool_text(pool);
  return out;
}

std::string engine_then(const Measurement& m) {
  return m.month.empty() ? m.engine : m.engine + "@" + m.month;
}

std::string job(const Measurement& m) {
  return fmt::format("{}, {}, {}, {}, {}", m.gpu_name, m.model_name,
                     to_string(m.pools.front().worker.precision), m.engine, request_text(m));
}

std::string configuration(const Measurement& m) {
  return fmt::format("{}; {} on {}; {}", job(m), layout(m), m.gpus, m.month);
}

const char* to_string(SkipReason reason) {
  switch (reason) {
    case SkipReason::UnknownGpu:
      return "unknown GPU";
    case SkipReason::UnknownModel:
      return "unknown model";
    case SkipReason::UnknownEngine:
      return "unknown engine";
    case SkipReason::UnknownPrecision:
      return "unknown number format";
    case SkipReason::UnknownLayout:
      return "unknown layout";
    case SkipReason::UnknownLengths:
      return "unknown lengths";
    case SkipReason::UnknownLoad:
      return "unknown load";
    case SkipReason::OpenLoop:
      return "arrivals not in the row";
    case SkipReason::OnePhase:
      return "one phase alone";
    case SkipReason::OtherMetric:
      return "metric not predicted";
    case SkipReason::Speculative:
      return "speculative decoding";
    case SkipReason::LowQuality:
      return "low quality";
    case SkipReason::DoubtedBySource:
      return "doubted by its source";
    case SkipReason::Malformed:
      return "malformed";
    case SkipReason::ContradictsItself:
      return "contradicts itself";
    case SkipReason::NotPredicted:
      return "does not fit";
  }
  return "?";
}

}  // namespace pentafold
