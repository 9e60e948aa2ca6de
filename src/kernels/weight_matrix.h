// WeightMatrix: an (n, k) matrix of stored weights in the layout its device wants.
//
// RowMajor is what checkpoints store; Panels16 is [ceil(n/16)][k][16], so that 16 outputs advance
// along k with one contiguous load a step (short last panel padded with zeros). Both keep the
// stored type: widening to fp32 happens in registers. Immutable after pack; shared between ranks.
// Cost: n k size_of(dtype) bytes, Panels16 rounds n up to 16. Held by kernels/gemm_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/slab.h"

namespace pentafold {

enum class WeightLayout { RowMajor, Panels16 };

constexpr std::int64_t kPanelWidth = 16;

struct WeightMatrix {
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType dtype = DType::F32;
  WeightLayout layout = WeightLayout::RowMajor;
  SlabVector<std::byte> bytes;
};

}  // namespace pentafold
