#include "verify/audit_claims.h"

#include <gtest/gtest.h>

#include "verify/audit.h"
#include "verify/audit_facts.h"

namespace pentafold {
namespace {

constexpr const char* kClaim = "claims:\n- {id: a, text: t, kind: statement}\n";

std::string complaint(const std::string& text) {
  const auto file = parse_claims(text, "c.yaml");
  if (!file.ok()) return file.error().to_string();
  const auto result = audit(*file);
  return result.ok() ? "" : result.error().to_string();
}

std::string head(const std::string& lines) {
  return "document: d\n" + lines + "\n";
}

TEST(AuditClaims, SayWhatIsWrongWithTheFile) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{}", "document"},
      {head(""), "claims"},
      {head("modell: {}") + kClaim, "did you mean"},
      {head("model: {layer: 3}") + kClaim, "layers"},
      {head("hardware: {memory: 64 GG}") + kClaim, "unknown unit"},
      {head("strategy: {tp: 2.5}") + kClaim, "whole number"},
      {head("model: {experts: 4, top_k: 5}") + kClaim, "more than"},
      {head("assumed: {nonsense: 1..2}") + kClaim, "not an input"},
      {head("requirements: {all: 1 s}") + kClaim, "one limit"},
      {head("claims: [{id: a, text: t, kind: memry}]"), "one of"},
      {head("claims: [{id: tp, text: t, kind: statement}]"), "name of its own"},
      {head("claims: [{id: a, text: t, kind: memory, of: weihgts, value: 1}]"), "weights"},
      {head("claims: [{id: a, text: t, kind: statement}, {id: a, text: t, kind: statement}]"),
       "twice"},
      {head("claims: [{id: a, text: t, kind: requirement, requirement: x, verdict: pass}]"),
       "requirements"},
      {head("claims: [{id: a, text: t, kind: statement, subject: b}]"), "no claim"},
      {head("claims: [{id: a, text: t, kind: ratio, value: 1, derive: nowhere * 2}]"), "nowhere"},
      {head("claims: [{id: a, text: t, kind: ratio, derive: 1}]"), "needs value"},
      {head("claims: [{id: a, text: t, kind: launch}]"), "launch"},
      {head("claims: [{id: a, text: t, kind: launch, launch: ./x}]"), "launchers"},
      {head("requirements: {r: < 1 s}\nclaims: [{id: a, text: t, kind: requirement, requirement: "
            "r, verdict: pass, value: 3 GB}]"),
       "units differ"},
  };
  for (const auto& [text, word] : cases) {
    const std::string said = complaint(text);
    EXPECT_NE(said.find(word), std::string::npos) << text << "\nsays: " << said;
    EXPECT_TRUE(said.empty() || said.starts_with("c.yaml")) << said;
  }
  EXPECT_EQ(complaint(head("") + kClaim), "");
}

TEST(AuditFacts, FollowFromTheInputs) {
  FactMap in = {{"layers", 16},   {"d", 512},       {"heads", 16},          {"kv_heads", 16},
                {"head_dim", 32}, {"experts", 16},  {"top_k", 2},           {"expert_hidden", 1024},
                {"matrices", 3},  {"vocab", 32000}, {"bytes_per_param", 2}, {"pp", 4},
                {"dp", 4},        {"ep", 4}};
  const FactMap facts = derive_facts(in, Basis::Dimensions);
  EXPECT_EQ(facts.at("expert_params"), 3.0 * 512 * 1024);
  EXPECT_EQ(facts.at("attention_params"), 4.0 * 512 * 512);
  EXPECT_EQ(facts.at("gpus_folded"), 16);
  EXPECT_EQ(facts.at("experts_per_gpu"), 16);
  EXPECT_EQ(facts.at("experts_per_gpu_of_a_layer"), 4);
  EXPECT_FALSE(facts.contains("effective_flops"));
  EXPECT_FALSE(declares_another_model(in));
  in["declared_total_params"] = 10e9;
  EXPECT_TRUE(declares_another_model(in));
  EXPECT_NEAR(derive_facts(in, Basis::Declared).at("total_params"), 10e9, 1);
  EXPECT_EQ(derive_facts(in, Basis::Declared).at("least_flops_per_token"), 2 * 10e9 / 8);
}

}  // namespace
}  // namespace pentafold
