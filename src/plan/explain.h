// explain: a rank's program in words, so that a person can check what a plan really does.
//
// First where the rank stands in both meshes and who its groups are, then every step of both
// phases, one line each, with the parameters it reads under their checkpoint names.
// Cost: O(steps) text. Held by plan/explain_test.cc.
#pragma once

#include <string>

#include "plan/lower.h"

namespace pentafold {

std::string format_program(const LoweringContext& context, const RankProgram& program);

// One step on one line: "gemm: normed x model.layers.0.self_attn.q_proj.weight[0:32, 0:24] -> q".
std::string format_step(const ModelSpec& model, const Program& program, const Step& step);

}  // namespace pentafold
