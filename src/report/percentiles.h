// Percentiles: of values that are all there, exactly; of too many to keep, from a histogram.
//
// The p-th percentile of n sorted values is the linear interpolation at position p/100 x (n - 1),
// counted from 0: numpy's default, type 7 of Hyndman & Fan (The American Statistician, 1996), and
// what vLLM's and SGLang's benchmarks print. The histogram has buckets whose bounds grow by a
// fixed ratio, so that any percentile is within 0.2 % of the value at that rank.
// Source: as above; the histogram as in HdrHistogram and DDSketch (Masson et al., VLDB 2019).
// Cost: O(n log n) once; O(1) to count, some 12 thousand buckets. Held by
// report/percentiles_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pentafold {

// Of ascending values; 0 if there are none. `percent` 0 to 100.
double percentile(std::span<const double> sorted, double percent);
double mean_of(std::span<const double> values);

// What a table says of many values.
struct Percentiles {
  std::int64_t count = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};
Percentiles percentiles_of(std::vector<double> values);

class ValueHistogram {
 public:
  // `value` 0 or more; below a nanosecond counts as 0, above some 30 years as that.
  void add(double value, std::int64_t times = 1);
  Percentiles percentiles() const;
  std::int64_t count() const { return count_; }

 private:
  double at_rank(double percent) const;

  std::vector<std::int64_t> buckets_;  // grows to the largest value seen
  std::int64_t count_ = 0;
  double sum_ = 0;
  double max_ = 0;
};

}  // namespace pentafold
