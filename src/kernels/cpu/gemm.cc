#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "base/check.h"
#include "base/function_ref.h"
#include "base/reduction_tree.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// A register tile is up to 6 rows by some panels; more accumulators than registers would spill.
#if HWY_NATIVE_FMA
constexpr int kMaxRows = 6;
constexpr int kAccumulators = HWY_TARGET == HWY_AVX2 ? 12 : 24;  // of 16 or 32 registers
#else
constexpr int kMaxRows = 1;
constexpr int kAccumulators = kVectors;
#endif
constexpr int kGroupWidth = static_cast<int>(kGroupPanels * kPanelWidth);

constexpr int panels_for(int rows) {
  int panels = static_cast<int>(kGroupPanels);
  while (panels > 1 && rows * panels * kVectors > kAccumulators) panels /= 2;
  return panels;
}

// `count` steps of the chains of some rows and panels.
struct TileInput {
  const float* const* x = nullptr;  // rows
  std::int64_t first = 0;           // input of each row
  const std::byte* w = nullptr;     // first panel, first input
  std::int64_t step_bytes = 0;      // from one input to the next
  std::int64_t count = 0;
  bool onto = false;  // out = out + chains: a right child joins its left
};

// out[r][16 p + l]: fresh chains for kRows rows and kPanels panels; row stride kGroupWidth.
template <DType kType, int kRows, int kPanels>
HWY_INLINE void chain_tile(const TileInput& in, float* HWY_RESTRICT out) {
  constexpr int kColumns = kPanels * kVectors;
  constexpr std::int64_t kVectorBytes = kLanes * static_cast<std::int64_t>(size_of(kType));
  const Lanes16 d;
  hn::Vec<Lanes16> acc[kRows][kColumns];
  PF_UNROLL
  for (int r = 0; r < kRows; ++r) {
    PF_UNROLL
    for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::Zero(d);
  }
  const float* x[kRows];
  for (int r = 0; r < kRows; ++r) x[r] = in.x[r] + in.first;
  for (std::int64_t i = 0; i < in.count; ++i) {
    hn::Vec<Lanes16> w[kColumns];
    PF_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      w[c] = load_widened<kType>(d, in.w + i * in.step_bytes + c * kVectorBytes);
    }
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto value = hn::Set(d, x[r][i]);
      PF_UNROLL
      for (int c = 0; c < kColumns; ++c) acc[r][c] = fused(d, value, w[c], acc[r][c]);
    }
  }
  PF_UNROLL
  for (int r = 0; r < kRows; ++r) {
    PF_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      float* to = out + r * kGroupWidth + c * kLanes;
      hn::StoreU(in.onto ? hn::Add(hn::LoadU(d, to), acc[r][c]) : acc[r][c], d, to);
    }
  }
}

// All `panels` (1..4) panels of a group for kRows rows.
template <DType kType, int kRows>
HWY_INLINE void chain_rows(TileInput in, int panels, float* out) {
  constexpr int kWide = panels_for(kRows);
  constexpr std::int64_t kPanelBytes = kPanelWidth * static_cast<std::int64_t>(size_of(kType));
  int p = 0;
  for (; p + kWide <= panels; p += kWide) {
    chain_tile<kType, kRows, kWide>(in, out + p * kPanelWidth);
    in.w += kWide * kPanelBytes;
  }
  if constexpr (kWide > 1) {
    for (; p < panels; ++p) {
      chain_tile<kType, kRows, 1>(in, out + p * kPanelWidth);
      in.w += kPanelBytes;
    }
  }
}

template <DType kType>
HWY_NOINLINE void chain_group_of(const TileInput& in, int rows, int panels, float* out) {
  if constexpr (kMaxRows == 1) {
    chain_rows<kType, 1>(in, panels, out);
  } else {
    switch (rows) {
      case 1:
        return chain_rows<kType, 1>(in, panels, out);
      case 2:
        return chain_rows<kType, 2>(in, panels, out);
      case 3:
        return chain_rows<kType, 3>(in, panels, out);
      case 4:
        return chain_rows<kType, 4>(in, panels, out);
      case 5:
        return chain_rows<kType, 5>(in, panels, out);
      default:
        return chain_rows<kType, 6>(in, panels, out);
    }
  }
}

HWY_INLINE void chain_group(DType type, const TileInput& in, int rows, int panels, float* out) {
  switch (type) {
    case DType::F32:
      return chain_group_of<DType::F32>(in, rows, panels, out);
    case DType::BF16:
      return chain_group_of<DType::BF16>(in, rows, panels, out);
    case DType::F16:
      return chain_group_of<DType::F16>(in, rows, panels, out);
  }
}

