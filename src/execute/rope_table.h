// Cosines and sines of rotary embeddings at absolute positions, computed once in double precision.
//
// Layout (positions, 2, head_dim / 2): the cos row of a position, then its sin row, as
// Device::rope reads it. Scalings: linear (frequencies / factor), llama3 (wavelengths beyond
// original/low_freq_factor scaled, below original/high_freq_factor kept, a linear blend between),
// yarn (ramp between interpolation and extrapolation, and cos/sin times attention_factor). Source:
// RoFormer (arXiv 2104.09864), YaRN (2309.00071), the Llama 3.1 model card's rule. Cost: positions
// * head_dim. Held by execute/rope_table_test.cc and the golden checkpoints.
#pragma once

#include <cstdint>
#include <vector>

#include "spec/model.h"

namespace pentafold {

// Radians per position of each rotated pair, (head_dim / 2).
std::vector<double> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim);

std::vector<float> make_rope_table(const RopeSpec& rope, std::int64_t head_dim,
                                   std::int64_t positions);

}  // namespace pentafold
