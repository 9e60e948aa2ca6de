#include "verify/audit_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace pentafold {
namespace {

// Missing a limit by this much may be called near.
constexpr double kNear = 0.05;

// `value` in the terms of `like`: of one device or of all. Nothing when that cannot be said.
std::optional<double> in_terms_of(double value, const StatedValue& of, const StatedValue& like,
                                  double gpus) {
  UnitDimension mine = of.dimension;
  const int difference = like.dimension.gpu - mine.gpu;
  mine.gpu = like.dimension.gpu;
  if (!(mine == like.dimension)) return std::nullopt;
  // Only work is shared by devices: 64 GB of each is 64 GB however it is said.
  if (difference == 0 || mine.token == 0) return value;
  if (gpus <= 0) return std::nullopt;
  return difference < 0 ? value / gpus : value * gpus;
}

double devices_of(const Computing& computing, const Claim& claim) {
  const auto facts = computing.facts_of(claim, Basis::Dimensions, {});
  if (!facts.ok()) return 0;
  const auto it = facts->find("gpus");
  return it == facts->end() ? 0 : it->second;
}

bool same_quantity(const Claim& a, const Claim& b, double gpus) {
  const auto low = in_terms_of(b.value->low, *b.value, *a.value, gpus);
  const auto high = in_terms_of(b.value->high, *b.value, *a.value, gpus);
  if (!low || !high) return false;
  const double tolerance = std::max(tolerance_of(a), tolerance_of(b));
  const bool a_limits = a.value->comparison != Comparison::Equal;
  const bool b_limits = b.value->comparison != Comparison::Equal;
  if (a_limits && b_limits) {
    StatedValue plain = *a.value;
    plain.comparison = Comparison::Equal;
    return agrees(plain, *low, *high, tolerance);
  }
  if (agrees(*a.value, *low, *high, tolerance)) return true;
  const auto back_low = in_terms_of(a.value->low, *a.value, *b.value, gpus);
  const auto back_high = in_terms_of(a.value->high, *a.value, *b.value, gpus);
  return back_low && back_high && agrees(*b.value, *back_low, *back_high, tolerance);
}

class QuantityGroup {
 public:
  QuantityGroup(const Computing& computing, std::vector<Judgement>& judgements)
      : computing_(computing), judgements_(judgements) {}

  void add(std::size_t i) { members_.push_back(i); }

  void compare() {
    for (const std::size_t i : members_) {
      if (!judgements_[i].checked()) restate(i);
    }
    const std::size_t best = reference();
    if (support(best) == 0) return;
    for (const std::size_t i : members_) {
      if (i != best && !same(i, best)) contradict(i, best);
    }
  }

 private:
  const Claim& claim(std::size_t i) const { return computing_.file().claims[i]; }
  bool same(std::size_t a, std::size_t b) const {
    const double gpus = devices_of(computing_, claim(a));
    return same_quantity(claim(a), claim(b), gpus);
  }

  int support(std::size_t i) const {
    constexpr int kInput = 4;
    constexpr int kDerived = 3;
    constexpr int kDecided = 2;
    constexpr int kBare = 1;
    if (!judgements_[i].checked()) return kBare;
    if (judgements_[i].verdict() != ClaimVerdict::Holds) return 0;
    if (claim(i).kind == "setting") return kDecided;
    return claim(i).kind == "input" ? kInput : kDerived;
  }

  // The best supported; among equals the one that most agree with; among those the first.
  std::size_t reference() const {
    std::size_t best = members_.front();
    std::pair<int, std::size_t> best_rank{-1, 0};
    for (const std::size_t i : members_) {
      const auto agreeing = static_cast<std::size_t>(
          std::ranges::count_if(members_, [&](std::size_t j) { return same(i, j); }));
      const std::pair<int, std::size_t> rank{support(i), agreeing};
      if (rank <= best_rank) continue;
      best = i;
      best_rank = rank;
    }
    return best;
  }

