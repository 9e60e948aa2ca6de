// SpeedProbe: the two limits of this machine that a run is held against, measured beside it.
//
// f32 multiply-adds on registers, and reading a buffer that no cache holds, by a team of threads at
// once. A sample takes some tens of milliseconds, so limits can be taken in turns with what they
// are compared with, and what else the machine does meets both. Cost: the buffer, which threads
// share. Held by execute/bench_test.cc.
#pragma once

#include <memory>

#include "base/slab.h"
#include "report/bench_report.h"

namespace pentafold {

class SpeedProbe {
 public:
  // `buffer`: what is read; outlives the probe.
  SpeedProbe(std::int64_t threads, const SlabVector<std::byte>& buffer);

  void sample();
  SpeedLimits limits() const;  // medians; after a sample

 private:
  std::int64_t threads_;
  const SlabVector<std::byte>& buffer_;
  std::vector<double> flops_;        // a second
  std::vector<double> bytes_per_s_;  // likewise
};

// Written, and many times the last cache of this machine; `quick`: a few MiB.
SlabVector<std::byte> make_probe_buffer(bool quick);

}  // namespace pentafold
