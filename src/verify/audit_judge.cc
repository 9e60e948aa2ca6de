#include "verify/audit_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "plan/mesh.h"
#include "verify/audit_formulas.h"
#include "verify/audit_launch.h"

namespace pentafold {
namespace {

constexpr double kTolerance = 0.02;

// The gravest first.
constexpr std::array kByGravity = {ClaimVerdict::TrainingOnly,      ClaimVerdict::Impossible,
                                   ClaimVerdict::RequirementNotMet, ClaimVerdict::Wrong,
                                   ClaimVerdict::Inconsistent,      ClaimVerdict::Holds};

class ClaimJudge {
 public:
  ClaimJudge(const Computing& computing, const Claim& claim, const Corrections& corrections)
      : computing_(computing), claim_(claim), corrections_(corrections) {}

  Result<Judgement> judge() {
    if (claim_.kind == "training" && !computing_.file().training) {
      out_.add(ClaimVerdict::TrainingOnly,
               "this belongs to training: serving a model keeps no optimizer states and no "
               "gradients, runs no backward pass and synchronises nothing between batches");
      return std::move(out_);
    }
    if (claim_.kind == "input") PF_TRY(judge_input());
    if (claim_.kind == "degrees") PF_TRY(judge_degree());
    if (claim_.kind == "launch") PF_TRY(judge_launch());
    if (claim_.kind == "communication") {
      judge_exchange();
      PF_TRY(judge_link());
    }
    PF_TRY(judge_formulas());
    PF_TRY(judge_derive());
    PF_TRY(judge_bounds());
    const bool setting = claim_.kind == "setting" || claim_.kind == "training";
    if (setting && out_.evidence.empty()) {
      out_.add(ClaimVerdict::Holds, "a decision of the document, which nothing in it contradicts");
    }
    return std::move(out_);
  }

 private:
  const StatedValue& value() const { return *claim_.value; }

  Result<Computed> compute(const std::string& expression, Basis basis) {
    PF_ASSIGN(Computed computed, computing_.compute(expression, claim_, basis, corrections_));
    for (const std::string& used : computed.claims) {
      if (std::ranges::find(out_.claims, used) == out_.claims.end()) out_.claims.push_back(used);
    }
    return computed;
  }

  Status judge_input() {
    if (!claim_.value || claim_.of.empty()) {
      if (claim_.derive.empty()) out_.add(ClaimVerdict::Holds, "an input, taken as given");
      return ok_status();
    }
    const auto& inputs = computing_.file().inputs;
    const auto it = inputs.find(claim_.of);
    if (it == inputs.end()) {
      out_.missing = claim_.of;
      return ok_status();
    }
    const bool same = agrees(value(), it->second, it->second, 0);
    if (same) {
      out_.add(ClaimVerdict::Holds, fmt::format("{} is an input", claim_.of));
    } else {
      out_.right = it->second;
      out_.add(ClaimVerdict::Inconsistent, fmt::format("the document's input {} is {}", claim_.of,
                                                       in_unit_of(it->second, value())));
    }
    return ok_status();
  }

  // Expressions that depend on how the value is written.
  std::string reading_of(std::string_view reading) const {
    if (claim_.kind != "ratio" || !claim_.value) return std::string(reading);
    if (claim_.of == "improvement" && value().factor) return "to / from";
    if (claim_.of == "reduction" && value().factor) return "from / to";
    if (claim_.of == "speedup" && value().percent) return "from / to - 1";
    return std::string(reading);
  }

  Status judge_formulas() {
    if (!claim_.value) return ok_status();
    for (const Formula& formula : formulas()) {
      if (formula.kind != claim_.kind || formula.of != claim_.of) continue;
      if (!formula.readings[0].empty()) PF_TRY(judge_formula(formula));
    }
    return ok_status();
  }

