// evaluate: a document's own arithmetic, restated: "weights / gpus", "(pp - 1) / (m + pp - 1)".
//
// Numbers, names, + - * / ^ and parentheses, and the functions of muParser (min, max, sqrt, sum,
// ceil, floor, ...). Names are asked of the caller, once each; no name can be assigned.
// Source: parsing by muParser. Cost: linear in the text, which is bounded in length and depth.
// Held by verify/audit_expression_test.cc and tests/fuzz/claims_fuzz.cc.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace pentafold {

using NameLookup = std::function<Result<double>(const std::string& name)>;

struct Evaluation {
  double value = 0;
  std::vector<std::pair<std::string, double>> names;  // in the order of appearance
};

// InvalidSpec: not an expression, an unknown name, or no finite value.
Result<Evaluation> evaluate(const std::string& expression, const NameLookup& lookup);

// The names in an expression, each once, without evaluating it.
std::vector<std::string> names_in(const std::string& expression);

}  // namespace pentafold
