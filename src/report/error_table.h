// error_table: how far predictions are from measurements, in numbers that can be compared.
//
// The error of a prediction p of a measured m is |p / m - 1|; its mean over rows is the MAPE. Bias
// is the mean of p / m - 1 with its sign. An interval covers a row if low <= m <= high. Pair order:
// of two layouts of the same job, is the one that was measured better also predicted better. A
// layout measured several times counts once, by its median; pairs within kMeasurementNoise of each
// other are left out, a tie of the predictions counts as wrong. All are fractions, not percent.
// Cost: O(n log n). Held by report/error_table_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pentafold {

struct ErrorSample {
  double measured = 0;  // above 0
  double predicted = 0;
  double low = 0;  // interval of the prediction
  double high = 0;
  bool covered() const { return low <= measured && measured <= high; }
};

struct ErrorStats {
  std::int64_t n = 0;  // the rest is 0 where this is
  double median = 0;
  double mean = 0;
  double p90 = 0;
  double bias = 0;
  double covered = 0;  // part of the rows
};
ErrorStats error_stats(std::span<const ErrorSample> samples);

// The value that a part `q` of the sorted values is below, interpolated between neighbours; 0 of
// none.
double quantile(std::span<const double> sorted, double q);

// Repeated measurements of one configuration differ by so much.
inline constexpr double kMeasurementNoise = 0.02;
// Layouts of one job that are compared with each other, at most.
inline constexpr std::size_t kMaxLayouts = 512;

struct PairSample {
  std::string job;  // with the metric: only equal ones are compared
  std::string layout;
  double measured = 0;
  double predicted = 0;
};
struct PairOrder {
  std::int64_t right = 0;
  std::int64_t of = 0;
};
PairOrder pair_order(std::span<const PairSample> samples);

// Errors of several quantities by one property of the rows.
struct ErrorTable {
  std::string title;                    // "by GPU"
  std::vector<std::string> quantities;  // "TPOT", ...
  struct Row {
    std::string label;
    std::vector<ErrorStats> stats;  // one for each quantity
  };
  std::vector<Row> rows;
};
// Fixed columns: n, median, mean, p90, bias and coverage of each quantity in percent.
std::string format_text(const ErrorTable& table);

}  // namespace pentafold
