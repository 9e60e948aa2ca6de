#include "report/percentiles.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace pentafold {
namespace {

// Buckets cut each power of two into equal parts, so that the bounds need no logarithm.
constexpr int kPartsOfTwo = 256;
constexpr int kLowestExponent = -30;  // 2^-31 to 2^-30: about a nanosecond
constexpr int kHighestExponent = 30;

std::size_t bucket_of(double value) {
  int exponent = 0;
  const double m = std::frexp(value, &exponent);  // [0.5, 1)
  if (exponent < kLowestExponent) return 0;
  if (exponent > kHighestExponent) return bucket_of(std::ldexp(0.999, kHighestExponent));
  const auto part = static_cast<std::size_t>((m - 0.5) * 2 * kPartsOfTwo);
  return 1 + static_cast<std::size_t>(exponent - kLowestExponent) * kPartsOfTwo + part;
}

// The middle of a bucket.
double value_of(std::size_t bucket) {
  if (bucket == 0) return 0;
  const auto exponent = static_cast<int>((bucket - 1) / kPartsOfTwo) + kLowestExponent;
  const auto part = static_cast<double>((bucket - 1) % kPartsOfTwo);
  return std::ldexp(0.5 + (part + 0.5) / (2 * kPartsOfTwo), exponent);
}

}  // namespace

double percentile(std::span<const double> sorted, double percent) {
  CHECK(percent >= 0 && percent <= 100);
  if (sorted.empty()) return 0;
  const double position = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = position - static_cast<double>(below);
  return sorted[below] + (sorted[above] - sorted[below]) * part;
}

double mean_of(std::span<const double> values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

Percentiles percentiles_of(std::vector<double> values) {
  std::ranges::sort(values);
  Percentiles out;
  out.count = static_cast<std::int64_t>(values.size());
  out.mean = mean_of(values);
  out.p50 = percentile(values, 50);
  out.p90 = percentile(values, 90);
  out.p99 = percentile(values, 99);
  out.max = values.empty() ? 0 : values.back();
  return out;
}

void ValueHistogram::add(double value, std::int64_t times) {
  CHECK(value >= 0 && times >= 0);
  if (times == 0) return;
  const std::size_t bucket = bucket_of(value);
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  buckets_[bucket] += times;
  count_ += times;
  sum_ += value * static_cast<double>(times);
  max_ = std::max(max_, value);
}

double ValueHistogram::at_rank(double percent) const {
  const double rank = percent / 100 * static_cast<double>(count_ - 1);
  std::int64_t before = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    before += buckets_[bucket];
    if (static_cast<double>(before) > rank) return std::min(value_of(bucket), max_);
  }
  return max_;
}

Percentiles ValueHistogram::percentiles() const {
  Percentiles out;
  if (count_ == 0) return out;
  out.count = count_;
  out.mean = sum_ / static_cast<double>(count_);
  out.p50 = at_rank(50);
  out.p90 = at_rank(90);
  out.p99 = at_rank(99);
  out.max = max_;
  return out;
}

}  // namespace pentafold
