// core_limits: work that a core can do no faster, for measuring how fast it does it.
//
// Multiply-adds on registers alone, and loads of memory that nothing is done with: what a kernel
// reaches is a part of the one or the other. In the widest vectors that the kernels here use, so
// capping their dispatch caps these too. Cost: as asked for. Held by kernels/core_limits_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pentafold {

// `rounds` rounds of fused multiply-adds in enough chains to keep every unit of a core busy.
// Returns the floating-point operations that were done, two for each multiply-add.
double multiply_add(std::int64_t rounds);

// Reads every byte but the last few that fill no vector; returns how many were read. `bytes` begins
// on a multiple of 4.
std::int64_t read_through(std::span<const std::byte> bytes);

}  // namespace pentafold
