#include "predict/expert_load.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "policy/routing.h"
#include "predict/expert_placement.h"

namespace pentafold {
namespace {

constexpr std::size_t kPooled = 64;  // at most so many means stand for the shares
constexpr std::size_t kAlone = 32;   // of which so many for one rank of experts each: the hottest

// Mean of the largest of n standard normal numbers, within 0.1 for n up to 1024.
double largest_normal(double n) {
  return n > 1 ? std::sqrt(2 * std::log(n)) - 0.58 : 0;
}

double log_binomial(double n, double x, double q) {
  return std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) + x * std::log(q) +
         (n - x) * std::log1p(-q);
}

// Mean of max(0, X - capacity), X of n trials that succeed with probability q each: the tail on
// the far side of the mean is summed until its terms vanish.
double mean_excess(double n, double q, double capacity) {
  if (q <= 0 || capacity >= n) return 0;
  const double mean = n * q;
  if (q >= 1) return n - capacity;
  const bool above = capacity >= mean;
  const double step = above ? 1 : -1;
  double sum = 0;
  double x = capacity + step;
  if (x >= 0) {
    double term = std::exp(log_binomial(n, x, q));
    for (; x >= 0 && x <= n; x += step) {
      const double part = std::abs(x - capacity) * term;
      sum += part;
      if (part < 1e-14 * sum || term == 0) break;
      term *= above ? (n - x) / (x + 1) * (q / (1 - q)) : x / (n - x + 1) * ((1 - q) / q);
    }
  }
  return above ? sum : mean - capacity + sum;
}

}  // namespace

struct ExpertLoad::Memory {
  std::mutex mutex;
  std::map<std::pair<std::int64_t, std::int64_t>, Peaks> peaks;
};

ExpertLoad::ExpertLoad(std::int64_t experts, std::int64_t top_k, double skew)
    : ExpertLoad(experts, top_k, power_law_profile(experts, top_k, skew)) {}

ExpertLoad::ExpertLoad(std::int64_t experts, std::int64_t top_k, ExpertProfile profile)
    : experts_(experts),
      top_k_(top_k),
      profile_(std::move(profile)),
      memory_(std::make_shared<Memory>()) {
  CHECK(experts >= 1 && top_k >= 1 && top_k <= experts);
  for (const std::vector<double>& layer : profile_.layers) {
    CHECK(static_cast<std::int64_t>(layer.size()) == experts);
  }
  pool_shares();
}

void ExpertLoad::pool_shares() {
  if (profile_.even()) return;
  std::vector<double> all;
  for (const std::vector<double>& layer : profile_.layers) {
    all.insert(all.end(), layer.begin(), layer.end());
  }
  std::ranges::sort(all, std::greater());
  const auto layers = profile_.layers.size();
  const auto experts = static_cast<std::size_t>(experts_);
  const std::size_t bins = std::min(kPooled, experts);
  const auto bin_of = [&](std::size_t place) {
    if (experts <= kPooled || place < kAlone) return place;
    return kAlone + (place - kAlone) * (kPooled - kAlone) / (experts - kAlone);
  };
  std::vector<double> sum(bins, 0.0);
  std::vector<double> size(bins, 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t bin = bin_of(i / layers);
    sum[bin] += all[i];
    size[bin] += 1;
  }
  for (std::size_t b = 0; b < bins; ++b) {
    pooled_.push_back(sum[b] / size[b]);
    weight_.push_back(size[b] / static_cast<double>(all.size()));
  }
}

ExpertLoad::Peaks ExpertLoad::peaks(std::int64_t ep, std::int64_t redundant) const {
  if (profile_.even() || ep == 1) return {};
  const std::scoped_lock lock(memory_->mutex);
  const auto [known, fresh] = memory_->peaks.try_emplace({ep, redundant});
  if (!fresh) return known->second;
  Peaks out{0, 1};
  for (const std::vector<double>& share : profile_.layers) {
    double peak = profile_.named ? blocked_peak(share, ep) : shuffled_peak(share, ep);
    if (redundant > 0) peak = std::min(peak, balanced_peak(share, ep, redundant));
    peak = std::max(1.0, peak);
    out.mean += peak / static_cast<double>(profile_.layers.size());
    out.worst = std::max(out.worst, peak);
  }
  return known->second = out;
}

double ExpertLoad::peak_share(std::int64_t ep, std::int64_t redundant) const {
  return peaks(ep, redundant).mean;
}