// Where the weights of (panel, column k) start, and those of the next column.
HWY_INLINE TileInput at_weights(const WeightMatrix& w, std::int64_t panel, std::int64_t k) {
  const Range group = group_of(panel, w.n);
  const std::int64_t bytes = kPanelWidth * static_cast<std::int64_t>(size_of(w.dtype));
  TileInput in;
  in.step_bytes = group.size() * bytes;
  in.w = w.bytes.data() + group.begin * w.k * bytes + k * in.step_bytes +
         (panel - group.begin) * bytes;
  return in;
}

// body(panels, rows): every register tile's rows, panel group by panel group.
template <class Body>
HWY_INLINE void for_tiles(const GemmBlock& block, const Body& body) {
  const std::int64_t tiles = (block.rows.size() + kMaxRows - 1) / kMaxRows;
  Range group{block.panels.begin, block.panels.begin};
  while (group.end < block.panels.end) {
    group = in_one_group({group.end, block.panels.end});
    for (std::int64_t t = 0; t < tiles; ++t) {
      const Range rows = split(block.rows.size(), tiles, t);
      body(group, Range{block.rows.begin + rows.begin, block.rows.begin + rows.end});
    }
  }
}

// The rows of one register tile.
struct RowPointers {
  const float* x[kMaxRows];
  RowPointers(Range rows, FunctionRef<const float*(std::int64_t)> row) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r) x[r - rows.begin] = row(r);
  }
};

constexpr int kTileFloats = kMaxRows * kGroupWidth;

// Outputs `columns` (at most kGroupWidth) of rows x over inputs k, from the start of `tile`.
HWY_INLINE void product_tile(const MatrixPart& part, Range columns, std::span<const float* const> x,
                             float* HWY_RESTRICT tile) {
  const Range panels{columns.begin / kPanelWidth, (columns.end + kPanelWidth - 1) / kPanelWidth};
  const auto rows = static_cast<int>(x.size());
  HWY_ALIGN float own[kTileFloats];
  Range group{panels.begin, panels.begin};
  while (group.end < panels.end) {
    group = in_one_group({group.end, panels.end});
    TileInput in = at_weights(*part.w, group.begin, part.k.begin);
    in.x = x.data();
    in.count = part.k.size();
    const std::int64_t at = group.begin * kPanelWidth - columns.begin;  // in the tile
    const std::int64_t width = group.size() * kPanelWidth;
    const auto count = static_cast<int>(group.size());
    if (at >= 0 && at + width <= kGroupWidth) {
      chain_group(part.w->dtype, in, rows, count, tile + at);
      continue;
    }
    // A shard that starts inside a panel.
    chain_group(part.w->dtype, in, rows, count, own);
    const std::int64_t from = std::max<std::int64_t>(0, -at);
    const std::int64_t end = std::min(width, columns.size() - at);
    for (int r = 0; r < rows; ++r) {
      std::copy_n(own + r * kGroupWidth + from, end - from, tile + r * kGroupWidth + at + from);
    }
  }
}

// body(columns, rows): every register tile of a block; columns count from the part's first output.
template <class Body>
HWY_INLINE void for_product_tiles(const MatrixPart& part, const GemmBlock& block,
                                  const Body& body) {
  for_tiles(block, [&](Range group, Range rows) HWY_ATTR {
    body({std::max(part.n.begin, group.begin * kPanelWidth) - part.n.begin,
          std::min(part.n.end, group.end * kPanelWidth) - part.n.begin},
         rows);
  });
}

HWY_INLINE Range shifted(Range columns, std::int64_t by) {
  return {columns.begin + by, columns.end + by};
}

void gemm_panels(const GemmArgs& a, const GemmBlock& block) {
  HWY_ALIGN float tile[kTileFloats];
  const MatrixPart part{a.w, a.n, a.k};
  for_product_tiles(part, block, [&](Range columns, Range rows) HWY_ATTR {
    const RowPointers in(rows, [&](std::int64_t r) { return a.x.row(r); });
    product_tile(part, shifted(columns, part.n.begin),
                 {in.x, static_cast<std::size_t>(rows.size())}, tile);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      store_row(tile + (r - rows.begin) * kGroupWidth, columns.size(),
                a.bias == nullptr ? nullptr : a.bias + columns.begin, a.y.row(r) + columns.begin);
    }
  });
}

// hidden = act(gate) * up, or act(up), a tile at a time while both are near.
void expert_hidden_panels(const ExpertRows& e, ExpertActivation activation,
                          const GemmBlock& block) {
  HWY_ALIGN float gate[kTileFloats];
  HWY_ALIGN float up[kTileFloats];
  const std::int64_t width = e.up.n.size();
  const bool silu = activation == ExpertActivation::Silu;
  for_product_tiles(e.up, block, [&](Range columns, Range rows) HWY_ATTR {
    const std::span<const float* const> x =
        e.x.subspan(static_cast<std::size_t>(rows.begin), static_cast<std::size_t>(rows.size()));
    product_tile(e.up, shifted(columns, e.up.n.begin), x, up);
    if (e.gated()) product_tile(e.gate, shifted(columns, e.gate.n.begin), x, gate);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      const std::int64_t at = (r - rows.begin) * kGroupWidth;
      activate_row(silu, e.gated() ? gate + at : nullptr, up + at, columns.size(),
                   e.hidden + r * width + columns.begin);
    }
  });
}

