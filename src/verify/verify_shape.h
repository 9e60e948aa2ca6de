// verify_shape: verify for any model, those that the engine cannot run included.
//
// Where the model's layers can be lowered (spec/lowerable.h: grouped-query attention, dense MLPs,
// experts) the programs of an equal spec are judged by all of verify's checks. Where not (latent or
// linear attention, state space layers) the plan is judged without programs: the degrees fold,
// every expert has a home and no two copies share a rank, and the fullest rank fits; the verdict
// says which checks were not made.
// Cost: as verify. Held by verify/verify_shape_test.cc.
#pragma once

#include "verify/verify.h"

namespace pentafold {

// `plan` has its layers resolved.
Verdict verify_shape(const Plan& plan, const ModelShape& model);

}  // namespace pentafold
