// What the probes of kernels share. Internal to execute/measure*.cc. Held by
// execute/measure_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "execute/measure.h"
#include "kernels/device.h"

namespace pentafold {

inline constexpr double kProbeSeconds = 4e-4;  // of one sample
inline constexpr int kProbeRounds = 31;

struct ProbeSizes {
  std::vector<double> working_sets;  // bytes, ascending
  std::vector<double> rows;          // ascending
  int rounds = 1;
};

// In [-1, 1), from the seed.
std::vector<float> probe_floats(std::int64_t count, std::uint64_t seed);

void measure_products(const Device& device, const ProbeSizes& sizes, MachineSpec& machine);
void measure_attention(const Device& device, const ProbeSizes& sizes, MachineSpec& machine);

}  // namespace pentafold
