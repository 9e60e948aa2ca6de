// Percentiles: what a table says of many values.
//
// The p-th percentile of n sorted values is the linear interpolation at position p/100 x (n - 1),
// counted from 0: numpy's default, type 7 of Hyndman & Fan (The American Statistician, 1996), and
// what vLLM's and SGLang's benchmarks print.
// Cost: O(n log n). Held by report/percentiles_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pentafold {

// Of ascending values; 0 if there are none. `percent` 0 to 100.
double percentile(std::span<const double> sorted, double percent);

struct Distribution {
  std::int64_t n = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
};
Distribution distribution_of(std::vector<double> values);

}  // namespace pentafold
