#include "predict/load_series.h"

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

void add_scaled(LoadLevel& sum, const LoadLevel& level, double factor) {
  sum.waiting += level.waiting * factor;
  sum.running += level.running * factor;
  sum.kv_blocks += level.kv_blocks * factor;
  sum.busy += level.busy * factor;
}

}  // namespace

void LoadSeries::widen() {
  for (std::size_t i = 0; i < sums_.size(); i += 2) {
    LoadLevel both = sums_[i];
    if (i + 1 < sums_.size()) add_scaled(both, sums_[i + 1], 1);
    sums_[i / 2] = both;
  }
  sums_.resize((sums_.size() + 1) / 2);
  width_ *= 2;
}

void LoadSeries::add(double from, double to, const LoadLevel& level, double kv_growth) {
  if (!(to > from)) return;
  end_ = std::max(end_, to);
  while (to / width_ >= static_cast<double>(kMostBuckets)) widen();
  const auto last = static_cast<std::size_t>(to / width_);
  if (sums_.size() <= last) sums_.resize(last + 1);
  for (auto i = static_cast<std::size_t>(from / width_); i <= last; ++i) {
    const double low = std::max(from, static_cast<double>(i) * width_);
    const double high = std::min(to, static_cast<double>(i + 1) * width_);
    if (!(high > low)) continue;
    LoadLevel here = level;
    here.kv_blocks += kv_growth * ((low + high) / 2 - from) / (to - from);
    add_scaled(sums_[i], here, high - low);
  }
}

std::vector<LoadLevel> LoadSeries::means() const {
  std::vector<LoadLevel> means;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const double low = static_cast<double>(i) * width_;
    const double seconds = std::min(end_ - low, width_);
    if (!(seconds > 0)) break;
    add_scaled(means.emplace_back(), sums_[i], 1 / seconds);
  }
  return means;
}

}  // namespace pentafold
