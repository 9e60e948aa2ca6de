// synthetic_weights: parameters drawn from a seed, any slice alone.
//
// Element i of a tensor is a pure function of (seed, tensor, i): one mix64 of (key + i / 4) gives
// four 16-bit numbers, each mapped to a symmetric uniform value and rounded to the stored type. So
// a rank that holds a third of a matrix draws the same values as one that holds all of it.
// Matrices have standard deviation 1 / sqrt(cols), norms are 1 +- 0.1, biases +- 0.02.
// Source: counter-based generation (Salmon et al., SC 2011) with the SplitMix64 finalizer.
// Cost: about 1 ns an element. Held by spec/weight_source_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/split.h"
#include "spec/tensors.h"

namespace pentafold {

// Fills `out` with rows x cols of the tensor, row-major, in `dtype`. out.size() is exactly
// rows.size() * cols.size() * size_of(dtype), and the ranges lie inside the tensor.
void draw_weights(std::uint64_t seed, const TensorInfo& tensor, DType dtype, Range rows, Range cols,
                  std::span<std::byte> out);

}  // namespace pentafold