  // A claim without evidence of its own shares the verdict of the one that it repeats, the best
  // first; one that gives the right value of a wrong claim is right.
  void restate(std::size_t i) {
    Judgement& mine = judgements_[i];
    for (const bool holding : {true, false}) {
      for (const std::size_t j : members_) {
        const Judgement& other = judgements_[j];
        if (j == i || restated_.contains(j) || !other.checked() || !same(i, j)) continue;
        if ((other.verdict() == ClaimVerdict::Holds) != holding) continue;
        restated_.insert(i);
        mine.right = other.right;
        mine.claims = {claim(j).id};
        mine.add(other.verdict(), fmt::format("restates {}, which is judged \"{}\"", claim(j).id,
                                              to_string(other.verdict())));
        return;
      }
    }
    for (const std::size_t j : members_) {
      const Judgement& other = judgements_[j];
      if (!other.right || other.verdict() == ClaimVerdict::Holds) continue;
      const StatedValue& value = *claim(i).value;
      const auto right =
          in_terms_of(*other.right, *claim(j).value, value, devices_of(computing_, claim(i)));
      if (!right || !agrees(value, *right, *right, tolerance_of(claim(i)))) continue;
      restated_.insert(i);
      mine.add(ClaimVerdict::Holds,
               fmt::format("it is what {} should be, {}", claim(j).id, in_unit_of(*right, value)));
      return;
    }
  }

  void contradict(std::size_t i, std::size_t best) {
    Judgement& mine = judgements_[i];
    mine.other.push_back(claim(best).id);
    if (!mine.right) {
      mine.right = in_terms_of(claim(best).value->low, *claim(best).value, *claim(i).value,
                               devices_of(computing_, claim(i)));
    }
    mine.add(ClaimVerdict::Inconsistent,
             fmt::format("{} \"{}\" ({}) says {} of the same quantity ({})", claim(best).id,
                         claim(best).text, claim(best).place, claim(best).value->text,
                         claim(i).quantity));
  }

  const Computing& computing_;
  std::vector<Judgement>& judgements_;
  std::vector<std::size_t> members_;
  std::set<std::size_t> restated_;
};

class RequirementJudge {
 public:
  RequirementJudge(const Computing& computing, std::vector<Judgement>& judgements)
      : computing_(computing), file_(computing.file()), judgements_(judgements) {}

  Status judge() {
    for (std::size_t i = 0; i < file_.claims.size(); ++i) {
      const Claim& claim = file_.claims[i];
      if (claim.kind == "requirement" && claim.requirement != "all") PF_TRY(judge_one(i));
    }
    for (std::size_t i = 0; i < file_.claims.size(); ++i) {
      const Claim& claim = file_.claims[i];
      if (claim.kind == "requirement" && claim.requirement == "all") judge_all(i);
    }
    return ok_status();
  }

 private:
  struct Held {
    bool claimed = false;       // the value claimed keeps the limit
    bool near = false;          //
    std::optional<bool> right;  // so does the right value
    std::string sentence;
  };

  std::size_t index_of(const std::string& id) const {
    for (std::size_t i = 0; i < file_.claims.size(); ++i) {
      if (file_.claims[i].id == id) return i;
    }
    return file_.claims.size();
  }

  Error bad(const Claim& claim, const std::string& why) const {
    return make_error(ErrorCode::InvalidSpec, fmt::format("claim {}: {}", claim.id, why),
                      file_.file, claim.line);
  }

