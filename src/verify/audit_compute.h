// Computing: the value of an expression for one claim, over everything that was only assumed.
//
// Assumed inputs are ranges; an expression is taken at their corners and gives the least and the
// greatest value. Names are looked for among what the claim gives, the facts, and other claims.
// Cost: at most 16 evaluations. Held by verify/audit_test.cc.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/audit_claims.h"
#include "verify/audit_expression.h"
#include "verify/audit_facts.h"

namespace pentafold {

// What another claim's value counts as: its right value where it is known to be wrong.
using Corrections = std::map<std::string, double>;

struct Computed {
  bool known = false;   // false: an input is not stated
  std::string missing;  // that input
  double low = 0;
  double high = 0;
  Evaluation nominal;               // at the stated values, and the first of each assumed range
  std::vector<std::string> claims;  // whose values were used
  bool is_range() const { return low != high; }
};

class Computing {
 public:
  explicit Computing(const AuditClaims& file);

  // Names of `claim.given` come first. `corrections` replace claimed values.
  Result<Computed> compute(const std::string& expression, const Claim& claim, Basis basis,
                           const Corrections& corrections) const;
  // At the stated values.
  Result<FactMap> facts_of(const Claim& claim, Basis basis, const Corrections& corrections) const;
  // Does the document declare a model that its dimensions contradict, whatever was assumed?
  bool two_models() const { return two_models_; }
  const AuditClaims& file() const { return file_; }

 private:
  struct Given {
    FactMap values;
    std::vector<std::string> claims;
  };
  Result<Given> read_given(const Claim& claim, const Corrections& corrections) const;
  std::optional<double> claim_value(const std::string& name, const Corrections& corrections,
                                    std::vector<std::string>& used) const;

  const AuditClaims& file_;
  std::vector<FactMap> corners_;  // inputs; the first are the stated values
  bool two_models_ = false;
};

// "tp x pp = 2 x 4": the expression, its names' values, and the result in the unit of `like`.
std::string explain_computed(const std::string& expression, const Computed& computed,
                             const StatedValue& like);

}  // namespace pentafold
