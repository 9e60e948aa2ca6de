// WeightMatrix: an (n, k) matrix of stored weights in the layout its device wants.
//
// RowMajor is what checkpoints store. In Panels16 a panel is 16 outputs that advance along k with
// one contiguous load a step, and groups of four panels lie as [k][4][16], so that a thread reads
// one stream (the last group has as many panels as are left; a short last panel is padded with
// zeros). Both keep the stored type: widening to fp32 happens in registers. Immutable after pack;
// shared between ranks.
//
// A matrix in integers (base/quantise.h) is, group by group along k: in RowMajor the row's scale,
// then its integers, one a byte; in Panels16, panel by panel, the integers of 16 outputs plus their
// offset, [padded / 4][16][4] bytes, then the 16 scales. So four columns of an output are the four
// bytes of one lane. With 4 bits a byte holds the integer of one block of four columns below that
// of the next. These panels are not interleaved: four streams came at 26 GB/s, one at 18.
//
// Cost: n k size_of(dtype) bytes, or those of group_bytes; Panels16 rounds n up to 16. Held by
// kernels/gemm_test.cc and kernels/gemm_integer_test.cc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/quantise.h"
#include "base/slab.h"
#include "base/split.h"

namespace pentafold {

enum class WeightLayout { RowMajor, Panels16 };

constexpr std::int64_t kPanelWidth = 16;
constexpr std::int64_t kGroupPanels = 4;

constexpr std::int64_t panels_of(std::int64_t n) {
  return (n + kPanelWidth - 1) / kPanelWidth;
}
// Those of `panels` that lie in the group of the first of them.
constexpr Range in_one_group(Range panels) {
  return {panels.begin, std::min(panels.end, (panels.begin / kGroupPanels + 1) * kGroupPanels)};
}
// All panels of the group of panel `panel` of n outputs.
constexpr Range group_of(std::int64_t panel, std::int64_t n) {
  return in_one_group({panel / kGroupPanels * kGroupPanels, panels_of(n)});
}

struct WeightMatrix {
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType dtype = DType::F32;  // of the values, or of the scales of integers
  WeightLayout layout = WeightLayout::RowMajor;
  SlabVector<std::byte> bytes;
  IntegerFormat integers{};
  bool in_integers() const { return integers.bits != 0; }
};

}  // namespace pentafold
