// Metric, load, lengths, engine and number formats as benchmarks print them.
#include <algorithm>
#include <array>
#include <utility>

#include "predict/measurement_row.h"

namespace pentafold {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// "mean_", "median_" ... taken off the front of the name.
Statistic take_statistic(std::string_view& name) {
  constexpr std::pair<std::string_view, Statistic> kPrefixes[] = {
      {"mean_", Statistic::Mean},  {"avg_", Statistic::Mean}, {"median_", Statistic::Median},
      {"p50_", Statistic::Median}, {"p90_", Statistic::P90},  {"p99_", Statistic::P99}};
  for (const auto& [prefix, statistic] : kPrefixes) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    return statistic;
  }
  return Statistic::Mean;
}

std::optional<Metric> metric_of(std::string_view name) {
  Metric out;
  out.statistic = take_statistic(name);
  constexpr std::pair<std::string_view, Quantity> kTimes[] = {
      {"ttft", Quantity::Ttft}, {"tpot", Quantity::Tpot},       {"itl", Quantity::Tpot},
      {"e2e", Quantity::E2e},   {"e2e_latency", Quantity::E2e}, {"e2el", Quantity::E2e}};
  for (const auto& [word, quantity] : kTimes) {
    if (name != word) continue;
    out.quantity = quantity;
    return out;
  }
  out.per_gpu = name.ends_with("_per_gpu");
  if (out.statistic != Statistic::Mean) return std::nullopt;
  if (!has(name, "tput") && !has(name, "throughput") && !has(name, "tokens_per_s")) {
    return std::nullopt;
  }
  constexpr std::pair<std::string_view, Quantity> kRates[] = {{"output", Quantity::OutputTokens},
                                                              {"input", Quantity::InputTokens},
                                                              {"total", Quantity::TotalTokens},
                                                              {"request", Quantity::Requests}};
  for (const auto& [word, quantity] : kRates) {
    if (!name.starts_with(word)) continue;
    out.quantity = quantity;
    return out;
  }
  return std::nullopt;
}

// To seconds, or to an amount per second; 0: no unit of the metric.
double factor_of(const Metric& metric, const std::string& unit) {
  if (metric.is_time()) {
    if (unit == "ms") return 1e-3;
    if (unit == "us") return 1e-6;
    return unit == "s" ? 1 : 0;
  }
  const bool requests = metric.quantity == Quantity::Requests;
  if (!unit.starts_with(requests ? "req/s" : "tok/s") && !unit.starts_with("tokens/s")) return 0;
  const bool per_gpu = unit.ends_with("/gpu") || unit.ends_with("/npu");
  return per_gpu == metric.per_gpu ? 1 : 0;
}

// "1024", "100-200"; anything else is not known.
std::optional<LengthRange> read_length(const std::string& field) {
  const auto whole = read_count(field);
  LengthRange out;
  if (whole) {
    out.low = out.high = static_cast<double>(*whole);
  } else {
    const std::size_t dash = field.find('-');
    if (dash == std::string::npos) return std::nullopt;
    const auto low = read_count(std::string_view(field).substr(0, dash));
    const auto high = read_count(std::string_view(field).substr(dash + 1));
    if (!low || !high || *low > *high) return std::nullopt;
    out = {static_cast<double>(*low), static_cast<double>(*high)};
  }
  if (out.low < 1) return std::nullopt;
  return out;
}

// What a client's settings say about the spread around a stated length.
LengthRange spread(LengthRange length, const MeasurementRow& row, const Measurement& m) {
  if (!length.exact() || length.high <= 1) return length;
  if (m.inferencex) {
    length.low = 0.8 * length.high;
  } else if (has(row[Column::Notes], "uniform in [1,L]")) {
    length = {1, 2 * length.mean() - 1};  // the stated length is the measured mean
  }
  return length;
}

// "nvfp4 (MoE+o_proj), fp8" begins with the experts' format. `rest`: another one that follows.
std::optional<NumberFormat> format_of(std::string_view word) {
  const std::size_t end = word.find_first_of(" (,/?");
  const std::string name = lowered(word.substr(0, end));
  constexpr std::pair<std::string_view, NumberFormat> kNames[] = {
      {"fp8", NumberFormat::FP8},      {"fp8_block", NumberFormat::FP8},
      {"fp8_e4m3", NumberFormat::FP8}, {"fp8_static", NumberFormat::FP8},
      {"nvfp4", NumberFormat::NVFP4},  {"fp4", NumberFormat::NVFP4},
      {"mxfp4", NumberFormat::MXFP4},  {"w4a16_mxfp4", NumberFormat::MXFP4},
      {"int4", NumberFormat::INT4},    {"int4_wo", NumberFormat::INT4},
      {"w4a16", NumberFormat::INT4},   {"awq", NumberFormat::INT4},
      {"gptq", NumberFormat::INT4},    {"int8", NumberFormat::INT8},
      {"w8a8", NumberFormat::INT8},    {"int8_wo", NumberFormat::INT8},
      {"bf16", NumberFormat::BF16},    {"bfloat16", NumberFormat::BF16},
      {"fp16", NumberFormat::F16},     {"f16", NumberFormat::F16},
      {"float16", NumberFormat::F16},  {"fp32", NumberFormat::F32}};
  for (const auto& [known, format] : kNames) {
    if (name == known) return format;
  }
  return std::nullopt;
}

bool four_bits(NumberFormat format) {
  return format == NumberFormat::NVFP4 || format == NumberFormat::MXFP4 ||
         format == NumberFormat::INT4;
}