  Status judge_formula(const Formula& formula) {
    std::optional<Computed> first;
    std::string readings;
    for (const Basis basis : {Basis::Dimensions, Basis::Declared}) {
      const bool skip =
          basis == Basis::Declared && (formula.dimensions_only || !computing_.two_models());
      for (const std::string_view text : formula.readings) {
        if (skip || text.empty()) continue;
        const std::string reading = reading_of(text);
        PF_ASSIGN(const Computed computed, compute(reading, basis));
        if (!computed.known) {
          out_.missing = computed.missing;
          continue;
        }
        if (!first) first = computed;
        const std::string explained = explain_computed(reading, computed, value()) +
                                      (basis == Basis::Declared ? " for the declared size" : "");
        readings += (readings.empty() ? "" : "; or ") + explained;
        if (!agrees(value(), computed.low, computed.high, tolerance_of(claim_))) continue;
        out_.add(ClaimVerdict::Holds, explained);
        return ok_status();
      }
    }
    if (!first) return ok_status();
    out_.right = nearest_end(*first);
    out_.add(ClaimVerdict::Wrong, fmt::format("{} ({})", readings, formula.meaning));
    return ok_status();
  }

  double nearest_end(const Computed& computed) const {
    return std::clamp(value().low, computed.low, computed.high);
  }

  Status judge_derive() {
    if (claim_.derive.empty()) return ok_status();
    const bool range = claim_.derive.size() == 2;
    for (std::size_t i = 0; i < claim_.derive.size(); ++i) {
      PF_ASSIGN(const Computed computed, compute(claim_.derive[i], Basis::Dimensions));
      if (!computed.known) {
        out_.missing = computed.missing;
        return ok_status();
      }
      StatedValue stated = value();
      if (range) (i == 0 ? stated.high : stated.low) = i == 0 ? stated.low : stated.high;
      const bool same = agrees(stated, computed.low, computed.high, tolerance_of(claim_));
      out_.add(same ? ClaimVerdict::Holds : ClaimVerdict::Wrong,
               explain_computed(claim_.derive[i], computed, value()));
      if (!same) out_.right = nearest_end(computed);
    }
    return ok_status();
  }

  // A throughput may be of one device or of all.
  Result<std::optional<double>> devices() {
    if (claim_.kind != "throughput" || value().dimension.gpu == -1) return std::optional(1.0);
    PF_ASSIGN(const Computed computed, compute("gpus", Basis::Dimensions));
    return computed.known ? std::optional(computed.high) : std::nullopt;
  }

  Status judge_bounds() {
    if (!claim_.value) return ok_status();
    // What cannot grow is not held against how far it might have.
    if (claim_.kind == "throughput" && (value().dimension.token != 1 || claim_.of == "scaled")) {
      return ok_status();
    }
    for (const Bound& bound : bounds()) {
      const bool mine = bound.kind == claim_.kind && bound.phase == claim_.phase &&
                        (bound.of.empty() || bound.of == claim_.of);
      const bool share = value().dimension == UnitDimension{} || bound.expression != "1";
      // A claim that follows from another of its kind leaves the blame to that one.
      if (mine && share) PF_TRY(judge_bound(bound, follows_its_kind() ? "It" : ""));
      const bool other_phase = bound.kind == "throughput" && bound.phase == "decode";
      if (other_phase && bound.kind == claim_.kind && claim_.phase.empty()) {
        PF_TRY(judge_bound(bound, "If it is meant for decode, it"));
      }
    }
    return ok_status();
  }

  bool follows_its_kind() const {
    return out_.verdict() == ClaimVerdict::Holds &&
           std::ranges::any_of(out_.claims, [&](const std::string& id) {
             const Claim* used = computing_.file().find(id);
             return used != nullptr && used->kind == claim_.kind && used->kind == "throughput";
           });
  }

