// One claim, judged by itself: formulas of its kind, bounds, folding, launch line, its arithmetic.
// Held by verify/audit_test.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "verify/audit.h"
#include "verify/audit_compute.h"

namespace pentafold {

struct Evidence {
  ClaimVerdict verdict = ClaimVerdict::Holds;
  std::string sentence;
};

// All that was found about a claim; the gravest verdict counts.
struct Judgement {
  std::vector<Evidence> evidence;
  std::optional<double> right;
  std::vector<std::string> claims;  // whose values were used
  std::vector<std::string> other;   // contradicted
  std::vector<std::string> remarks;
  std::string missing;  // an input that a formula would have needed

  void add(ClaimVerdict verdict, std::string sentence);
  ClaimVerdict verdict() const;
  bool checked() const { return !evidence.empty(); }
};

Result<Judgement> judge_claim(const Computing& computing, const Claim& claim,
                              const Corrections& corrections);

// Relative; devices, degrees and counts are exact.
double tolerance_of(const Claim& claim);

}  // namespace pentafold
