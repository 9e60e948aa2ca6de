// Mesh: two views of the same ranks, and the only place that knows both.
//
// A stage's ranks are numbered r = (d * tp + t) * sp + s for attention (dp x tp x sp) and
// r = (x * ep + g) * etp + i for experts (edp x ep x etp). Sequence parallelism is for prefill; in
// decode its ranks join tensor parallelism, so a phase is seen as a PhaseMesh: (dp, sp, tp) in
// prefill, (dp, 1, tp * sp) in decode. Because t is outer and s inner, a decode shard lies inside
// the rank's prefill shard: weights are held once and decode reads a part of them.
// Source: Megatron Core "MoE parallel folding" (arXiv 2504.14960); DeepSpeed-Ulysses (2309.14509).
// Cost: integer arithmetic. Held by plan/mesh_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/split.h"
#include "plan/plan.h"
#include "spec/model.h"
#include "spec/model_shape.h"

namespace pentafold {

enum class Phase { Prefill, Decode };
const char* to_string(Phase phase);

// A stage as one phase sees it. The tensor group: ranks that hold the same rows and share the work
// on them by heads, hidden units and vocabulary. The sequence group: same heads, other rows.
struct PhaseMesh {
  std::int64_t dp = 1;
  std::int64_t sp = 1;
  std::int64_t tp = 1;
};
PhaseMesh phase_mesh(const StagePlan& stage, Phase phase);

// Where a rank stands in its stage, in one phase.
struct PhaseCoord {
  std::int64_t d = 0;  // data-parallel group
  std::int64_t s = 0;  // which slice of the rows (0 in decode)
  std::int64_t t = 0;  // which slice of heads, hidden units, vocabulary
};
PhaseCoord phase_coord(const StagePlan& stage, Phase phase, std::int64_t index);
std::int64_t phase_index(const StagePlan& stage, Phase phase, PhaseCoord coord);

// The t-th shard of n things in this phase; decode shards nest in prefill shards.
Range tensor_shard(const StagePlan& stage, Phase phase, std::int64_t n, std::int64_t t);

// KV heads that query heads [q) read: whole groups, so shards overlap when tp * sp > kv_heads.
Range kv_heads_of(const ModelSpec& model, Range q);

struct RankPlace {
  std::int64_t replica = 0;
  StageId stage;
  std::int64_t index = 0;  // within the stage
};

// World numbering: replica-major, then stage, then index within the stage.
class Mesh {
 public:
  explicit Mesh(const Plan& plan);

  std::int64_t world() const { return world_; }
  RankPlace place(Rank rank) const;
  Rank rank_at(std::int64_t replica, StageId stage, std::int64_t index) const;
  Range layers(StageId stage) const;  // of the model, held by the stage
  std::int64_t stage_of_layer(std::int64_t layer) const;

 private:
  std::int64_t per_replica_ = 0;
  std::int64_t world_ = 0;
  std::vector<std::int64_t> first_rank_;   // of each stage, within a replica
  std::vector<std::int64_t> first_layer_;  // of each stage; one past the end at the back
};

// Who sends the hidden rows that rank `to` of the next stage needs: indices in the sending stage.
// A superset where dp or sp differ between the stages (a message may be empty).
std::vector<std::int64_t> pipeline_senders(const StagePlan& from, const StagePlan& to, Phase phase,
                                           std::int64_t to_index);

// Every reason why the plan's degrees do not fold onto this model; empty if they do. One sentence
// each: what, where, why, remedy; code InfeasiblePlan.
std::vector<Error> folding_failures(const Plan& plan, const ModelSpec& model);
// The same rules for any model: every kind of its layers has heads and widths to be divided.
std::vector<Error> folding_failures(const Plan& plan, const ModelShape& model);

}  // namespace pentafold
