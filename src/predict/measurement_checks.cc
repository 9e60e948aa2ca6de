#include "predict/measurement_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pentafold {
namespace {

// What the rows of one run say together.
struct Run {
  double ttft_s = 0;
  double tpot_s = 0;
  double requests_per_s = 0;  // by the row's number of devices
};

void add(const Measurement& m, Run& run) {
  const Metric& metric = m.metric;
  if (metric.is_time()) {
    if (metric.statistic != Statistic::Mean) return;
    if (metric.quantity == Quantity::Ttft) run.ttft_s = m.value;
    if (metric.quantity == Quantity::Tpot) run.tpot_s = m.value;
    return;
  }
  double tokens = 1;
  if (metric.quantity == Quantity::OutputTokens) tokens = m.output.mean();
  if (metric.quantity == Quantity::InputTokens) tokens = m.input.mean();
  if (metric.quantity == Quantity::TotalTokens) tokens = m.input.mean() + m.output.mean();
  const double devices = metric.per_gpu ? static_cast<double>(m.gpus) : 1;
  run.requests_per_s = m.value * devices / tokens;
}

// Requests in flight by Little's law over those the run had; nullopt: it does not print enough.
std::optional<double> little_ratio(const Measurement& m, const Run& run) {
  if (run.ttft_s <= 0 || run.tpot_s <= 0 || run.requests_per_s <= 0) return std::nullopt;
  const double seconds = run.ttft_s + (m.output.mean() - 1) * run.tpot_s;
  return run.requests_per_s * seconds / static_cast<double>(m.concurrency);
}

bool holds(double ratio) {
  return std::abs(std::log(ratio)) <= std::log(1 + kLittleTolerance);
}

// "..._tp4_ep4_1377-ttft" and "..._tp4_0_ep4_0_17-ttft": the source's own degrees.
std::optional<std::pair<std::int64_t, std::int64_t>> degrees_in_id(std::string_view id) {
  id = id.substr(0, id.rfind('-'));  // the metric
  const auto number_after = [&](std::string_view key) -> std::int64_t {
    const std::size_t at = id.rfind(key);
    if (at == std::string_view::npos) return 0;
    std::int64_t value = 0;
    for (std::size_t i = at + key.size();
         i < id.size() && std::isdigit(static_cast<unsigned char>(id[i])) != 0; ++i) {
      value = std::min<std::int64_t>(value * 10 + (id[i] - '0'), 1 << 20);
    }
    return value;
  };
  const std::int64_t tp = number_after("_tp");
  const std::int64_t ep = number_after("_ep");
  if (tp < 1 || ep < 1) return std::nullopt;
  return std::pair(tp, ep);
}

// The factor by which the row has too many devices; 1 if it has not.
std::int64_t excess(const Measurement& m, std::optional<double> ratio) {
  const Worker& w = m.pools.front().worker;
  if (ratio) {
    const bool multiplied = w.dp > 1 && w.tp > 1 && w.ep == w.dp * w.tp && !holds(*ratio);
    return multiplied && holds(*ratio / static_cast<double>(w.dp)) ? w.dp : 1;
  }
  const auto stated = degrees_in_id(m.id);
  if (!stated || stated->second < 2) return 1;
  return m.gpus == stated->first * stated->second ? stated->second : 1;
}

void divide_devices(Measurement& m, std::int64_t factor) {
  MeasuredPool& pool = m.pools.front();
  Worker& w = pool.worker;
  const std::int64_t ranks = w.stage_ranks() / factor;
  w.dp = w.tp > 1 ? 1 : ranks;
  w.tp = w.tp > 1 ? ranks : 1;
  if (w.ep > ranks) w.ep = ranks;
  w.etp = ranks / w.ep;
  m.gpus = pool.gpus();
  ClusterSpec fewer = *m.cluster;
  fewer.gpus = m.gpus;
  m.cluster = std::make_shared<const ClusterSpec>(std::move(fewer));
  m.mended = true;
}

// Rows of one source and layout, whatever their lengths and load.
std::string series(const Measurement& m) {
  return fmt::format("{}\n{}\n{}", m.group, m.gpus, layout(m));
}

// What the rows of a series prove of its number of devices.
struct Proof {
  std::int64_t factor = 1;
  bool sound = false;  // a run of it obeys the law as written
};

class Checks {
 public:
  explicit Checks(const std::vector<Measurement>& rows) {
    for (const Measurement& m : rows) {
      if (applies(m)) add(m, runs_[m.run]);
    }
    for (const Measurement& m : rows) {
      const auto r = ratio(m);
      if (!r) continue;
      Proof& proof = proofs_[series(m)];
      proof.sound = proof.sound || holds(*r);
      proof.factor = std::max(proof.factor, excess(m, r));
    }
  }

  std::optional<double> ratio(const Measurement& m) const {
    return applies(m) ? little_ratio(m, runs_.at(m.run)) : std::nullopt;
  }

  // By which the row has too many devices. A run that prints no rate is judged by its series.
  std::int64_t factor(const Measurement& m) const {
    if (!applies(m) || m.split()) return 1;
    const auto r = ratio(m);
    const std::int64_t own = excess(m, r);
    const auto proof = proofs_.find(series(m));
    if (own > 1 || r || proof == proofs_.end() || proof->second.sound) return own;
    return proof->second.factor;
  }

 private:
  static bool applies(const Measurement& m) {
    return m.inferencex && m.load == LoadKind::ClosedLoop;
  }
  std::map<std::string, Run> runs_;
  std::map<std::string, Proof> proofs_;
};

}  // namespace

void check_measurements(Measurements& all) {
  const Checks checks(all.rows);
  std::vector<Measurement> kept;
  kept.reserve(all.rows.size());
  for (Measurement& m : all.rows) {
    const auto ratio = checks.ratio(m);
    const std::int64_t factor = checks.factor(m);
    if (factor == 1 && ratio && !holds(*ratio)) {
      all.skipped.push_back(
          {m.line, m.id, SkipReason::ContradictsItself,
           fmt::format("rate x latency is {:.2f} times the concurrency", *ratio)});
      continue;
    }
    if (factor > 1) divide_devices(m, factor);
    kept.push_back(std::move(m));
  }
  all.mended = std::ranges::count_if(kept, [](const Measurement& m) { return m.mended; });
  all.rows = std::move(kept);
}

}  // namespace pentafold
