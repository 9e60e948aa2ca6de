#include "verify/audit_compute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/nearest.h"
#include "base/quote.h"
#include "verify/audit_formulas.h"

namespace pentafold {
namespace {

void add_once(std::vector<std::string>& list, const std::string& item) {
  if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

// A number as people write it: 16, 0.6, 2.4e+14.
std::string plain(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e7) return fmt::format("{:.0f}", value);
  return fmt::format("{:.4g}", value);
}

}  // namespace

Computing::Computing(const AuditClaims& file) : file_(file) {
  corners_.push_back(file.inputs);
  for (const AssumedRange& range : file.assumed) {
    const std::size_t before = corners_.size();
    for (std::size_t i = 0; i < before; ++i) {
      for (const double end : {range.low, range.high}) {
        if (end == file.inputs.at(range.name)) continue;
        corners_.push_back(corners_[i]);
        corners_.back()[range.name] = end;
      }
    }
  }
  two_models_ = std::ranges::all_of(corners_, declares_another_model);
}

std::optional<double> Computing::claim_value(const std::string& name,
                                             const Corrections& corrections,
                                             std::vector<std::string>& used) const {
  const auto value_of = [&](const std::string& id, double at) -> std::optional<double> {
    const Claim* claim = file_.find(id);
    if (claim == nullptr || !claim->value) return std::nullopt;
    add_once(used, id);
    const auto corrected = corrections.find(id);
    if (corrected != corrections.end()) return corrected->second;
    return claim->value->low + at * (claim->value->high - claim->value->low);
  };
  constexpr double kMiddle = 0.5;
  if (const auto value = value_of(name, kMiddle)) return value;
  if (name.ends_with("_low")) return value_of(name.substr(0, name.size() - 4), 0);
  if (name.ends_with("_high")) return value_of(name.substr(0, name.size() - 5), 1);
  return std::nullopt;
}

Result<Computing::Given> Computing::read_given(const Claim& claim,
                                               const Corrections& corrections) const {
  Given out;
  const FactMap facts = derive_facts(corners_.front(), Basis::Dimensions);
  for (const auto& [name, text] : claim.given) {
    const auto stated = parse_stated(text);
    if (stated.ok()) {
      out.values[name] = stated->low;
      continue;
    }
    const auto lookup = [&](const std::string& word) -> Result<double> {
      const auto fact = facts.find(word);
      if (fact != facts.end()) return fact->second;
      if (const auto value = claim_value(word, corrections, out.claims)) return *value;
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("given {} = {}: no claim with a value and no stated input is "
                                    "called {}",
                                    name, quote_text(text), quote_text(word)),
                        file_.file, claim.line);
    };
    auto value = evaluate(text, lookup);
    if (!value.ok()) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("claim {}: {}", claim.id, value.error().message), file_.file,
                        claim.line);
    }
    out.values[name] = value->value;
  }
  return out;
}

Result<FactMap> Computing::facts_of(const Claim& claim, Basis basis,
                                    const Corrections& corrections) const {
  PF_ASSIGN(const Given given, read_given(claim, corrections));
  FactMap inputs = corners_.front();
  for (const auto& [name, value] : given.values) inputs[name] = value;
  return derive_facts(inputs, basis);
}

Result<Computed> Computing::compute(const std::string& expression, const Claim& claim, Basis basis,
                                    const Corrections& corrections) const {
  PF_ASSIGN(const Given given, read_given(claim, corrections));
  Computed out;
  out.claims = given.claims;
  for (std::size_t i = 0; i < corners_.size(); ++i) {
    FactMap inputs = corners_[i];
    for (const auto& [name, value] : given.values) inputs[name] = value;
    const FactMap facts = derive_facts(inputs, basis);
    const auto lookup = [&](const std::string& name) -> Result<double> {
      const auto fact = facts.find(name);
      if (fact != facts.end()) return fact->second;
      if (const auto value = claim_value(name, corrections, out.claims)) return *value;
      if (is_fact_name(name) || is_formula_name(name)) {
        out.missing = name;
        return 1.0;
      }
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("no input, no claim with a value and nothing given is called "
                                    "{}; add it to given:",
                                    quote_text(name)));
    };
    auto value = evaluate(expression, lookup);
    if (!out.missing.empty()) return out;
    if (!value.ok()) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("claim {}: {}", claim.id, value.error().message), file_.file,
                        claim.line);
    }
    if (i == 0) {
      out.low = out.high = value->value;
      out.nominal = std::move(value).value();
      continue;
    }
    out.low = std::min(out.low, value->value);
    out.high = std::max(out.high, value->value);
  }
  out.known = true;
  return out;
}

std::string explain_computed(const std::string& expression, const Computed& computed,
                             const StatedValue& like) {
  std::string names;
  for (const auto& [name, value] : computed.nominal.names) {
    names += fmt::format("{}{} = {}", names.empty() ? ", where " : ", ", name, plain(value));
  }
  std::string out =
      fmt::format("{}{}, is {}", expression, names, in_unit_of(computed.nominal.value, like));
  if (computed.is_range()) {
    out += fmt::format(" ({} to {} over what was assumed)", in_unit_of(computed.low, like),
                       in_unit_of(computed.high, like));
  }
  return out;
}

}  // namespace pentafold
