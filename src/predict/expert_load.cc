#include "predict/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {
namespace {

constexpr int kShuffles = 8;

// Mean of the largest of n standard normal numbers, within 0.1 for n up to 1024.
double largest_normal(double n) {
  return n > 1 ? std::sqrt(2 * std::log(n)) - 0.58 : 0;
}

// Largest sum of any of `ep` blocks after a fixed pseudo-random order.
double shuffled_peak(const std::vector<double>& share, std::int64_t ep) {
  double sum = 0;
  for (std::uint64_t s = 0; s < kShuffles; ++s) {
    std::vector<std::pair<std::uint64_t, double>> order;
    order.reserve(share.size());
    for (std::size_t e = 0; e < share.size(); ++e) {
      order.emplace_back(mix64(mix64(s) + e), share[e]);
    }
    std::sort(order.begin(), order.end());
    std::vector<double> group(static_cast<std::size_t>(ep), 0.0);
    for (std::size_t i = 0; i < order.size(); ++i) {
      group[i * static_cast<std::size_t>(ep) / order.size()] += order[i].second;
    }
    sum += *std::max_element(group.begin(), group.end());
  }
  return sum / kShuffles;
}

// Copies go to the expert with the most load per copy, then to the emptiest group with room.
double balanced_peak(const std::vector<double>& share, std::int64_t ep, std::int64_t redundant) {
  std::vector<std::int64_t> copies(share.size(), 1);
  for (std::int64_t r = 0; r < redundant; ++r) {
    std::size_t hottest = 0;
    for (std::size_t e = 1; e < share.size(); ++e) {
      if (share[e] / static_cast<double>(copies[e]) >
          share[hottest] / static_cast<double>(copies[hottest])) {
        hottest = e;
      }
    }
    ++copies[hottest];
  }
  std::vector<double> slots;
  for (std::size_t e = 0; e < share.size(); ++e) {
    slots.insert(slots.end(), static_cast<std::size_t>(copies[e]),
                 share[e] / static_cast<double>(copies[e]));
  }
  std::sort(slots.rbegin(), slots.rend());
  const std::size_t room =
      (slots.size() + static_cast<std::size_t>(ep) - 1) / static_cast<std::size_t>(ep);
  std::vector<double> load(static_cast<std::size_t>(ep), 0.0);
  std::vector<std::size_t> used(load.size(), 0);
  for (const double slot : slots) {
    std::size_t best = load.size();
    for (std::size_t g = 0; g < load.size(); ++g) {
      if (used[g] < room && (best == load.size() || load[g] < load[best])) best = g;
    }
    load[best] += slot;
    ++used[best];
  }
  return *std::max_element(load.begin(), load.end());
}

}  // namespace

ExpertLoad::ExpertLoad(std::int64_t experts, std::int64_t top_k, double skew)
    : experts_(experts), top_k_(top_k) {
  CHECK(experts >= 1 && top_k >= 1 && top_k <= experts && skew >= 0);
  if (skew == 0) return;
  for (std::int64_t e = 0; e < experts; ++e) {
    share_.push_back(std::pow(static_cast<double>(e + 1), -skew));
  }
  // A row picks an expert once, so no share exceeds 1 / top_k: what the cap cuts off goes to the
  // rest.
  const double cap = 1.0 / static_cast<double>(top_k);
  double capped = 0;  // sum of the shares at the cap
  for (std::size_t first = 0; first < share_.size();) {
    const double rest =
        std::accumulate(share_.begin() + static_cast<std::ptrdiff_t>(first), share_.end(), 0.0);
    const double scale = (1 - capped) / rest;
    if (share_[first] * scale <= cap || first + 1 == share_.size()) {
      for (std::size_t e = first; e < share_.size(); ++e) share_[e] *= scale;
      break;
    }
    share_[first++] = cap;
    capped += cap;
  }
}

double ExpertLoad::peak_share(std::int64_t ep, std::int64_t redundant) const {
  if (share_.empty() || ep == 1) return 1;
  const double peak =
      redundant > 0 ? balanced_peak(share_, ep, redundant) : shuffled_peak(share_, ep);
  return std::max(1.0, peak * static_cast<double>(ep));
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
  double touched = 1 - std::pow(1 - picks / experts, rows);
  if (!share_.empty()) {
    touched = 0;
    for (const double share : share_) {
      touched += 1 - std::pow(1 - std::min(1.0, share * picks), rows);
    }
    touched /= experts;
  }
  // The spread shrinks again when nearly all are touched, but only past the cap: more rows never
  // touch fewer.
  out.experts =
      held * touched + spread * std::sqrt(held * touched * (1 - touched) * (1 - 1 / groups));
  out.experts = std::min({out.experts, held, std::max(out.rows, 1.0)});
  return out;
}

}  // namespace pentafold