  Result<Held> hold(std::size_t i) const {
    const Claim& claim = file_.claims[i];
    const StatedValue& limit = file_.requirements.at(claim.requirement);
    const std::size_t at = claim.subject.empty() ? i : index_of(claim.subject);
    const Claim& subject = file_.claims[at];
    // What the tick itself states counts before what it points to.
    const Claim& stating = claim.value ? claim : subject;
    if (!stating.value) return bad(claim, "it has no value, and neither has its subject");
    const StatedValue& value = *stating.value;
    const double gpus = devices_of(computing_, claim);
    const bool upper =
        limit.comparison == Comparison::LessEqual || limit.comparison == Comparison::Less;
    const auto worst = in_terms_of(upper ? value.high : value.low, value, limit, gpus);
    if (!worst) {
      return bad(claim, fmt::format("{} cannot be held against {}: the units differ, or the "
                                    "number of devices is not stated",
                                    value.text, limit.text));
    }
    Held out;
    StatedValue lenient = limit;
    // "< 50 ms" keeps "<= 50 ms": the value itself is not reached.
    if (value.comparison == Comparison::Less && limit.comparison == Comparison::Less) {
      lenient.comparison = Comparison::LessEqual;
    }
    if (value.comparison == Comparison::Greater && limit.comparison == Comparison::Greater) {
      lenient.comparison = Comparison::GreaterEqual;
    }
    out.claimed = satisfies(*worst, lenient);
    out.near = std::abs(*worst - limit.low) <= kNear * std::abs(limit.low);
    out.sentence =
        fmt::format("{}{} against {}", value.text,
                    value.dimension == limit.dimension
                        ? ""
                        : fmt::format(" over {} devices is {}", gpus, in_unit_of(*worst, limit)),
                    limit.text);
    const Judgement& judged = judgements_[at];
    if (judged.right && judged.verdict() != ClaimVerdict::Holds && subject.value) {
      const auto right = in_terms_of(*judged.right, *subject.value, limit, gpus);
      if (right) {
        out.right = satisfies(*right, limit);
        out.sentence += fmt::format("; {} is {}, and {} is right", subject.id,
                                    to_string(judged.verdict()), in_unit_of(*right, limit));
      }
    }
    return out;
  }

  Status judge_one(std::size_t i) {
    const Claim& claim = file_.claims[i];
    PF_ASSIGN(const Held held, hold(i));
    Judgement& mine = judgements_[i];
    if (!claim.subject.empty()) mine.claims.push_back(claim.subject);
    const bool met = held.claimed && held.right.value_or(true);
    if (!met) not_met_.push_back(claim.id);
    const char* const says = met ? "kept" : "not kept";
    if (claim.verdict == "fail") {
      // The document may be too modest only by its own numbers.
      mine.add(held.claimed ? ClaimVerdict::Wrong : ClaimVerdict::Holds,
               fmt::format("{}: {}, and the document says it fails", held.sentence,
                           held.claimed ? "kept" : "not kept"));
      return ok_status();
    }
    const bool fine = met || (claim.verdict == "near" && held.near);
    mine.add(fine ? ClaimVerdict::Holds : ClaimVerdict::RequirementNotMet,
             fmt::format("{}: {}, and the document says {}", held.sentence, says,
                         claim.verdict == "near" ? "it is near" : "it is met"));
    return ok_status();
  }

  void judge_all(std::size_t i) {
    const Claim& claim = file_.claims[i];
    std::string names;
    for (const std::string& id : not_met_) names += (names.empty() ? "" : ", ") + id;
    Judgement& mine = judgements_[i];
    if (claim.verdict == "fail") {
      mine.add(not_met_.empty() ? ClaimVerdict::Wrong : ClaimVerdict::Holds,
               not_met_.empty() ? "all requirements are kept" : "not kept: " + names);
      return;
    }
    mine.add(not_met_.empty() ? ClaimVerdict::Holds : ClaimVerdict::RequirementNotMet,
             not_met_.empty() ? "every requirement that the document ticks is kept"
                              : "not kept: " + names);
  }

  const Computing& computing_;
  const AuditClaims& file_;
  std::vector<Judgement>& judgements_;
  std::vector<std::string> not_met_;
};

}  // namespace

Status compare_quantities(const Computing& computing, std::vector<Judgement>& judgements) {
  std::map<std::string, QuantityGroup> groups;
  const auto& claims = computing.file().claims;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (claims[i].quantity.empty() || !claims[i].value || claims[i].kind == "requirement") continue;
    groups.try_emplace(claims[i].quantity, computing, judgements).first->second.add(i);
  }
  for (auto& [name, group] : groups) group.compare();
  return ok_status();
}

Status judge_requirements(const Computing& computing, std::vector<Judgement>& judgements) {
  return RequirementJudge(computing, judgements).judge();
}

}  // namespace pentafold
