#include "verify/audit_claims.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "base/quote.h"
#include "base/text_file.h"
#include "spec/yaml_reader.h"
#include "verify/audit_claims_inputs.h"
#include "verify/audit_facts.h"
#include "verify/audit_formulas.h"

namespace pentafold {
namespace {

constexpr std::size_t kMostClaims = 2000;
constexpr std::size_t kMostGiven = 16;

constexpr std::array<std::string_view, 9> kFileKeys = {"document", "purpose",      "model",
                                                       "hardware", "workload",     "strategy",
                                                       "assumed",  "requirements", "claims"};
constexpr std::array<std::string_view, 16> kClaimKeys = {
    "id",       "text",  "place",       "kind",    "of",      "value",  "derive", "given",
    "quantity", "phase", "requirement", "subject", "verdict", "launch", "note",   "tolerance"};

bool is_name(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  constexpr std::size_t kLongestName = 64;
  return !text.empty() && text.size() <= kLongestName && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

Status read_derive(const YamlMap& map, Claim& out) {
  if (!map.has("derive")) return ok_status();
  PF_ASSIGN(const YAML::Node node, map.node("derive"));
  if (!node.IsSequence()) {
    PF_ASSIGN(out.derive.emplace_back(), map.text("derive", std::nullopt));
    return ok_status();
  }
  for (const auto& item : node) {
    if (item.IsScalar()) out.derive.push_back(item.Scalar());
  }
  if (out.derive.size() != node.size() || out.derive.empty() || out.derive.size() > 2) {
    return map.error_at("derive", "derive must be an expression, or two for a range");
  }
  return ok_status();
}

Status read_given(const YamlMap& map, Claim& out) {
  if (!map.has("given")) return ok_status();
  PF_ASSIGN(const YamlMap given, map.map("given"));
  for (const std::string& key : given.keys()) {
    if (!is_name(key)) {
      return given.error_at(key,
                            fmt::format("{} is not a name (a to z, 0 to 9, _)", quote_text(key)));
    }
    PF_ASSIGN(out.given[key], given.text(key, std::nullopt));
  }
  if (out.given.size() > kMostGiven) return map.error_at("given", "more than 16 names are given");
  return ok_status();
}

Status read_value(const YamlMap& map, Claim& out) {
  if (!map.has("value")) return ok_status();
  PF_ASSIGN(const std::string text, map.text("value", std::nullopt));
  auto value = parse_stated(text);
  if (!value.ok()) return map.error_at("value", value.error().message);
  out.value = std::move(value).value();
  return ok_status();
}

Status read_words(const YamlMap& map, Claim& out) {
  PF_ASSIGN(out.id, map.text("id", std::nullopt));
  PF_ASSIGN(out.text, map.text("text", std::nullopt));
  PF_ASSIGN(out.place, map.text("place", ""));
  PF_ASSIGN(out.of, map.text("of", ""));
  PF_ASSIGN(out.quantity, map.text("quantity", ""));
  PF_ASSIGN(out.requirement, map.text("requirement", ""));
  PF_ASSIGN(out.subject, map.text("subject", ""));
  PF_ASSIGN(out.launch, map.text("launch", ""));
  PF_ASSIGN(out.note, map.text("note", ""));
  PF_ASSIGN(const std::size_t kind, map.choice("kind", kClaimKinds, std::nullopt));
  out.kind = std::string(kClaimKinds[kind]);
  constexpr std::array<std::string_view, 3> kPhases = {"", "prefill", "decode"};
  PF_ASSIGN(const std::size_t phase, map.choice("phase", kPhases, 0));
  out.phase = std::string(kPhases[phase]);
  constexpr std::array<std::string_view, 4> kVerdicts = {"", "pass", "fail", "near"};
  PF_ASSIGN(const std::size_t verdict, map.choice("verdict", kVerdicts, 0));
  out.verdict = std::string(kVerdicts[verdict]);
  if (map.has("tolerance")) {
    PF_ASSIGN(out.tolerance, map.number("tolerance", std::nullopt, 0, 1));
  }
  return ok_status();
}

Status check_claim(const YamlMap& map, const AuditClaims& file, const Claim& claim) {
  if (!is_name(claim.id) || is_fact_name(claim.id) || is_formula_name(claim.id)) {
    return map.error_at("id", fmt::format("id {} must be a name of its own (a to z, 0 to 9, _), "
                                          "not one of an input or a formula",
                                          quote_text(claim.id)));
  }
  if (!claim.derive.empty() && !claim.value) {
    return map.error_at("derive", "a claim with derive: needs value: to hold against it");
  }
  if (claim.kind == "requirement") {
    const bool known = claim.requirement == "all" || file.requirements.contains(claim.requirement);
    if (known && !claim.verdict.empty()) return ok_status();
    return map.error_at("requirement",
                        fmt::format("a requirement claim needs requirement: with a name from "
                                    "requirements (or all), not {}, and verdict: pass, fail or "
                                    "near",
                                    quote_text(claim.requirement)));
  }
  if (claim.kind == "launch" && claim.launch.empty()) {
    return map.error_at("kind", "a launch claim needs launch: with the command line");
  }
  return check_formula_name(claim.kind, claim.of).ok()
             ? ok_status()
             : Status(map.error_at("of", check_formula_name(claim.kind, claim.of).error().message));
}

Result<Claim> read_claim(const YAML::Node& node, const AuditClaims& file) {
  PF_ASSIGN(const YamlMap map, YamlMap::of(node, file.file));
  PF_TRY(map.refuse_unknown(kClaimKeys));
  Claim out;
  out.line = map.line();
  PF_TRY(read_words(map, out));
  PF_TRY(read_value(map, out));
  PF_TRY(read_derive(map, out));
  PF_TRY(read_given(map, out));
  PF_TRY(check_claim(map, file, out));
  return out;
}

// Every subject must be a claim; ids must be unique.
Status check_references(const AuditClaims& file) {
  std::set<std::string> ids;
  for (const Claim& claim : file.claims) {
    if (!ids.insert(claim.id).second) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("claim id {} appears twice; rename one", claim.id), file.file,
                        claim.line);
    }
  }
  for (const Claim& claim : file.claims) {
    if (claim.subject.empty() || ids.contains(claim.subject)) continue;
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("claim {}: its subject {} is no claim's id", claim.id,
                                  quote_text(claim.subject)),
                      file.file, claim.line);
  }
  return ok_status();
}

}  // namespace

