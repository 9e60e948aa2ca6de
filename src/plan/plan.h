// Plan: the small set of decisions that everything else is unrolled from.
//
// Degrees are folded: a stage of r ranks is seen by attention as dp x sp x tp = r and by the
// experts as ep x etp (x edp repeats) = r (plan/mesh.h). plan/plan_file.h reads it from YAML; the
// format is docs/plan-format.md. A plan carries the place it was read from, so that every later
// complaint can name file and line. Cost: a plain value. Held by plan/plan_file_test.cc and
// plan/mesh_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/weight_formats.h"
#include "spec/model_shape.h"

namespace pentafold {

enum class PlacementStyle {
  Blocked,   // expert e lives in expert-parallel group e / (E / ep), in every layer
  Spread,    // (layer, expert) pairs dealt round over the ep groups of their stage
  Explicit,  // table in the plan, with replicas and backups
};
enum class OverflowPolicy { Drop, NextBest };

// One home of one expert: ranks[i] holds shard i of etp, as indices within the stage.
struct ExpertCopy {
  std::vector<std::int32_t> ranks;
  bool backup = false;  // holds the weights, receives tokens only after a failover
  friend bool operator==(const ExpertCopy&, const ExpertCopy&) = default;
};

// Placement entry of the explicit style: experts [experts) of layers [layers) live in `copies`.
struct ExplicitPlacement {
  std::int64_t layer = -1;  // -1: all layers of the stage
  std::int64_t expert = 0;
  std::vector<ExpertCopy> copies;
  int line = 0;
};

struct StagePlan {
  std::int64_t layers = 0;
  std::int64_t dp = 1;
  std::int64_t sp = 1;
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  std::int64_t etp = 1;
  PlacementStyle placement = PlacementStyle::Blocked;
  std::vector<ExplicitPlacement> explicit_placement;
  int line = 0;

  std::int64_t ranks() const { return dp * sp * tp; }
  std::int64_t edp() const { return ranks() / (ep * etp); }
};

// What `run` does when no prompt is given: seeded prompts of random token ids.
struct SyntheticRequests {
  std::int64_t requests = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t max_tokens = 0;
  std::uint64_t seed = 0;
};

struct Plan {
  std::string file;  // where it was read; empty for --plan
  // Path of the model, resolved against the plan's folder, or a name of the catalog; may be empty.
  std::string model;
  std::int64_t replicas = 1;
  std::vector<StagePlan> stages;
  std::int64_t microbatches = 1;
  std::int64_t prefill_chunk = 512;  // most prompt tokens of one request in one step
  std::int64_t max_batch = 64;       // most requests in one step, per replica
  std::int64_t kv_blocks = 0;      // blocks of 16 tokens per dp group; 0: as many as the run needs
  WeightFormats weights;           // nothing given: as stored
  std::optional<NumberFormat> kv;  // that a run's cache is held in; nothing given: f32
  std::optional<double> capacity_factor;  // nothing given: dropless
  OverflowPolicy overflow = OverflowPolicy::Drop;
  std::int64_t device_memory_bytes = 0;  // 0: not checked
  SyntheticRequests requests;

  // Of a plan for another machine (pentafold plan writes them): what its weights and cache are held
  // in there, the device it was made for, and the file of the workers that compute its prompts.
  std::optional<Precision> precision;
  std::string device;
  std::string prefill_pool;

  std::int64_t ranks_per_replica() const;
  std::int64_t world() const { return replicas * ranks_per_replica(); }
};

// The plan of one rank that runs all layers itself: what every other plan must equal.
Plan one_rank_plan(const Plan& plan, std::int64_t layers);

// "pp4 dp16 sp2 tp2 ep64 etp1 x4"
std::string describe(const Plan& plan);

}  // namespace pentafold
