// Products of weights in integers. The dot product of a group is exact, so its order is free and
// every instruction set takes its own; what is rounded has one order (Device::gemm). Weights are
// stored plus their offset, unsigned, as the instructions for bytes want one operand; the
// accumulators start at minus offset times the sum of the activations, which takes it back out.
#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm_integer.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/reduction_tree.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/integer_dot-inl.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Accumulators of a register tile; weights and activations need the other registers, and without
// byte dot products two of each.
#if HWY_NATIVE_FMA
constexpr int kIntegerRows = HWY_TARGET == HWY_AVX2 ? 4 : 6;
constexpr int kIntegerAccumulators = PF_BYTE_DOT ? 24 : (HWY_TARGET == HWY_AVX2 ? 8 : 12);
#else
constexpr int kIntegerRows = 1;
constexpr int kIntegerAccumulators = kVectors;
#endif
constexpr int kIntegerWidth = static_cast<int>(kGroupPanels * kPanelWidth);
constexpr int kIntegerTile = kIntegerRows * kIntegerWidth;  // floats

constexpr int integer_panels_for(int rows) {
  int panels = static_cast<int>(kGroupPanels);
  while (panels > 1 && rows * panels * kVectors > kIntegerAccumulators) panels /= 2;
  return panels;
}

// Some groups of the chains of some rows and panels.
struct IntegerInput {
  const std::int8_t* x = nullptr;  // first row, first group
  std::int64_t x_ld = 0;
  const float* scale = nullptr;  // likewise
  const std::int32_t* start = nullptr;
  std::int64_t scale_ld = 0;
  const std::byte* w = nullptr;  // first panel, first group
  std::int64_t panel_bytes = 0;
  std::int64_t block_bytes = 0;  // of one panel's group
  std::int64_t padded = 0;
  std::int64_t groups = 0;
  bool joins = false;  // one group: its chain is added to what is there
};

HWY_INLINE IntegerInput from_group(IntegerInput in, std::int64_t group) {
  in.x += group * in.padded;
  in.scale += group;
  in.start += group;
  in.w += group * in.block_bytes;
  return in;
}

// One of the two steps of four columns from column i of a group: weights of a vector of outputs.
template <int kBits, int kStep>
HWY_INLINE WeightQuad load_step(const std::byte* block, std::int64_t i, int vector) {
  const Words d;
  constexpr std::int64_t kQuadBytes = 4 * kPanelWidth;
  const auto load = [&](std::int64_t at) HWY_ATTR {
    return hn::LoadU(d, reinterpret_cast<const std::uint32_t*>(block + at + vector * 4 * kLanes));
  };
  if constexpr (kBits == 8) {
    return weight_quad(load((i / 4 + kStep) * kQuadBytes));
  } else {
    const auto both = load(i / kGroupStep * kQuadBytes);
    const auto low = hn::Set(d, 0x0F0F0F0FU);
    return weight_quad(hn::And(hn::ShiftRight<4 * kStep>(both), low));
  }
}

// acc += one step of every row and column. At most a step's weights are in registers at once.
template <int kBits, int kStep, int kRows, int kColumns>
HWY_INLINE void add_step(const IntegerInput& at, std::int64_t i,
                         hn::Vec<Sums> (&acc)[kRows][kColumns]) {
  WeightQuad w[kColumns];
  PF_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    w[c] = load_step<kBits, kStep>(at.w + (c / kVectors) * at.panel_bytes, i, c % kVectors);
  }
  PF_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const InputQuad x = input_quad(at.x + r * at.x_ld + i + 4 * kStep);
    PF_UNROLL
    for (int c = 0; c < kColumns; ++c) acc[r][c] = add_dot(acc[r][c], w[c], x);
  }
}

// How the sums of a group go on: as the first of a chain, in the chain that `out` holds, or as a
// chain of their own that is added to the sum that `out` holds.
enum class Finish { First, Next, Join };

