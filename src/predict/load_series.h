// LoadSeries: queue, running sequences, KV use and busy time over time, averaged over buckets.
//
// Buckets start at the width asked for and double in width, two becoming one, when there would be
// too many, so a long simulation costs no more memory than a short one.
// Cost: O(buckets touched) a segment; at most kMostBuckets. Held by predict/load_series_test.cc.
#pragma once

#include <cstdint>
#include <vector>

namespace pentafold {

// What holds between two events of one replica, or its mean over a bucket, summed over replicas.
struct LoadLevel {
  double waiting = 0;    // sequences
  double running = 0;    // sequences
  double kv_blocks = 0;  // referenced
  double busy = 0;       // replicas in a step
};

class LoadSeries {
 public:
  static constexpr std::size_t kMostBuckets = 8192;

  explicit LoadSeries(double bucket_s) : width_(bucket_s) {}

  // The level from `from` to `to` seconds, 0 <= from <= to; KV blocks grow linearly by `kv_growth`.
  void add(double from, double to, const LoadLevel& level, double kv_growth);

  double bucket_s() const { return width_; }
  // Means; bucket i covers [i, i + 1) x bucket_s, the last one until `end`, the last time added.
  std::vector<LoadLevel> means() const;

 private:
  void widen();
  double width_;
  double end_ = 0;
  std::vector<LoadLevel> sums_;  // level x seconds
};

}  // namespace pentafold
