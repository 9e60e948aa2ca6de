#include "verify/audit.h"

#include <fmt/format.h>

#include <algorithm>

#include "verify/audit_agreement.h"
#include "verify/audit_compute.h"
#include "verify/audit_judge.h"

namespace pentafold {
namespace {

class Auditor {
 public:
  explicit Auditor(const AuditClaims& file) : file_(file), computing_(file) {}

  Result<AuditResult> audit() {
    for (const Claim& claim : file_.claims) {
      PF_ASSIGN(judgements_.emplace_back(), judge_claim(computing_, claim, {}));
    }
    PF_TRY(forgive_followers());
    PF_TRY(compare_quantities(computing_, judgements_));
    PF_TRY(forgive_followers());
    PF_TRY(judge_requirements(computing_, judgements_));
    AuditResult out;
    for (std::size_t i = 0; i < file_.claims.size(); ++i) out.claims.push_back(conclude(i));
    return out;
  }

 private:
  std::size_t index_of(const std::string& id) const {
    std::size_t i = 0;
    while (file_.claims[i].id != id) ++i;
    return i;
  }

  // A claim that is wrong only because a claim it uses is wrong holds: one error, one verdict.
  Status forgive_followers() {
    for (std::size_t i = 0; i < file_.claims.size(); ++i) {
      Corrections corrections;
      for (const std::string& used : judgements_[i].claims) {
        const Judgement& other = judgements_[index_of(used)];
        if (other.right && other.verdict() != ClaimVerdict::Holds) {
          corrections[used] = *other.right;
        }
      }
      if (corrections.empty() || judgements_[i].verdict() != ClaimVerdict::Wrong) continue;
      PF_ASSIGN(Judgement again, judge_claim(computing_, file_.claims[i], corrections));
      if (again.verdict() == ClaimVerdict::Holds) judgements_[i] = std::move(again);
    }
    return ok_status();
  }

  JudgedClaim conclude(std::size_t i) const {
    const Claim& claim = file_.claims[i];
    const Judgement& judgement = judgements_[i];
    JudgedClaim out;
    out.id = claim.id;
    out.verdict = judgement.verdict();
    out.other = judgement.other;
    if (out.verdict != ClaimVerdict::Holds) out.right = judgement.right;
    out.derivation = derivation(claim, judgement);
    for (const std::string& remark : judgement.remarks) out.derivation += " " + remark + ".";
    std::vector<bool> seen(file_.claims.size());
    seen[i] = true;
    collect_roots(i, seen, out.rests_on);
    for (const std::string& root : out.rests_on) {
      if (out.derivation.starts_with("restates " + root)) continue;
      out.derivation += fmt::format(" It rests on {}, which is {}.", root,
                                    to_string(judgements_[index_of(root)].verdict()));
    }
    if (!claim.note.empty()) out.derivation += fmt::format(" Note: {}", claim.note);
    return out;
  }

  // The claims that do not hold at the ends of what claim `i` follows from.
  void collect_roots(std::size_t i, std::vector<bool>& seen,
                     std::vector<std::string>& roots) const {
    for (const std::string& used : judgements_[i].claims) {
      const std::size_t at = index_of(used);
      if (seen[at]) continue;
      seen[at] = true;
      if (judgements_[at].verdict() == ClaimVerdict::Holds) {
        collect_roots(at, seen, roots);
      } else {
        roots.push_back(used);
      }
    }
  }

  // What decides first, then what else was found.
  static std::string derivation(const Claim& claim, const Judgement& judgement) {
    std::string out;
    const ClaimVerdict verdict = judgement.verdict();
    const auto say = [&](const Evidence& one) {
      if (!out.empty()) out += one.verdict == verdict ? " " : " Besides, ";
      out += one.sentence + ".";
    };
    for (const Evidence& one : judgement.evidence) {
      if (one.verdict == verdict) say(one);
    }
    for (const Evidence& one : judgement.evidence) {
      if (one.verdict != verdict) say(one);
    }
    if (verdict != ClaimVerdict::Unsupported) return out;
    if (!judgement.missing.empty()) {
      return fmt::format("The document does not state {}, without which this cannot be derived.",
                         judgement.missing);
    }
    return claim.value ? "Nothing in the document gives this number, and no bound excludes it."
                       : "Nothing in the document shows this.";
  }

  const AuditClaims& file_;
  Computing computing_;
  std::vector<Judgement> judgements_;
};

}  // namespace

const char* to_string(ClaimVerdict verdict) {
  switch (verdict) {
    case ClaimVerdict::Holds:
      return "holds";
    case ClaimVerdict::Wrong:
      return "wrong";
    case ClaimVerdict::Inconsistent:
      return "inconsistent";
    case ClaimVerdict::Impossible:
      return "impossible";
    case ClaimVerdict::RequirementNotMet:
      return "requirement not met";
    case ClaimVerdict::Unsupported:
      return "unsupported";
    case ClaimVerdict::TrainingOnly:
      return "training only";
  }
  return "";
}

std::size_t AuditResult::count(ClaimVerdict verdict) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      claims, [&](const JudgedClaim& claim) { return claim.verdict == verdict; }));
}

Result<AuditResult> audit(const AuditClaims& file) {
  return Auditor(file).audit();
}

}  // namespace pentafold