  // A remark that begins with these words, or, without them, a verdict.
  Status judge_bound(const Bound& bound, const std::string& remark) {
    const Basis basis = computing_.two_models() ? Basis::Declared : Basis::Dimensions;
    PF_ASSIGN(const Computed computed, compute(std::string(bound.expression), basis));
    PF_ASSIGN(const auto count, devices());
    if (!computed.known || !count) return ok_status();
    const bool most = bound.side == BoundSide::AtMost;
    const double limit = (most ? computed.high : computed.low) * *count;
    const double claimed = most ? value().low : value().high;
    const double room = kTolerance * limit;
    const bool upper =
        value().comparison == Comparison::Less || value().comparison == Comparison::LessEqual;
    const bool passes = most ? !upper && claimed > limit + (limit == 1 ? 1e-9 : room)
                             : value().comparison != Comparison::Greater &&
                                   value().comparison != Comparison::GreaterEqual &&
                                   claimed < limit - room;
    if (!passes) return ok_status();
    const std::string sentence = fmt::format(
        "{} {}: {}{}{} ({})", most ? "at most" : "at least", in_unit_of(limit, value()),
        bound.expression, *count == 1 ? "" : fmt::format(" on each of {} devices", *count),
        basis == Basis::Declared ? " for the declared size" : "", bound.meaning);
    if (!remark.empty()) {
      out_.remarks.push_back(fmt::format("{} can be {}", remark, sentence));
      return ok_status();
    }
    out_.right = limit;
    out_.add(ClaimVerdict::Impossible, "it can be " + sentence);
    return ok_status();
  }

  Status judge_degree() {
    if (claim_.of.empty()) return ok_status();
    Claim substituted = claim_;
    if (claim_.of != "fold" && claim_.value) {
      const auto& inputs = computing_.file().inputs;
      const auto it = inputs.find(claim_.of);
      if (it == inputs.end()) {
        out_.missing = claim_.of;
      } else if (it->second == value().low) {
        out_.add(ClaimVerdict::Holds,
                 fmt::format("{} = {} is the strategy", claim_.of, it->second));
      } else {
        out_.right = it->second;
        out_.add(ClaimVerdict::Inconsistent,
                 fmt::format("the document's strategy has {} = {}", claim_.of, it->second));
      }
      substituted.given[claim_.of] = fmt::format("{}", value().low);
    }
    PF_ASSIGN(const FactMap facts,
              computing_.facts_of(substituted, Basis::Dimensions, corrections_));
    const std::string failure = folding_failure(facts);
    if (!failure.empty()) {
      out_.add(ClaimVerdict::Impossible, failure);
    } else if (claim_.of == "fold") {
      out_.add(ClaimVerdict::Holds,
               "the degrees fold: attention dp x sp x tp and experts ep x "
               "etp share the ranks of each stage");
    }
    return ok_status();
  }

  // The first reason that this degree is part of; empty if it folds.
  std::string folding_failure(const FactMap& facts) const {
    const auto fact = [&](const char* name) {
      const auto it = facts.find(name);
      return it == facts.end() ? 1.0 : it->second;
    };
    const auto broken = [](double number) { return number != std::floor(number); };
    const bool all = claim_.of == "fold";
    if ((all || claim_.of == "pp" || claim_.of == "replicas") && broken(fact("stage_ranks"))) {
      return fmt::format("{} devices over {} replicas of {} stages is {:.4g} a stage, not whole",
                         fact("gpus"), fact("replicas"), fact("pp"), fact("stage_ranks"));
    }
    if ((all || claim_.of == "pp") && fact("pp") > fact("layers")) {
      return fmt::format("{} stages for {} layers leaves stages empty", fact("pp"), fact("layers"));
    }
    const auto input = fold_input(facts);
    if (!input || input->plan.stages.empty()) return {};
    const std::array<std::string_view, 3> expert = {"expert mesh", ": ep =", ": etp ="};
    const std::array<std::string_view, 3> attention = {": tp", "vocabulary", "attention heads"};
    for (const Error& error : folding_failures(input->plan, input->model)) {
      const auto says = [&](const auto& words) {
        return std::ranges::any_of(words, [&](std::string_view word) {
          return error.message.find(word) != std::string::npos;
        });
      };
      const bool mine = all || ((claim_.of == "ep" || claim_.of == "etp") && says(expert)) ||
                        ((claim_.of == "tp" || claim_.of == "sp") && says(attention));
      if (mine) return error.message;
    }
    return {};
  }

