// Device: arithmetic on tensors, one of the two virtual interfaces of the system.
//
// Every method states the exact order of its roundings ("canonical order"), so all devices of one
// instruction set give the same bits, and no result depends on how many rows share a call, on tile
// shapes or on threads (docs/numerics.md). reference/ is the plain version; cpu/ must equal it bit
// for bit (both fuse multiply-add). Activations are fp32, row-major, with a leading dimension (ld,
// in elements). The caller owns all memory. A device has a team (base/team.h) to share its work
// with, or none: then it is thread-safe. With one it belongs to the team's thread. Held by
// kernels/{gemm,gemm_integer,attention,elementwise}_test.cc: cpu equals reference, reference within
// a derived bound of a double-precision oracle, any subset of rows gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/dtype.h"
#include "base/kv_type.h"
#include "base/reduction_tree.h"
#include "base/split.h"
#include "base/team.h"
#include "kernels/weight_matrix.h"

namespace pentafold {

// Tokens of one KV block; attention folds keys in blocks at absolute positions of this size.
constexpr std::int64_t kKvBlockTokens = 16;

struct ConstRows {  // (rows, cols)
  const float* data = nullptr;
  std::int64_t ld = 0;
  const float* row(std::int64_t r) const { return data + r * ld; }
};
struct Rows {  // (rows, cols)
  float* data = nullptr;
  std::int64_t ld = 0;
  float* row(std::int64_t r) const { return data + r * ld; }
  operator ConstRows() const { return {data, ld}; }  // NOLINT: a view of what may be written
};

struct GemmArgs {
  std::int64_t rows = 0;
  ConstRows x;                      // (rows, k.size())
  const WeightMatrix* w = nullptr;  // (n, k)
  Range n;                          // outputs wanted: rows of w
  Range k;                          // inputs used: columns of w
  const float* bias = nullptr;      // (n.size()) or null
  Rows y;                           // (rows, n.size())
};

struct LeafGemmArgs {
  std::int64_t rows = 0;
  ConstRows x;                      // (rows, k.size())
  const WeightMatrix* w = nullptr;  // (n, k)
  Range k;                          // columns of w: leaves [nodes.front().begin, nodes.back().end)
  std::int64_t leaf_width = 0;      // columns in one leaf
  std::span<const Range> nodes;  // subtrees to sum, contiguous, in leaves (base/reduction_tree.h)
  float* y = nullptr;            // (nodes.size(), rows, w->n), contiguous
};

// Outputs n and inputs k of a stored matrix.
struct MatrixPart {
  const WeightMatrix* w = nullptr;
  Range n;
  Range k;
};

// One expert's shard, and the rows that go through it.
struct ExpertRows {
  std::span<const float* const> x;  // (rows): each (up.k.size())
  std::span<float* const> y;        // (rows): each (nodes.size(), down.w->n), the subtree sums
  MatrixPart gate;                  // w null: an expert of two matrices
  MatrixPart up;
  MatrixPart down;               // k: the leaves of `nodes`
  std::span<const Range> nodes;  // as in LeafGemmArgs
  float* hidden = nullptr;       // scratch: (rows, up.n.size())

  bool gated() const { return gate.w != nullptr; }
};

enum class ExpertActivation { Silu, Relu };

struct ExpertMlpArgs {
  std::span<const ExpertRows> experts;
  std::int64_t leaf_width = 0;
  ExpertActivation activation = ExpertActivation::Silu;
};

// Sums of trees, each over the subtree sums that `nodes` points to.
struct TreeSumArgs {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t terms = 1;  // trees that a row sums
  std::int64_t nodes_per_term = 1;
  std::span<const float* const>
      nodes;                       // (rows, terms, nodes_per_term): each (width); null: no term
  std::span<const TreeAdd> adds;   // among the nodes of a term; the sum ends in the first
  const float* weights = nullptr;  // (rows, terms), or null with one term
  const float* bias = nullptr;     // (width) or null; without weights
  Rows y;                          // (rows, width)
};

// One layer's KV pool of one rank: K (blocks, kv_heads, head_dim, 16), V (blocks, kv_heads, 16,
// head_dim); with KvType::I8 each (block, kv_head) is followed by its 16 scales, f32.
struct KvLayer {
  std::byte* k = nullptr;
  std::byte* v = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  KvType type = KvType::F32;
};

struct KvAppendArgs {
  std::int64_t rows = 0;
  ConstRows k;                                        // (rows, kv_heads * head_dim)
  ConstRows v;                                        // (rows, kv_heads * head_dim)
  std::span<const std::int64_t> positions;            // (rows)
  std::span<const std::int32_t* const> block_tables;  // (rows): block ids of the row's request
  KvLayer cache;
};

struct AttentionArgs {
  std::int64_t rows = 0;
  std::int64_t q_heads = 0;
  std::span<const std::int32_t> kv_of_q;    // (q_heads): which local KV head each query head reads
  ConstRows q;                              // (rows, q_heads * head_dim)
  Rows out;                                 // (rows, q_heads * head_dim)
  std::span<const std::int64_t> positions;  // (rows)
  std::span<const std::int32_t* const> block_tables;  // (rows)
  KvLayer cache;            // holds keys 0..position of every row, the row's own included
  std::int64_t window = 0;  // keys seen, own included; 0: all
  float scale = 1.0F;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const char* name() const = 0;

