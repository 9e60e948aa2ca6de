#include "predict/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::array<const char*, kProperties> kPropertyNames = {
    "gpu", "model", "engine", "metric", "precision", "ep",     "tp",
    "dp",  "pp",    "mode",   "load",   "source",    "quality"};

// One configuration and the first row that has it.
struct Job {
  const Measurement* example = nullptr;
  std::optional<Result<PredictedMetrics>> answer;
};

// Which job each row belongs to.
struct Jobs {
  std::vector<Job> list;
  std::vector<std::size_t> of_row;
};

Jobs collect(const std::vector<Measurement>& rows) {
  Jobs jobs;
  std::map<std::string, std::size_t> index;
  for (const Measurement& m : rows) {
    const auto [place, added] = index.emplace(configuration(m), jobs.list.size());
    if (added) jobs.list.push_back({&m, std::nullopt});
    jobs.of_row.push_back(place->second);
  }
  return jobs;
}

void predict_all(std::vector<Job>& jobs, const ValidateOptions& options) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::int64_t done = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < jobs.size(); i = next++) {
      jobs[i].answer = options.predict(*jobs[i].example);
      const std::scoped_lock lock(mutex);
      ++done;
      if (options.progress) options.progress(done, static_cast<std::int64_t>(jobs.size()));
    }
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < options.threads; ++t) others.emplace_back(work);
  work();
}

std::optional<MetricFamily> family_of(const Metric& metric) {
  if (metric.quantity == Quantity::Tpot) return MetricFamily::Tpot;
  if (metric.quantity == Quantity::Ttft) return MetricFamily::Ttft;
  if (metric.quantity == Quantity::E2e) return std::nullopt;
  return MetricFamily::Throughput;
}

ErrorSample sample_of(const ValidatedRow& row) {
  return {row.measurement.value, row.predicted.value, row.predicted.low, row.predicted.high};
}

using Samples = std::array<std::vector<ErrorSample>, kMetricFamilies>;

void add(Samples& samples, const ValidatedRow& row) {
  if (const auto family = family_of(row.measurement.metric)) {
    samples[static_cast<std::size_t>(*family)].push_back(sample_of(row));
  }
}

std::string number(std::int64_t n) {
  return fmt::format("{}", n);
}

}  // namespace

Validation validate_measurements(Measurements measurements, const ValidateOptions& options) {
  Validation out;
  out.skipped = std::move(measurements.skipped);
  out.mended = measurements.mended;
  Jobs jobs = collect(measurements.rows);
  out.configurations = static_cast<std::int64_t>(jobs.list.size());
  predict_all(jobs.list, options);
  for (std::size_t i = 0; i < measurements.rows.size(); ++i) {
    Measurement& m = measurements.rows[i];
    const Result<PredictedMetrics>& answer = *jobs.list[jobs.of_row[i]].answer;
    if (answer.ok()) {
      const Interval predicted = answer->of(m.metric, m.gpus);
      out.rows.push_back({std::move(m), predicted});
    } else {
      out.skipped.push_back({m.line, m.id, SkipReason::NotPredicted, answer.error().message});
    }
  }
  std::ranges::stable_sort(out.skipped, {}, &SkippedRow::line);
  return out;
}

const char* to_string(Property property) {
  return kPropertyNames[static_cast<std::size_t>(property)];
}

Result<Property> parse_property(const std::string& name) {
  for (std::size_t i = 0; i < kProperties; ++i) {
    if (name == kPropertyNames[i]) return static_cast<Property>(i);
  }
  std::string known;
  for (const char* one : kPropertyNames) known += (known.empty() ? "" : ", ") + std::string(one);
  return make_error(
      ErrorCode::InvalidSpec,
      fmt::format("{} is no property of a measurement; known are {}", quote_text(name), known));
}

std::string value_of(Property property, const Measurement& m) {
  const Worker& w = m.pools.back().worker;
  switch (property) {
    case Property::Gpu:
      return m.gpu_name;
    case Property::Model:
      return m.model_name;
    case Property::Engine:
      return m.engine;
    case Property::Metric:
      return to_string(m.metric);
    case Property::Precision:
      return to_string(w.precision);
    case Property::Ep:
      return number(w.ep);
    case Property::Tp:
      return number(w.tp);
    case Property::Dp:
      return number(w.dp);
    case Property::Pp:
      return number(w.pp());
    case Property::Mode:
      return m.split() ? "split" : "aggregated";
    case Property::Load:
      return to_string(m.load);
    case Property::Source:
      return m.group;
    case Property::Quality:
      return std::string(1, m.quality);
  }
  return "?";
}

const char* to_string(MetricFamily family) {
  switch (family) {
    case MetricFamily::Tpot:
      return "tpot";
    case MetricFamily::Ttft:
      return "ttft";
    case MetricFamily::Throughput:
      return "throughput";
  }
  return "?";
}

ValidationSummary summarize(const Validation& validation) {
  ValidationSummary out;
  Samples samples;
  std::vector<PairSample> pairs;
  std::vector<PairSample> pairs_same_size;
  std::int64_t covered = 0;
  for (const ValidatedRow& row : validation.rows) {
    const Measurement& m = row.measurement;
    add(samples, row);
    covered += sample_of(row).covered() ? 1 : 0;
    const auto family = family_of(m.metric);
    if (!family || *family == MetricFamily::Ttft) continue;
    // Versions of an engine differ by more than layouts do.
    const std::string same =
        fmt::format("{}; {}; {}", job(m), m.engine_version, to_string(m.metric));
    const std::string sized = fmt::format("{} on {}", layout(m), m.gpus);
    // A rate of more devices is no better for being higher: what each of them does is compared.
    const bool shared = !m.metric.is_time() && !m.metric.per_gpu;
    const double share = shared ? 1 / static_cast<double>(m.gpus) : 1;
    const PairSample sample{same, sized, m.value * share, row.predicted.value * share};
    pairs.push_back(sample);
    pairs_same_size.push_back(sample);
    pairs_same_size.back().job += fmt::format("; {}", m.gpus);
  }
  for (std::size_t f = 0; f < kMetricFamilies; ++f) out.by_family[f] = error_stats(samples[f]);
  out.pair_order = pair_order(pairs);
  out.pair_order_same_size = pair_order(pairs_same_size);
  out.rows = static_cast<std::int64_t>(validation.rows.size());
  if (out.rows > 0) out.coverage80 = static_cast<double>(covered) / static_cast<double>(out.rows);
  for (const SkippedRow& row : validation.skipped) ++out.skipped[to_string(row.reason)];
  return out;
}

ErrorTable errors_by(const Validation& validation, Property property) {
  std::map<std::string, Samples> groups;
  for (const ValidatedRow& row : validation.rows) {
    add(groups[value_of(property, row.measurement)], row);
  }
  ErrorTable table{fmt::format("by {}", to_string(property)), {"TPOT", "TTFT", "throughput"}, {}};
  for (const auto& [label, samples] : groups) {
    ErrorTable::Row row{label, {}};
    for (const auto& family : samples) row.stats.push_back(error_stats(family));
    table.rows.push_back(std::move(row));
  }
  const auto count = [](const ErrorTable::Row& row) {
    std::int64_t n = 0;
    for (const ErrorStats& stats : row.stats) n += stats.n;
    return -n;
  };
  std::ranges::stable_sort(table.rows, {}, count);
  return table;
}

}  // namespace pentafold