struct TileShape {
  int rows = 0;
  int panels = 0;
};

// Leaves of inputs k, summed to subtrees.
struct LeafProduct {
  const WeightMatrix* w = nullptr;
  Range k;
  std::int64_t leaf_width = 0;
  std::span<const Range> nodes;
};

// The value of `node` (leaves counted from in's first input) into `tile`; the tiles behind it are
// scratch, one for each level below.
void sum_node(DType type, const TileInput& in, Range node, TileShape shape, float* tile) {
  if (node.size() == 1) {
    TileInput leaf = in;
    leaf.first += node.begin * in.count;
    leaf.w += node.begin * in.count * in.step_bytes;
    chain_group(type, leaf, shape.rows, shape.panels, tile);
    return;
  }
  const std::int64_t middle = tree_split(node);
  sum_node(type, in, {node.begin, middle}, shape, tile);
  if (node.end - middle == 1) {
    TileInput right = in;
    right.onto = true;
    return sum_node(type, right, {middle, node.end}, shape, tile);
  }
  sum_node(type, in, {middle, node.end}, shape, tile + kTileFloats);
  add_tile(shape.rows, shape.panels * static_cast<int>(kPanelWidth), kGroupWidth,
           tile + kTileFloats, tile);
}

// y(node, row): where the outputs of a row's subtree go.
template <class Row, class Output>
HWY_INLINE void sum_leaves(const LeafProduct& a, const GemmBlock& block, const Row& row,
                           const Output& y) {
  const std::int64_t n = a.w->n;
  const std::int64_t first_leaf = a.nodes.front().begin;
  std::int64_t widest = 1;
  for (const Range& node : a.nodes) widest = std::max(widest, node.size());
  const int levels = std::bit_width(static_cast<std::uint64_t>(widest)) + 1;
  std::vector<float> tiles(static_cast<std::size_t>(levels) * kTileFloats);
  for_tiles(block, [&](Range group, Range rows) {
    const RowPointers pointers(rows, row);
    TileInput in = at_weights(*a.w, group.begin, a.k.begin);
    in.x = pointers.x;
    in.count = a.leaf_width;
    const TileShape shape{static_cast<int>(rows.size()), static_cast<int>(group.size())};
    const std::int64_t first = group.begin * kPanelWidth;
    const std::int64_t last = std::min(n, group.end * kPanelWidth);
    for (std::size_t i = 0; i < a.nodes.size(); ++i) {
      const Range node{a.nodes[i].begin - first_leaf, a.nodes[i].end - first_leaf};
      sum_node(a.w->dtype, in, node, shape, tiles.data());
      for (int r = 0; r < shape.rows; ++r) {
        std::copy_n(tiles.data() + r * kGroupWidth, last - first,
                    y(static_cast<std::int64_t>(i), rows.begin + r) + first);
      }
    }
  });
}

void leaf_gemm_panels(const LeafGemmArgs& a, const GemmBlock& block) {
  sum_leaves(
      {a.w, a.k, a.leaf_width, a.nodes}, block, [&](std::int64_t r) { return a.x.row(r); },
      [&](std::int64_t node, std::int64_t r) { return a.y + (node * a.rows + r) * a.w->n; });
}

void expert_down_panels(const ExpertRows& e, std::int64_t leaf_width, const GemmBlock& block) {
  const std::int64_t width = e.up.n.size();
  sum_leaves(
      {e.down.w, e.down.k, leaf_width, e.nodes}, block,
      [&](std::int64_t r) { return e.hidden + r * width; },
      [&](std::int64_t node, std::int64_t r) {
        return e.y[static_cast<std::size_t>(r)] + node * e.down.w->n;
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(gemm_panels);
HWY_EXPORT(leaf_gemm_panels);
HWY_EXPORT(expert_hidden_panels);
HWY_EXPORT(expert_down_panels);

void gemm(const GemmArgs& args, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(gemm_panels)(args, block);
}

void leaf_gemm(const LeafGemmArgs& args, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(leaf_gemm_panels)(args, block);
}

void expert_hidden(const ExpertRows& expert, ExpertActivation activation, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(expert_hidden_panels)(expert, activation, block);
}

void expert_down(const ExpertRows& expert, std::int64_t leaf_width, const GemmBlock& block) {
  HWY_DYNAMIC_DISPATCH(expert_down_panels)(expert, leaf_width, block);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