  // Row-major (n, k) bytes of `dtype` -> this device's layout.
  virtual WeightMatrix pack(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                            DType dtype) const = 0;
  // The same in pieces: a matrix of this device's layout with nothing in it, and some of its rows,
  // from a multiple of kPanelWidth to another or to n. Pieces may be packed at the same time.
  virtual WeightMatrix room_for(std::int64_t n, std::int64_t k, DType dtype) const = 0;
  virtual void pack_rows(std::span<const std::byte> row_major, Range rows,
                         WeightMatrix& into) const = 0;

  // Likewise, the values rounded to integers with scales (base/quantise.h). format.group divides k.
  virtual WeightMatrix pack_integers(std::span<const std::byte> row_major, std::int64_t n,
                                     std::int64_t k, DType dtype,
                                     const IntegerFormat& format) const = 0;

  // y[r, j] = chain over i ascending of fma(x[r, i], w[n.begin + j, k.begin + i], acc), acc from
  // +0; then acc + bias[j] if bias.
  // With w in integers a chain runs over its groups instead: the group's part of x is quantised
  // with kActivationLimit to integers xq and a scale sx, and acc = fma(float(sum of xq * wq), sx *
  // sw, acc), from +0, groups ascending. k is whole groups of w.
  virtual void gemm(const GemmArgs& args) const = 0;

  // For each node: every leaf is a gemm chain over its leaf_width columns (whole groups, of w in
  // integers); leaves are added in tree order (tree_split): value(node) = value(left) +
  // value(right).
  virtual void leaf_gemm(const LeafGemmArgs& args) const = 0;

  // For each expert: hidden = act(gate) * up or act(up), gate and up by gemm, act canonical_silu or
  // max(x, 0); then leaf_gemm of hidden into y.
  virtual void expert_mlp(const ExpertMlpArgs& args) const = 0;

  // With weights: y = +0, then for each term that is there, in order, y = fma(weight, tree, y).
  // Without: y = tree, then + bias.
  virtual void sum_trees(const TreeSumArgs& args) const = 0;

  // sum[r] of squares of `width` values: lane l of 16 chains fma(x, x, acc) over elements l, l +
  // 16,
  // ...; then lanes meet pairwise: s[l] += s[l + 8], then 4, 2, 1.
  virtual void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x,
                           float* sum) const = 0;

  // y = (x * (1 / sqrt(sum / denominator + eps))) * weight, per element; sum is per row. x may be
  // y.
  virtual void normalise(std::int64_t rows, std::int64_t width, ConstRows x, const float* sum,
                         float denominator, float eps, const float* weight, Rows y) const = 0;

  // Rotates pairs (i, i + head_dim / 2) of each head, in place: a' = fma(a, cos, -(b * sin)),
  // b' = fma(b, cos, a * sin). table: (max_position, 2, head_dim / 2): cos row, then sin row.
  virtual void rope(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
                    std::span<const std::int64_t> positions, const float* table, Rows x) const = 0;

  // Stores every number rounded to nearest even; I8: integers and scale of each row's key, and of
  // its value, in a head by quantise_group (base/quantise.h) with limit 127.
  virtual void kv_append(const KvAppendArgs& args) const = 0;

  // Online softmax over key blocks ascending from the first block the window touches. In a block:
  // score[j] = scale * (chain over head_dim of fma(q, k, acc)), I8: then times the key's scale;
  // m' = max(m, scores seen); c = canonical_exp(m - m') (first block: m = -inf, c = 0); l = l * c;
  // acc = acc * c; then for j ascending: p = canonical_exp(score[j] - m'), l = l + p, I8: p = p *
  // the value's scale, acc = fma(p, v[j], acc). k and v are the stored numbers (I8: integers),
  // widened. Keys outside the window or after the row's position take no part. out = acc / l.
  virtual void attention(const AttentionArgs& args) const = 0;

  // y = silu(gate) * up, silu by canonical_silu.
  virtual void silu_mul(std::int64_t rows, std::int64_t width, ConstRows gate, ConstRows up,
                        Rows y) const = 0;

  // y = y + x
  virtual void add(std::int64_t rows, std::int64_t width, ConstRows x, Rows y) const = 0;

  // y[r] = fma(scale[r], x[r], y[r])
  virtual void scaled_add(std::int64_t rows, std::int64_t width, const float* scale, ConstRows x,
                          Rows y) const = 0;
};

// "reference" or "cpu"; null for an unknown name. `team` outlives the device; reference uses none.
std::unique_ptr<Device> make_device(std::string_view name, Team* team = nullptr);

}  // namespace pentafold
