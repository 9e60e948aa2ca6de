// Facts: every number that follows from a document's inputs alone, by name.
//
// From layers, d, experts, ... come total_params, flops_per_token, kv_bytes_per_token; from the
// degrees, folded as plan/mesh.h folds them, come stage_ranks, gpus_folded, weights_per_gpu. A
// document that declares a total its dimensions do not give describes two models; facts are then
// taken on both bases. A fact whose inputs are not stated is absent, never guessed.
// Source: spec/model.h counts parameters. Cost: O(layers). Held by verify/audit_claims_test.cc.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/plan.h"
#include "spec/model.h"

namespace pentafold {

using FactMap = std::map<std::string, double>;

enum class Basis { Dimensions, Declared };

// `inputs` and everything that follows from them. On the declared basis parameters are scaled to
// the declared total.
FactMap derive_facts(const FactMap& inputs, Basis basis);

// Does the declared total differ from the dimensions' by more than 2 %?
bool declares_another_model(const FactMap& inputs);

// An input, a derived fact or a unit ("GB", "ms"): names that no claim may take.
bool is_fact_name(std::string_view name);

// The strategy as a plan, and the model as the mesh judges it; nothing when too little is stated.
struct FoldInput {
  Plan plan;
  ModelSpec model;
};
std::optional<FoldInput> fold_input(const FactMap& facts);

}  // namespace pentafold
