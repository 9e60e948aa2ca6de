// Program: what one rank does for one microbatch, as a flat list of steps.
//
// This is the one idea of Pentafold: a plan is lowered (plan/lower.h) to one Program per rank and
// phase, and three interpreters read it: verify (can it work), execute (do it), predict (how long).
// Step is a std::variant that each interpreter visits without a catch-all, so a step that one of
// them forgets does not compile.
//
// Steps name registers (buffers of rows) and row sets. How many rows a set has depends on the
// batch; widths, weight slices, groups and peers are known here. Collectives of one group appear in
// the same order on all its members: that is what verify/matching checks.
// Cost: about 20 steps a layer. Held by plan/lower_test.cc and verify/verify_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/split.h"
#include "plan/mesh.h"
#include "plan/placement.h"
#include "spec/tensors.h"

namespace pentafold {

// Which rows of the microbatch a register holds.
enum class RowSet {
  Local,  // the rows this rank carries between layers: its dp group's, cut by sp in prefill
  Group,  // all rows of its dp group
  Slice,  // its share of Local within the tensor group: what it dispatches to experts
};

enum class Register {
  Hidden,  // Local: the residual stream (rows, d)
  Normed,  // Local (rows, d)
  Q,
  K,
  V,  // Local: this rank's heads of the projections
  SeqQ,
  SeqK,
  SeqV,     // Group: after sequence -> heads: fewer heads, all rows
  SeqAttn,  // Group: attention output before heads -> sequence
  Attn,     // Local: attention output, this rank's heads
  Gate,
  Up,            // Local: this rank's hidden units of a dense or shared MLP
  Partial,       // Local: subtree sums of a sharded contraction (nodes, rows, width)
  Reduced,       // Local (rows, d)
  RouterLogits,  // Slice (rows, experts)
  Routed,        // Slice (rows, d): the experts' weighted sum
  MoeOut,        // Local (rows, d)
  kCount,
};
const char* to_string(Register reg);
const char* to_string(RowSet rows);
RowSet row_set(Register reg);

enum class GroupKind {
  Tensor,    // same rows, other shards
  Sequence,  // same heads, other rows (prefill with sp > 1)
  Stage,     // all ranks of the stage: experts are reached through it
};
const char* to_string(GroupKind kind);

// A rectangle of a stored parameter, (rows, cols) = (outputs, inputs).
struct WeightSlice {
  TensorId id;
  Range rows;
  Range cols;
  std::int64_t count() const { return rows.size() * cols.size(); }
};

namespace step {

// Hidden[r] = table[token[r]]: the rank whose `vocab` holds the token sends the row to its group.
struct Embed {
  WeightSlice table;
};
// out = rms_norm(in) * weight
struct Norm {
  Register in{}, out{};
  WeightSlice weight;
};
// RMSNorm of each head of `reg`, in place.
struct HeadNorm {
  Register reg{};
  WeightSlice weight;  // (head_dim)
  std::int64_t heads = 0;
};
// RMSNorm over all heads of all shards, in place: the group exchanges each head's sum of squares.
struct WidthNorm {
  Register reg{};
  WeightSlice weight;  // this shard's part of (total_heads * head_dim)
  Range heads;         // this shard's heads
  std::int64_t total_heads = 0;
  std::vector<Range> group_heads;  // heads of every member, in member order
};
struct Clamp {
  Register reg{};
  std::int64_t width = 0;
  double limit = 0;
};
// out = in * w^T (+ bias): every output one chain over k.
struct Gemm {
  Register in{}, out{};
  WeightSlice w;
  TensorId bias;  // rows as w's
  bool has_bias = false;
};
// Partial = the maximal subtrees of this rank's leaves of in * w^T.
struct LeafGemm {
  Register in{};
  WeightSlice w;                // cols: this rank's leaves
  std::int64_t leaves = 0;      // of the whole contraction
  std::vector<Range> nodes;     // subtrees, in leaves
  std::int64_t leaf_width = 0;  // columns
};
// Reduced = the whole tree over the group's partials (+ bias, once, after the root).
struct AllReduce {
  GroupKind group = GroupKind::Tensor;
  std::int64_t leaves = 0;
  std::int64_t width = 0;
  std::vector<std::int32_t> member_nodes;  // how many subtrees each member brings
  TensorId bias;
  bool has_bias = false;
};
struct Rope {
  Register reg{};
  std::int64_t heads = 0;
};
// Trades rows for heads: Q, K, V of Local rows -> SeqQ, SeqK, SeqV of Group rows.
struct SeqToHeads {
  std::vector<Range> q_heads;   // of every sequence member, relative to this tensor shard's first
  std::vector<Range> kv_heads;  // likewise
  std::int64_t self = 0;
  std::int64_t q_held = 0;   // heads in Q
  std::int64_t kv_held = 0;  // heads in K, V
};
// The way back: SeqAttn of Group rows -> Attn of Local rows.
struct HeadsToSeq {
  std::vector<Range> q_heads;
  std::int64_t self = 0;
  std::int64_t q_held = 0;
};
// Appends k, v to the KV cache, then attends causally over it.
struct Attention {
  LayerId layer;
  Register q{}, k{}, v{}, out{};
  RowSet rows = RowSet::Local;
  Range q_heads;   // in the model
  Range kv_heads;  // in the model
  std::int64_t window = 0;
};
// Gate = act(Gate) * Up, or Up = act(Up) when there is no gate matrix.
struct Activate {
  std::int64_t width = 0;
  bool gated = true;
};
// Router logits -> the experts and weights of every Slice row.
struct Route {
  LayerId layer;
};
// With a capacity: the stage agrees, in (request, position) order, on who overflows.
struct Capacity {
  LayerId layer;
};
// Rows go to the ranks that hold their experts.
struct Dispatch {
  LayerId layer;
  std::int64_t width = 0;
};
struct LocalExpert {
  ExpertId expert;
  std::int64_t shard = 0;
  WeightSlice gate, up, down;  // gate empty for 2-matrix experts
  std::vector<Range> nodes;    // subtrees this shard sums
};
struct ExpertMlp {
  LayerId layer;
  std::int64_t leaves = 0;
  std::int64_t leaf_width = 0;
  std::vector<LocalExpert> experts;
};
// Complete expert outputs come home; the tree is finished, then weights in the gate's order:
// Routed.
struct Combine {
  LayerId layer;
  std::int64_t width = 0;
  std::int64_t leaves = 0;
  std::vector<std::int32_t> shard_nodes;  // subtrees each shard brings
  std::vector<Range> nodes;               // all of them, in tree order
};
// MoeOut (Local) = the tensor group's Routed slices, in order.
struct GatherSlices {
  std::int64_t width = 0;
};
// MoeOut += sigmoid(Normed . gate) * Reduced, or MoeOut += Reduced.
struct AddShared {
  WeightSlice gate;
  bool gated = false;
};
// Hidden += in
struct Residual {
  Register in{};
};
// Pipeline hand-over of Hidden rows; peers in world ranks, ascending.
struct Send {
  std::vector<Rank> to;
};
struct Recv {
  std::vector<Rank> from;
};
// Rows that need logits: Normed * head^T, gathered at the group's first member, which samples.
struct LmHead {
  WeightSlice w;
  std::vector<Range> group_vocab;  // of every member
};

}  // namespace step

using Step =
    std::variant<step::Embed, step::Norm, step::HeadNorm, step::WidthNorm, step::Clamp, step::Gemm,
                 step::LeafGemm, step::AllReduce, step::Rope, step::SeqToHeads, step::HeadsToSeq,
                 step::Attention, step::Activate, step::Route, step::Capacity, step::Dispatch,
                 step::ExpertMlp, step::Combine, step::GatherSlices, step::AddShared,
                 step::Residual, step::Send, step::Recv, step::LmHead>;

const char* step_name(const Step& step);

struct Program {
  Phase phase = Phase::Prefill;
  PhaseCoord coord;
  std::array<std::vector<Rank>, 3> groups;  // members by GroupKind, ascending shard order
  std::array<std::int64_t, 3> self{};       // this rank's place in each
  std::vector<Step> steps;

  const std::vector<Rank>& group(GroupKind kind) const {
    return groups[static_cast<std::size_t>(kind)];
  }
};

struct RankProgram {
  Rank rank;
  RankPlace place;
  Program prefill;
  Program decode;
  std::shared_ptr<const Placement> placement;  // of its stage

  const Program& of(Phase phase) const { return phase == Phase::Prefill ? prefill : decode; }
};

}  // namespace pentafold