template <Finish kFinish, int kRows, int kColumns>
HWY_INLINE void finish(const IntegerInput& at, const hn::Vec<Sums> (&acc)[kRows][kColumns],
                       float* HWY_RESTRICT out) {
  const Lanes16 d;
  PF_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const std::byte* end = at.w + (c / kVectors) * at.panel_bytes + at.block_bytes;
    const auto* scales = reinterpret_cast<const float*>(end) - kPanelWidth;
    const auto w_scale = hn::LoadU(d, scales + (c % kVectors) * kLanes);
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* to = out + r * kIntegerWidth + c * kLanes;
      const auto scale = hn::Mul(hn::Set(d, at.scale[r * at.scale_ld]), w_scale);
      const auto sum = hn::ConvertTo(d, acc[r][c]);
      auto value = fused(d, sum, scale, kFinish == Finish::Next ? hn::LoadU(d, to) : hn::Zero(d));
      if constexpr (kFinish == Finish::Join) value = hn::Add(hn::LoadU(d, to), value);
      hn::StoreU(value, d, to);
    }
  }
}

// out[r][16 p + l]: chains for kRows rows and kPanels panels; row stride kIntegerWidth.
template <int kBits, int kRows, int kPanels>
HWY_INLINE void integer_tile(const IntegerInput& in, float* HWY_RESTRICT out) {
  constexpr int kColumns = kPanels * kVectors;
  const Sums di;
  for (std::int64_t g = 0; g < in.groups; ++g) {
    const IntegerInput at = from_group(in, g);
    hn::Vec<Sums> acc[kRows][kColumns];
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto start = hn::Set(di, at.start[r * in.scale_ld]);
      PF_UNROLL
      for (int c = 0; c < kColumns; ++c) acc[r][c] = start;
    }
    for (std::int64_t i = 0; i < in.padded; i += kGroupStep) {
      add_step<kBits, 0>(at, i, acc);
      add_step<kBits, 1>(at, i, acc);
    }
    if (in.joins) {
      finish<Finish::Join>(at, acc, out);
    } else if (g == 0) {
      finish<Finish::First>(at, acc, out);
    } else {
      finish<Finish::Next>(at, acc, out);
    }
  }
}

// All `panels` (1..4) panels of a group for kRows rows.
template <int kBits, int kRows>
HWY_INLINE void integer_rows(IntegerInput in, int panels, float* out) {
  constexpr int kWide = integer_panels_for(kRows);
  int p = 0;
  for (; p + kWide <= panels; p += kWide) {
    integer_tile<kBits, kRows, kWide>(in, out + p * kPanelWidth);
    in.w += kWide * in.panel_bytes;
  }
  if constexpr (kWide > 1) {
    for (; p < panels; ++p) {
      integer_tile<kBits, kRows, 1>(in, out + p * kPanelWidth);
      in.w += in.panel_bytes;
    }
  }
}

template <int kBits, int kRows = kIntegerRows>
HWY_NOINLINE void integer_chains(const IntegerInput& in, int rows, int panels, float* out) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return integer_chains<kBits, kRows - 1>(in, rows, panels, out);
  }
  integer_rows<kBits, kRows>(in, panels, out);
}

struct IntegerShape {
  std::int64_t bits = 0;
  int rows = 0;
  int panels = 0;
};

HWY_INLINE void integer_chains(const IntegerInput& in, const IntegerShape& shape, float* out) {
  if (shape.bits == 8) return integer_chains<8>(in, shape.rows, shape.panels, out);
  return integer_chains<4>(in, shape.rows, shape.panels, out);
}

