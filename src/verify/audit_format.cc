// The audit for a reader and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "verify/audit.h"

namespace pentafold {
namespace {

std::string counts(const AuditResult& result) {
  std::string out = fmt::format("{} claims:", result.claims.size());
  for (const ClaimVerdict verdict : kClaimVerdicts) {
    out += fmt::format("{} {} {}", verdict == ClaimVerdict::Holds ? "" : ",", result.count(verdict),
                       to_string(verdict));
  }
  return out + "\n";
}

// Folded at 100 columns, each line indented.
std::string paragraph(const std::string& text) {
  constexpr std::size_t kWidth = 96;
  std::string out;
  std::string line;
  std::string word;
  const auto flush = [&](bool end) {
    if (!line.empty() && (end || line.size() + word.size() + 1 > kWidth)) {
      out += "    " + line + "\n";
      line.clear();
    }
  };
  for (const char c : text + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    flush(false);
    line += (line.empty() ? "" : " ") + word;
    word.clear();
  }
  flush(true);
  return out;
}

std::string heading(const JudgedClaim& judged, const Claim& claim) {
  return fmt::format("[{}] {}{}: \"{}\"{}\n", to_string(judged.verdict), judged.id,
                     claim.place.empty() ? "" : fmt::format(" ({})", claim.place), claim.text,
                     claim.value ? fmt::format(", {}", claim.value->text) : "");
}

}  // namespace

std::string format_audit(const AuditResult& result, const AuditClaims& file) {
  std::string out = fmt::format("{}\n\n", file.document);
  for (std::size_t i = 0; i < result.claims.size(); ++i) {
    const JudgedClaim& judged = result.claims[i];
    if (judged.verdict == ClaimVerdict::Holds) continue;
    out += heading(judged, file.claims[i]) + paragraph(judged.derivation);
  }
  out += result.ok() ? "" : "\n";
  for (std::size_t i = 0; i < result.claims.size(); ++i) {
    if (result.claims[i].verdict != ClaimVerdict::Holds) continue;
    out += heading(result.claims[i], file.claims[i]) + paragraph(result.claims[i].derivation);
  }
  return out + "\n" + counts(result);
}

std::string audit_json(const AuditResult& result, const AuditClaims& file) {
  nlohmann::json out = {{"document", file.document}, {"ok", result.ok()}};
  for (const ClaimVerdict verdict : kClaimVerdicts) {
    out["counts"][to_string(verdict)] = result.count(verdict);
  }
  out["claims"] = nlohmann::json::array();
  for (std::size_t i = 0; i < result.claims.size(); ++i) {
    const JudgedClaim& judged = result.claims[i];
    const Claim& claim = file.claims[i];
    nlohmann::json one = {{"id", judged.id},
                          {"kind", claim.kind},
                          {"text", claim.text},
                          {"place", claim.place},
                          {"verdict", to_string(judged.verdict)},
                          {"derivation", judged.derivation},
                          {"inconsistent_with", judged.other},
                          {"rests_on", judged.rests_on}};
    if (claim.value) one["value"] = claim.value->text;
    if (judged.right && claim.value) one["right"] = in_unit_of(*judged.right, *claim.value);
    out["claims"].push_back(std::move(one));
  }
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace pentafold