const Claim* AuditClaims::find(const std::string& id) const {
  for (const Claim& claim : claims) {
    if (claim.id == id) return &claim;
  }
  return nullptr;
}

Result<AuditClaims> parse_claims(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node document, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(document, file));
  PF_TRY(map.refuse_unknown(kFileKeys));
  AuditClaims out;
  out.file = file;
  PF_ASSIGN(out.document, map.text("document", std::nullopt));
  constexpr std::array<std::string_view, 2> kPurposes = {"inference", "training"};
  PF_ASSIGN(const std::size_t purpose, map.choice("purpose", kPurposes, 0));
  out.training = purpose == 1;
  PF_TRY(read_inputs(map, out));
  PF_ASSIGN(const auto claims, map.sequence("claims"));
  if (claims.empty() || claims.size() > kMostClaims) {
    return map.error_at(
        "claims", fmt::format("{} claims; an audit takes 1 to {}", claims.size(), kMostClaims));
  }
  for (const YAML::Node& node : claims) {
    PF_ASSIGN(out.claims.emplace_back(), read_claim(node, out));
  }
  PF_TRY(check_references(out));
  return out;
}

Result<AuditClaims> load_claims(const std::string& path) {
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxYamlBytes));
  return parse_claims(text, path);
}

}  // namespace pentafold