// The value of `node` (leaves of in.groups groups, counted from in's first) into `tile`; the tiles
// behind it are scratch, one for each level below.
void sum_integer_node(const IntegerInput& in, Range node, const IntegerShape& shape, float* tile) {
  if (node.size() == 1) {
    return integer_chains(from_group(in, node.begin * in.groups), shape, tile);
  }
  const std::int64_t middle = tree_split(node);
  sum_integer_node(in, {node.begin, middle}, shape, tile);
  if (in.groups == 1 && node.end - middle == 1) {
    IntegerInput leaf = from_group(in, middle);
    leaf.joins = true;
    return integer_chains(leaf, shape, tile);
  }
  sum_integer_node(in, {middle, node.end}, shape, tile + kIntegerTile);
  add_tile(shape.rows, shape.panels * static_cast<int>(kPanelWidth), kIntegerWidth,
           tile + kIntegerTile, tile);
}

HWY_INLINE const std::byte* weights_at(const MatrixPart& part, std::int64_t panel) {
  const IntegerFormat& format = part.w->integers;
  const std::int64_t blocks = panel * (part.w->k / format.group) + part.k.begin / format.group;
  return part.w->bytes.data() + blocks * group_bytes(format, kPanelWidth);
}

// The wanted outputs that lie in some panels.
HWY_INLINE Range columns_of(Range n, Range panels) {
  return {std::max(n.begin, panels.begin * kPanelWidth), std::min(n.end, panels.end * kPanelWidth)};
}

// body(panels, rows, input): every register tile, panel group by panel group.
template <class Body>
HWY_INLINE void for_integer_tiles(const MatrixPart& part, const IntegerRows& x,
                                  const GemmBlock& block, const Body& body) {
  CHECK(part.k.begin % part.w->integers.group == 0, "a product over a part of a group");
  IntegerInput in;
  in.x_ld = x.groups * x.padded;
  in.scale_ld = x.groups;
  in.block_bytes = group_bytes(part.w->integers, kPanelWidth);
  in.panel_bytes = part.w->k / part.w->integers.group * in.block_bytes;
  in.padded = x.padded;
  in.groups = x.groups;
  const std::int64_t tiles = (block.rows.size() + kIntegerRows - 1) / kIntegerRows;
  for (std::int64_t p = block.panels.begin; p < block.panels.end; p += kGroupPanels) {
    const Range panels{p, std::min<std::int64_t>(p + kGroupPanels, block.panels.end)};
    in.w = weights_at(part, p);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const Range rows = split(block.rows, tiles, t);
      const std::int64_t row = rows.begin - x.rows.begin;
      in.x = x.q + row * in.x_ld;
      in.scale = x.scale + row * in.scale_ld;
      in.start = x.start + row * in.scale_ld;
      body(panels, rows, in);
    }
  }
}

IntegerShape shape_of(const WeightMatrix& w, Range panels, Range rows) {
  return {w.integers.bits, static_cast<int>(rows.size()), static_cast<int>(panels.size())};
}

void integer_gemm_block(const GemmArgs& a, const IntegerRows& x, const GemmBlock& block) {
  HWY_ALIGN float tile[kIntegerTile];
  for_integer_tiles({a.w, a.n, a.k}, x, block,
                    [&](Range panels, Range rows, IntegerInput in) HWY_ATTR {
                      integer_chains(in, shape_of(*a.w, panels, rows), tile);
                      const Range columns = columns_of(a.n, panels);
                      const std::int64_t skip = columns.begin - panels.begin * kPanelWidth;
                      const std::int64_t to = columns.begin - a.n.begin;
                      for (std::int64_t r = rows.begin; r < rows.end; ++r) {
                        store_row(tile + (r - rows.begin) * kIntegerWidth + skip, columns.size(),
                                  a.bias == nullptr ? nullptr : a.bias + to, a.y.row(r) + to);
                      }
                    });
}

