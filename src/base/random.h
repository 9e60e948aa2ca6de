// Counter-based random numbers: a value is a function of (key, counter), never of who asked first.
//
// That makes synthetic weights and samples independent of the plan: any slice of a tensor, any
// token of any request, can be drawn alone. Two generators: Philox4x32-10 for sampling (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the SplitMix64 finalizer
// (Steele et al., OOPSLA 2014) as a cheap hash for bulk weights.
// Cost: Philox about 10 ns a block of four, mix64 about 1 ns. Held by base/base_test.cc (the
// published Philox vectors).
#pragma once

#include <array>
#include <cstdint>

namespace pentafold {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// Uniform in [0, 1), 53 bits, for (seed, request, position): the key of a sampled token.
double sample_uniform(std::uint64_t seed, std::uint32_t request, std::uint32_t position);

constexpr std::uint64_t mix64(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace pentafold
