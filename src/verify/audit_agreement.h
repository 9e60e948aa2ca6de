// What claims say of each other: requirements held against values, and values of one quantity.
// Held by verify/audit_test.cc.
#pragma once

#include <vector>

#include "verify/audit_judge.h"

namespace pentafold {

// Claims that name one quantity must agree. A claim without evidence of its own shares the verdict
// of the claim it restates; one that disagrees with the best supported is inconsistent with it.
Status compare_quantities(const Computing& computing, std::vector<Judgement>& judgements);

// Verdicts on requirements, from the values claimed and from the right ones.
Status judge_requirements(const Computing& computing, std::vector<Judgement>& judgements);

}  // namespace pentafold