// Four-bit checkpoints of expert models quantise the experts and leave the rest in bf16 or as it
// was published; of dense models, all linear layers. A model published in mxfp4 (gpt-oss) stays so
// whatever four-bit float a report calls it.
Precision precision_of(const ModelShape& model, NumberFormat weights) {
  Precision out = model.stored;
  const bool experts = model.experts() > 0;
  if (experts && four_bits(weights)) {
    const bool float4 = weights != NumberFormat::INT4;
    out.experts = float4 && out.experts == NumberFormat::MXFP4 ? out.experts : weights;
    out.linear = NumberFormat::BF16;
    return out;
  }
  out.experts = out.linear = weights;
  if (weights == NumberFormat::F16 || weights == NumberFormat::BF16) out.other = weights;
  return out;
}

}  // namespace

Understood read_metric(const MeasurementRow& row, Measurement& m) {
  const auto metric = metric_of(lowered(row[Column::Metric]));
  if (!metric) return skip(SkipReason::OtherMetric, row, Column::Metric);
  m.metric = *metric;
  const double factor = factor_of(*metric, lowered(row[Column::Unit]));
  if (factor == 0) return skip(SkipReason::OtherMetric, row, Column::Unit);
  const auto value = read_number(row[Column::Value]);
  if (!value || *value <= 0) return skip(SkipReason::Malformed, row, Column::Value);
  m.value = *value * factor;
  if (has(row[Column::Notes], "experimental by its authors")) {
    return Skip{SkipReason::DoubtedBySource, "notes say its authors call it experimental"};
  }
  if (metric->quantity == Quantity::Ttft && has(row[Column::Notes], "do not validate TTFT")) {
    return Skip{SkipReason::DoubtedBySource, "notes say not to compare TTFT"};
  }
  const std::string phase = lowered(row[Column::Phase]);
  if (!phase.empty() && phase != "end-to-end") {
    return skip(SkipReason::OnePhase, row, Column::Phase);
  }
  return std::nullopt;
}

Understood read_load(const MeasurementRow& row, Measurement& m) {
  const std::string kind = lowered(row[Column::LoadKind]);
  const auto any = [&](std::initializer_list<std::string_view> parts) {
    return std::ranges::any_of(parts, [&](std::string_view part) { return has(kind, part); });
  };
  if (any({"infinite rate", "all samples", "all requests", "offline"})) {
    m.load = LoadKind::AllQueued;
    m.concurrency = 0;
  } else if (any({"open loop", "poisson", "qps", "arrival", "server", "trace"})) {
    return skip(SkipReason::OpenLoop, row, Column::LoadKind);
  } else if (any({"concurrency", "batch_size field"})) {
    m.load = LoadKind::ClosedLoop;
  } else if (any({"static batch", "batch size"})) {
    m.load = LoadKind::StaticBatch;
  } else {
    return skip(SkipReason::UnknownLoad, row, Column::LoadKind);
  }
  const std::string& notes = row[Column::Notes];
  m.requests = count_before(notes, " requests").value_or(0);
  if (m.load == LoadKind::AllQueued) return std::nullopt;
  const auto concurrency = read_count(row[Column::Load]);
  if (!concurrency || *concurrency < 1) return skip(SkipReason::UnknownLoad, row, Column::Load);
  m.concurrency = *concurrency;
  if (m.load == LoadKind::StaticBatch) m.requests = m.concurrency;
  if (m.inferencex) m.requests = 10 * m.concurrency;
  return std::nullopt;
}

Understood read_lengths(const MeasurementRow& row, Measurement& m) {
  m.inferencex = from_inferencex(row);
  const auto input = read_length(row[Column::InputLen]);
  if (!input) return skip(SkipReason::UnknownLengths, row, Column::InputLen);
  const auto output = read_length(row[Column::OutputLen]);
  if (!output) return skip(SkipReason::UnknownLengths, row, Column::OutputLen);
  m.input = spread(*input, row, m);
  m.output = spread(*output, row, m);
  return std::nullopt;
}

Understood read_engine(const MeasurementRow& row, Measurement& m) {
  const std::string name = lowered(row[Column::Engine]);
  constexpr std::pair<std::string_view, std::string_view> kFamilies[] = {
      {"sglang", "sglang"},
      {"vllm", "vllm"},
      {"tensorrt", "tensorrt-llm"},
      {"trt", "tensorrt-llm"},
      {"atom", "atom"}};
  for (const auto& [part, family] : kFamilies) {
    if (!has(name, part)) continue;
    m.engine = family;
    m.engine_version = row[Column::EngineVersion];
    m.month = read_month(row[Column::Date]);
    return std::nullopt;
  }
  return skip(SkipReason::UnknownEngine, row, Column::Engine);
}

Understood read_precision(const MeasurementRow& row, Measurement& m) {
  Precision precision = m.model->stored;
  const std::string weights = lowered(row[Column::WeightsDtype]);
  bool narrow = false;
  if (!weights.empty()) {
    const auto format = format_of(weights);
    if (!format) return skip(SkipReason::UnknownPrecision, row, Column::WeightsDtype);
    precision = precision_of(*m.model, *format);
    narrow = bytes_per_value(*format) < 2;
  }
  const std::string kv = lowered(row[Column::KvDtype]);
  if (!kv.empty()) {
    const auto format = format_of(kv);
    if (!format) return skip(SkipReason::UnknownPrecision, row, Column::KvDtype);
    precision.kv = *format;
    m.assumed = m.assumed || kv.ends_with('?');
  } else if (narrow && (m.engine == "tensorrt-llm" || m.inferencex)) {
    // As TensorRT-LLM's quantised checkpoints ask for, and InferenceX's recipes say.
    precision.kv = NumberFormat::FP8;
  }
  for (MeasuredPool& pool : m.pools) pool.worker.precision = precision;
  return std::nullopt;
}

}  // namespace pentafold
