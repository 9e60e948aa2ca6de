// Runs a plan on a model with seeded weights and keeps what must not depend on the plan.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "execute/engine.h"

namespace pentafold::testing {

// What two runs must share, bit for bit.
struct Outcome {
  std::uint64_t logits_hash = 0;
  std::int64_t logit_rows = 0;
  std::map<std::int64_t, std::vector<std::int32_t>> tokens;  // by request
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// `lengths[i]` prompt tokens for request i, seeded; ids in the order of `ids`.
std::vector<Request> make_requests(const ModelSpec& model, const std::vector<std::int64_t>& lengths,
                                   std::int64_t max_tokens);

struct Scenario {
  std::vector<std::int64_t> prompt_lengths;
  std::int64_t max_tokens = 3;
  std::int64_t prefill_chunk = 512;
  std::int64_t max_batch = 8;
  SamplingOptions sampling;
  std::vector<std::size_t> order;  // submission order of the requests; empty: as numbered
};

// An engine kept for several scenarios; CHECKs that everything succeeds.
class PlanRunner {
 public:
  PlanRunner(const Plan& plan, const ModelSpec& model, const std::string& device = "cpu",
             const EngineHooks& hooks = {});
  Outcome run(const Scenario& scenario);
  Report last_report;
  const Engine& engine() const { return *engine_; }

 private:
  Plan plan_;
  ModelSpec model_;
  std::unique_ptr<Engine> engine_;
};

// One stage layout; layers of the model are cut evenly over pp.
struct Degrees {
  std::int64_t pp = 1, dp = 1, sp = 1, tp = 1, ep = 1, etp = 1;
};
Plan make_plan(const Degrees& degrees, const ModelSpec& model,
               PlacementStyle placement = PlacementStyle::Blocked);
std::string to_string(const Degrees& degrees);

// All degrees with pp * dp * sp * tp <= limit that fold onto the model under this placement.
std::vector<Degrees> legal_degrees(const ModelSpec& model, std::int64_t limit,
                                   PlacementStyle placement);

}  // namespace pentafold::testing
