// The vectorised kernels behind the cpu device; each picks its instruction set on the call.
//
// Contracts are those of the Device methods of the same name. Matrix products compute one block of
// their outputs and attention some of its tiles, so that a team can share the work. Cost and tests:
// cpu_device.h.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/attention_tile.h"
#include "kernels/device.h"

namespace pentafold::cpu {

// y = (x * scale[r]) * weight, the last step of Device::normalise.
struct ScaleArgs {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  ConstRows x;
  const float* scale = nullptr;   // (rows)
  const float* weight = nullptr;  // (width)
  Rows y;
};

struct RopeArgs {
  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::span<const std::int64_t> positions;
  const float* table = nullptr;
  Rows x;
};

struct SiluArgs {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  ConstRows gate;
  ConstRows up;
  Rows y;
};

// y = fma(scale, x, y); scale null: y = y + x.
struct AccumulateArgs {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const float* scale = nullptr;
  ConstRows x;
  Rows y;
};

// Rows and panels of 16 outputs, of the stored matrix.
struct GemmBlock {
  Range rows;
  Range panels;
};

// Up to 16 row-major rows of k elements -> one panel [k][16] of a group; absent rows become zeros.
struct PackArgs {
  const std::byte* rows = nullptr;
  std::int64_t count = 0;  // 1 to 16
  std::int64_t k = 0;
  std::size_t element = 0;  // bytes: 2 or 4
  std::byte* panel = nullptr;
  std::int64_t step = 0;  // elements from one column to the next
};

void pack_panel(const PackArgs& args);

// Some rows of a product's x in integers. The caller owns the memory.
struct IntegerRows {
  Range rows;                     // of the product
  std::int64_t groups = 0;        // of a row
  std::int64_t padded = 0;        // bytes of a group, zeros behind its integers
  std::int8_t* q = nullptr;       // (rows.size(), groups, padded)
  float* scale = nullptr;         // (rows.size(), groups)
  std::int32_t* start = nullptr;  // likewise: -offset of the weights times the sum of q
};

void gemm(const GemmArgs& args, const GemmBlock& block);
void leaf_gemm(const LeafGemmArgs& args, const GemmBlock& block);
void expert_hidden(const ExpertRows& expert, ExpertActivation activation, const GemmBlock& block);
void expert_down(const ExpertRows& expert, std::int64_t leaf_width, const GemmBlock& block);
// Row `row` of `to` from its values; `weights` names the groups and the offset, a value is rounded
// to
// [-limit, limit].
void quantise_row(const float* x, const IntegerFormat& weights, int limit, const IntegerRows& to,
                  std::int64_t row);
// As those above, of weights in integers: block.rows are part of x.rows; what x was made of is not
// read. An expert's gate and up have the same outputs, inputs and format.
void integer_gemm(const GemmArgs& args, const IntegerRows& x, const GemmBlock& block);
void integer_leaf_gemm(const LeafGemmArgs& args, const IntegerRows& x, const GemmBlock& block);
void integer_hidden(const ExpertRows& expert, ExpertActivation activation, const IntegerRows& x,
                    const GemmBlock& block);
void integer_down(const ExpertRows& expert, std::int64_t leaf_width, const IntegerRows& hidden,
                  const GemmBlock& block);
void attention(const AttentionArgs& args, std::span<const AttentionTile> tiles);
void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum);
void scale_rows(const ScaleArgs& args);
void rope(const RopeArgs& args);
void silu_mul(const SiluArgs& args);
void accumulate(const AccumulateArgs& args);
void sum_trees(const TreeSumArgs& args, Range rows);

}  // namespace pentafold::cpu
