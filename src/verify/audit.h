// audit: does a strategy document say what follows from its own inputs?
//
// Every claim gets one verdict and a derivation. Three mechanisms: what a claim of its kind must be
// or cannot pass (verify/audit_formulas.h), the document's own arithmetic redone (derive), and
// agreement of claims that speak of one quantity. A claim that follows from a wrong one is not
// wrong again: it holds, and says what it rests on. A requirement is judged by the value claimed
// and, where that value is wrong, by the right one.
// Cost: linear in claims x readings; a document in milliseconds. Held by verify/audit_test.cc
// (planted errors: each is found, and nothing else) and tests/fuzz/claims_fuzz.cc.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "verify/audit_claims.h"

namespace pentafold {

enum class ClaimVerdict {
  Holds,
  Wrong,              // another value is right
  Inconsistent,       // contradicts another claim
  Impossible,         // passes a bound
  RequirementNotMet,  // though the document says so
  Unsupported,        // nothing in the document gives it
  TrainingOnly,       // a matter of training in a plan for inference
};
inline constexpr std::array kClaimVerdicts = {ClaimVerdict::Holds,
                                              ClaimVerdict::Wrong,
                                              ClaimVerdict::Inconsistent,
                                              ClaimVerdict::Impossible,
                                              ClaimVerdict::RequirementNotMet,
                                              ClaimVerdict::Unsupported,
                                              ClaimVerdict::TrainingOnly};
const char* to_string(ClaimVerdict verdict);  // "requirement not met"

struct JudgedClaim {
  std::string id;
  ClaimVerdict verdict = ClaimVerdict::Unsupported;
  std::string derivation;             // a paragraph
  std::optional<double> right;        // in base units, where another value is right
  std::vector<std::string> other;     // claims that it contradicts
  std::vector<std::string> rests_on;  // claims it follows from that do not hold
};

struct AuditResult {
  std::vector<JudgedClaim> claims;  // in the order of the file

  std::size_t count(ClaimVerdict verdict) const;
  bool ok() const { return count(ClaimVerdict::Holds) == claims.size(); }
};

// InvalidSpec: an expression or reference that cannot be read, at its line.
Result<AuditResult> audit(const AuditClaims& file);

// For a reader; claims that hold in a line each. "12 claims: 9 hold, 2 wrong, ..." at the end.
std::string format_audit(const AuditResult& result, const AuditClaims& file);
std::string audit_json(const AuditResult& result, const AuditClaims& file);

}  // namespace pentafold
