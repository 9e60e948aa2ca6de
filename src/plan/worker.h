// Worker: the decisions of one replica of a deployment, in the compact form that a search walks.
//
// A Plan (plan/plan.h) is what a person reads and the engine runs; a Worker is the same choice with
// equal stages, plus what only planning needs: precision, batch and redundant experts. plan_of
// makes the one from the other. Both see the same two meshes: attention dp x sp x tp, experts
// ep x etp repeated edp times.
// Cost: a plain value. Held by plan/worker_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "spec/model_shape.h"

namespace pentafold {

struct Worker {
  std::vector<std::int64_t> stage_layers;  // of each pipeline stage, in order
  std::int64_t dp = 1;
  std::int64_t sp = 1;
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  std::int64_t etp = 1;
  std::int64_t redundant = 0;     // expert copies beyond one each, per layer and expert group
  std::int64_t microbatches = 1;  // of a decode step
  std::int64_t chunk = 512;       // prompt tokens of one request in one prefill microbatch
  std::int64_t batch = 1;         // sequences in flight, per dp group
  Precision precision;

  std::int64_t pp() const { return static_cast<std::int64_t>(stage_layers.size()); }
  std::int64_t stage_ranks() const { return dp * sp * tp; }
  std::int64_t edp() const { return stage_ranks() / (ep * etp); }
  std::int64_t gpus() const { return pp() * stage_ranks(); }
  // Ranks that share a row's heads, hidden units and vocabulary in decode (sp joins tp).
  std::int64_t tensor_ranks() const { return sp * tp; }
  friend bool operator==(const Worker&, const Worker&) = default;
};

// "pp2 dp4 sp1 tp2 ep8 etp1 +8, batch 4 x 32, chunk 2048, fp8"
std::string describe(const Worker& worker);

// Why the degrees do not fold onto the model: the first reason, in the words of plan/mesh.h; none
// if they do. The legal tensor degrees are those of the engine's canonical reductions.
std::optional<std::string> folding_failure(const ModelShape& model, const Worker& worker);
bool tensor_degree_fits(const ModelShape& model, std::int64_t degree);
bool expert_degree_fits(const ModelShape& model, std::int64_t etp);

// The plan file's form; `replicas` workers side by side. `redundant` becomes an explicit placement
// whose copies are dealt round: copy c of slot s lives in expert group s / slots_per_group.
Plan plan_of(const Worker& worker, const ModelShape& model, std::int64_t replicas);
// The way back, for plans whose stages have equal degrees.
Result<Worker> worker_of(const Plan& plan, const ModelShape& model);

}  // namespace pentafold