double ExpertLoad::worst_peak_share(std::int64_t ep, std::int64_t redundant) const {
  return peaks(ep, redundant).worst;
}

double ExpertLoad::touched(double rows) const {
  const auto picks = static_cast<double>(top_k_);
  if (pooled_.empty()) return 1 - std::pow(1 - picks / static_cast<double>(experts_), rows);
  double out = 0;
  for (std::size_t b = 0; b < pooled_.size(); ++b) {
    out += weight_[b] * (1 - std::pow(1 - std::min(1.0, pooled_[b] * picks), rows));
  }
  return std::min(out, 1.0);  // the weights sum to 1 only nearly
}

ExpertLoad::Busiest ExpertLoad::busiest(double rows, std::int64_t ep, std::int64_t slots,
                                        double peak_share) const {
  const auto groups = static_cast<double>(ep);
  const auto held = static_cast<double>(slots);
  const auto picks = static_cast<double>(top_k_);
  const auto experts = static_cast<double>(experts_);
  const double spread = largest_normal(groups);
  // A row draws without putting back, so its choices spread less than independent ones.
  const double drawn = experts_ > 1 ? (experts - picks) / (experts - 1) * (1 - 1 / groups) : 0.0;
  const double mean = rows * picks / groups;
  // Of a few rows the tail is a Poisson number's (Cornish-Fisher's first term).
  const double chance =
      spread * std::sqrt(mean * drawn) + std::max(0.0, spread * spread - 1) / 6 * drawn;
  Busiest out;
  out.rows =
      std::min(mean + std::hypot(mean * (peak_share - 1), chance), rows * std::min(held, picks));
  const double part = touched(rows);
  // The spread shrinks again when nearly all are touched, but only past the cap: more rows never
  // touch fewer.
  out.experts = held * part + spread * std::sqrt(held * part * (1 - part) * (1 - 1 / groups));
  out.experts = std::min({out.experts, held, std::max(out.rows, 1.0)});
  return out;
}

ExpertLoad::Dispatch ExpertLoad::dispatch(double rows, std::int64_t ep, std::int64_t slots,
                                          double peak_share) const {
  const auto groups = static_cast<double>(ep);
  const auto experts = static_cast<double>(experts_);
  // Probability that a row visits a group which gets `share` of the choices: the picks avoid its
  // experts one after the other, each expert of an even group being picked with k / E.
  const auto visits = [&](double share) {
    const double pick = static_cast<double>(top_k_) * share * experts / static_cast<double>(slots);
    double none = 1;
    for (std::int64_t i = 0; i < std::min(slots, experts_); ++i) {
      none *= std::max(0.0, 1 - pick / (experts - static_cast<double>(i)));
    }
    return 1 - none;
  };
  if (rows <= 0) return {};
  const double own = rows / groups;
  const double placed = std::min(1.0, peak_share / groups);
  // The others share evenly what the busiest leaves.
  const double others = groups > 1 ? (1 - placed) / (groups - 1) : 0;
  const double visited = visits(placed) + (groups - 1) * visits(others);
  const double pairs = busiest(rows, ep, slots, peak_share).rows;
  const double busy = std::min(1.0, pairs / (rows * static_cast<double>(top_k_)));
  return {own * visited * (groups - 1) / groups, (rows - own) * visits(busy)};
}

double ExpertLoad::overflow(std::int64_t rows, double capacity_factor) const {
  if (rows <= 0) return 0;
  const auto capacity = static_cast<double>(
      expert_capacity(capacity_factor, rows, {experts_, top_k_, RouterOrder::SoftmaxTopk, true}));
  const auto n = static_cast<double>(rows);
  const auto picks = static_cast<double>(top_k_);
  if (profile_.even()) {
    const auto experts = static_cast<double>(experts_);
    return experts * mean_excess(n, picks / experts, capacity) / (n * picks);
  }
  double refused = 0;
  for (const std::vector<double>& layer : profile_.layers) {
    for (const double share : layer) {
      refused += mean_excess(n, std::min(1.0, share * picks), capacity);
    }
  }
  return refused / static_cast<double>(profile_.layers.size()) / (n * picks);
}

ExpertLoad expert_load(const ModelShape& model, std::size_t kind, const Workload& workload) {
  const FfnShape& ffn = model.kinds[kind].ffn;
  if (ffn.experts == 0) return {1, 1, ExpertProfile{}};
  return {ffn.experts, ffn.top_k, expert_profile(model, kind, workload)};
}

}  // namespace pentafold