  // What one device reads from its own memory says nothing about the links between devices.
  Status judge_link() {
    if (claim_.of != "link_bandwidth" || !claim_.value) return ok_status();
    PF_ASSIGN(const FactMap facts, computing_.facts_of(claim_, Basis::Dimensions, corrections_));
    if (facts.contains("link_bandwidth")) return ok_status();
    for (const char* name : {"bandwidth", "effective_bandwidth"}) {
      const auto it = facts.find(name);
      if (it == facts.end() || !agrees(value(), it->second, it->second, kTolerance)) continue;
      out_.add(ClaimVerdict::Wrong,
               fmt::format("{} is the {} of a device's own memory; no bandwidth between devices "
                           "is stated",
                           in_unit_of(it->second, value()), name));
      return ok_status();
    }
    return ok_status();
  }

  // Exchanges happen in every layer, whatever number of tokens there is.
  void judge_exchange() {
    const bool expert = claim_.of == "expert_exchange";
    if ((!expert && claim_.of != "tensor_reduce") || !claim_.value) return;
    const char* const what = expert
                                 ? "every expert layer exchanges twice, tokens out and results back"
                                 : "every layer adds shards after attention and after its MLP";
    if (value().dimension.token != 0) {
      out_.add(ClaimVerdict::Wrong,
               fmt::format("{}; how many tokens there are does not change how often", what));
    } else if (value().unit.starts_with("layer")) {
      out_.add(value().low == 1 ? ClaimVerdict::Holds : ClaimVerdict::Wrong, what);
    }
  }

  Status judge_launch() {
    auto line = parse_launch(claim_.launch);
    if (!line.ok()) {
      return make_error(ErrorCode::InvalidSpec, line.error().message, computing_.file().file,
                        claim_.line);
    }
    PF_ASSIGN(const FactMap facts, computing_.facts_of(claim_, Basis::Dimensions, corrections_));
    for (const auto& [degree, count] : line->degrees) {
      const auto it = facts.find(degree);
      if (it == facts.end() || it->second == static_cast<double>(count)) continue;
      out_.add(ClaimVerdict::Inconsistent, fmt::format("the line asks for {} = {}, the strategy "
                                                       "is {} = {}",
                                                       degree, count, degree, it->second));
    }
    std::optional<double> wanted;
    if (claim_.value) wanted = value().low;
    if (const auto it = facts.find("gpus"); !wanted && it != facts.end()) wanted = it->second;
    if (line->world == 0 || !wanted) {
      out_.missing = line->world == 0 ? "the number of processes" : "gpus";
      return ok_status();
    }
    const bool same = *wanted == static_cast<double>(line->world);
    out_.add(same ? ClaimVerdict::Holds : ClaimVerdict::Wrong,
             fmt::format("the line starts {} ranks ({}); the strategy is for {}", line->world,
                         line->how, *wanted));
    if (!same) out_.right = static_cast<double>(line->world);
    return ok_status();
  }

  const Computing& computing_;
  const Claim& claim_;
  const Corrections& corrections_;
  Judgement out_;
};

}  // namespace

void Judgement::add(ClaimVerdict verdict, std::string sentence) {
  evidence.push_back({verdict, std::move(sentence)});
}

ClaimVerdict Judgement::verdict() const {
  for (const ClaimVerdict grave : kByGravity) {
    for (const Evidence& one : evidence) {
      if (one.verdict == grave) return grave;
    }
  }
  return ClaimVerdict::Unsupported;
}

double tolerance_of(const Claim& claim) {
  if (claim.tolerance) return *claim.tolerance;
  constexpr std::array<std::string_view, 5> kExact = {"gpus", "degrees", "count", "launch",
                                                      "input"};
  return std::ranges::find(kExact, claim.kind) == kExact.end() ? kTolerance : 0.0;
}

Result<Judgement> judge_claim(const Computing& computing, const Claim& claim,
                              const Corrections& corrections) {
  return ClaimJudge(computing, claim, corrections).judge();
}

}  // namespace pentafold
