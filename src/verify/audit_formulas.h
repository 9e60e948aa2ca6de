// Formulas: what a claim of each kind must equal, and which bounds it cannot pass.
//
// One table for all documents. A formula is an expression over facts (verify/audit_facts.h) and the
// names that the claim itself gives; where a phrase has two readings ("experts per GPU" of a layer,
// or of the model) either may be meant. Cost: tables. Held by verify/audit_test.cc.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pentafold {

struct Formula {
  std::string_view kind;
  std::string_view of;
  std::array<std::string_view, 2> readings;  // the second may be empty
  bool dimensions_only;                      // a declared total does not make it right
  std::string_view meaning;
};
std::span<const Formula> formulas();
// A name that formulas expect from `given`, such as "used" or "per_layer".
bool is_formula_name(std::string_view name);

enum class BoundSide { AtMost, AtLeast };
struct Bound {
  std::string_view kind;
  std::string_view of;     // empty: any
  std::string_view phase;  // empty: any
  BoundSide side;
  std::string_view expression;
  std::string_view meaning;
};
std::span<const Bound> bounds();

// Is `of` one that the kind knows? The sentence names the nearest.
Status check_formula_name(const std::string& kind, const std::string& of);

}  // namespace pentafold