// hidden = act(gate) * up, or act(up), a tile at a time while both are near.
void integer_hidden_block(const ExpertRows& e, ExpertActivation activation, const IntegerRows& x,
                          const GemmBlock& block) {
  HWY_ALIGN float gate[kIntegerTile];
  HWY_ALIGN float up[kIntegerTile];
  const bool silu = activation == ExpertActivation::Silu;
  const std::int64_t width = e.up.n.size();
  for_integer_tiles(e.up, x, block, [&](Range panels, Range rows, IntegerInput in) HWY_ATTR {
    const IntegerShape shape = shape_of(*e.up.w, panels, rows);
    integer_chains(in, shape, up);
    if (e.gated()) {
      in.w = weights_at(e.gate, panels.begin);
      integer_chains(in, shape, gate);
    }
    const Range columns = columns_of(e.up.n, panels);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      const std::int64_t at =
          (r - rows.begin) * kIntegerWidth + columns.begin - panels.begin * kPanelWidth;
      activate_row(silu, e.gated() ? gate + at : nullptr, up + at, columns.size(),
                   e.hidden + r * width + (columns.begin - e.up.n.begin));
    }
  });
}

// Leaves of the inputs of `part`, summed to subtrees. y(node, row): where a row's outputs go.
template <class Output>
HWY_INLINE void sum_integer_leaves(const MatrixPart& part, std::int64_t leaf_width,
                                   std::span<const Range> nodes, const IntegerRows& x,
                                   const GemmBlock& block, const Output& y) {
  std::int64_t widest = 1;
  for (const Range& node : nodes) widest = std::max(widest, node.size());
  const int levels = std::bit_width(static_cast<std::uint64_t>(widest)) + 1;
  std::vector<float> tiles(static_cast<std::size_t>(levels) * kIntegerTile);
  for_integer_tiles(part, x, block, [&](Range panels, Range rows, IntegerInput in) HWY_ATTR {
    in.groups = leaf_width / part.w->integers.group;
    const IntegerShape shape = shape_of(*part.w, panels, rows);
    const Range columns = columns_of(part.n, panels);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::int64_t first_leaf = nodes.front().begin;
      sum_integer_node(in, {nodes[i].begin - first_leaf, nodes[i].end - first_leaf}, shape,
                       tiles.data());
      for (std::int64_t r = rows.begin; r < rows.end; ++r) {
        std::copy_n(tiles.data() + (r - rows.begin) * kIntegerWidth, columns.size(),
                    y(static_cast<std::int64_t>(i), r) + columns.begin);
      }
    }
  });
}

void integer_leaf_gemm_block(const LeafGemmArgs& a, const IntegerRows& x, const GemmBlock& block) {
  const std::int64_t n = a.w->n;
  sum_integer_leaves(
      {a.w, {0, n}, a.k}, a.leaf_width, a.nodes, x, block,
      [&](std::int64_t node, std::int64_t r) { return a.y + (node * a.rows + r) * n; });
}

void integer_down_block(const ExpertRows& e, std::int64_t leaf_width, const IntegerRows& hidden,
                        const GemmBlock& block) {
  const std::int64_t n = e.down.w->n;
  sum_integer_leaves({e.down.w, {0, n}, e.down.k}, leaf_width, e.nodes, hidden, block,
                     [&](std::int64_t node, std::int64_t r) {
                       return e.y[static_cast<std::size_t>(r)] + node * n;
                     });
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(integer_gemm_block);
HWY_EXPORT(integer_leaf_gemm_block);
HWY_EXPORT(integer_hidden_block);
HWY_EXPORT(integer_down_block);

void integer_gemm(const GemmArgs& args, const IntegerRows& x, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(integer_gemm_block)(args, x, block);
}

void integer_leaf_gemm(const LeafGemmArgs& args, const IntegerRows& x, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(integer_leaf_gemm_block)(args, x, block);
}

void integer_hidden(const ExpertRows& expert, ExpertActivation activation, const IntegerRows& x,
                    const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(integer_hidden_block)(expert, activation, x, block);
}

void integer_down(const ExpertRows& expert, std::int64_t leaf_width, const IntegerRows& hidden,
                  const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(integer_down_block)(expert, leaf_width, hidden, block);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
