// Lowering: Plan x ModelSpec -> one RankProgram per rank.
//
// Both phases of a rank are lowered from one plan with the phase's mesh (plan/mesh.h); each layer
// is attention (lower_attention.cc) then a dense MLP or experts (lower_ffn.cc). Nothing is decided
// here that the plan does not say. Cost: O(ranks x layers). Held by plan/lower_test.cc; verify/
// checks every program it makes.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "plan/mesh.h"
#include "plan/placement.h"
#include "plan/plan.h"
#include "plan/program.h"
#include "spec/model.h"

namespace pentafold {

// What lowering needs to know beside the rank, made once per plan. Refers to plan and model, which
// must outlive it.
struct LoweringContext {
  const Plan& plan;
  const ModelSpec& model;
  Mesh mesh;
  std::vector<std::shared_ptr<const Placement>> placements;  // by stage

  // Fails with the first of folding_failures, or with what the placement lacks.
  static Result<LoweringContext> make(const Plan& plan, const ModelSpec& model);
};

RankProgram lower_rank(const LoweringContext& context, Rank rank);

// The parameters a rank must hold: for every tensor the smallest rectangle that covers all slices
// its two programs read. Sorted by tensor.
std::vector<WeightSlice> held_weights(const RankProgram& program);

// The weight slices one step reads (bias and norm vectors included).
std::vector<WeightSlice> weights_of(const Step& step);

}  // namespace pentafold
