// A correct document whose every claim holds; then one planted error at a time, each found, and
// nothing else called wrong for it.
#include "verify/audit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

namespace pentafold {
namespace {

// 8 layers of 8 experts, top-2, d 256, hidden 512, 2 matrices, vocabulary 1000: counted by hand,
// attention 4 x 256 x 256, router 2048, expert 2 x 256 x 512, norms 512.
constexpr const char* kHead = R"(
document: a correct document
model: {layers: 8, experts: 8, top_k: 2, d: 256, heads: 8, head_dim: 32, expert_hidden: 512,
        matrices: 2, vocab: 1000, bytes_per_param: 2}
hardware: {gpu_flops: 100 TFLOPS, mfu: 50%, memory: 16 GB, bandwidth: 1 TB/s,
           bandwidth_utilisation: 80%, gpus_available: 32}
workload: {batch: 64, min_tokens: 128, max_tokens: 1024}
strategy: {pp: 2, tp: 2, dp: 2, ep: 4, replicas: 2, microbatches: 4}
requirements: {throughput: ">= 40 tokens/ms/GPU", memory: "< 16 GB", ttft: "<= 2 s"}
claims:
)";

// Of each claim, the line that may be replaced stands alone.
struct Line {
  std::string id;
  std::string rest;
  std::string value;
};

std::vector<Line> correct_claims() {
  return {
      {"c_layers", "kind: input, of: layers", "8 layers"},
      {"c_peak", "kind: hardware, of: effective_flops", "50 TFLOPS"},
      {"c_band", "kind: hardware, of: effective_bandwidth", "0.8 TB/s"},
      {"c_params", "kind: params, of: total", "19.4 M"},
      {"c_expert", "kind: params, of: expert", "262,144"},
      {"c_weights", "kind: memory, of: weights, derive: c_params * 2", "38.8 MB"},
      {"c_total", "kind: count, of: experts_total, derive: 8 * 8", "64 experts"},
      {"c_per_gpu", "kind: count, of: experts_per_gpu", "2 experts"},
      {"c_stage", "kind: count, of: layers_per_stage", "4 layers"},
      {"c_heads", "kind: count, of: heads_per_gpu", "4 heads"},
      {"c_ep", "kind: degrees, of: ep", "4"},
      {"c_tp", "kind: degrees, of: tp", "2"},
      {"c_pp", "kind: degrees, of: pp", "2"},
      {"c_gpus", "kind: gpus, of: total, quantity: gpus_used", "16 GPUs"},
      {"c_gpus_again", "kind: gpus, quantity: gpus_used", "16 GPUs"},
      {"c_spare", "kind: gpus, of: unused", "16 GPUs"},
      {"c_share", "kind: utilisation, of: gpus, given: {used: c_gpus}", "50 %"},
      {"c_bubble", "kind: utilisation, of: bubble", "20 %"},
      {"c_kv", "kind: memory, of: kv_per_token", "8192 bytes"},
      {"c_kv_all", "kind: memory, of: kv_total", "537 MB"},
      {"c_speed", "kind: throughput, of: total, given: {per_gpu: c_one}", "800 tokens/ms"},
      {"c_one", "kind: throughput, of: per_gpu, given: {total: c_speed}", "50 tokens/ms/GPU"},
      {"c_forward", "kind: latency, of: forward, given: {per_layer: 2 ms}", "16 ms"},
      {"c_gain", "kind: ratio, of: improvement, given: {from: 20, to: 50}", "150 %"},
      {"c_factor", "kind: ratio, of: multiple, given: {from: 20, to: 50}", "2.5x"},
      {"c_launch", "kind: launch, launch: torchrun --nproc_per_node 8 --nnodes 2", "16 GPUs"},
      {"c_setting", "kind: setting, quantity: chunk", "512 tokens"},
      {"c_setting_again", "kind: setting, quantity: chunk", "512 tokens"},
      {"c_tick", "kind: requirement, requirement: throughput, verdict: pass, subject: c_one", ""},
      {"c_all", "kind: requirement, requirement: all, verdict: pass", ""},
  };
}

std::string text_of(const std::vector<Line>& lines) {
  std::string out = kHead;
  for (const Line& line : lines) {
    out += fmt::format("  - {{id: {}, text: t, {}{}}}\n", line.id, line.rest,
                       line.value.empty() ? "" : fmt::format(", value: \"{}\"", line.value));
  }
  return out;
}

AuditResult audited(const std::string& text) {
  const auto file = parse_claims(text, "claims.yaml");
  if (!file.ok()) {
    ADD_FAILURE() << file.error().to_string();
    return {};
  }
  const auto result = audit(*file);
  if (!result.ok()) {
    ADD_FAILURE() << result.error().to_string();
    return {};
  }
  return *result;
}

std::map<std::string, ClaimVerdict> not_holding(const AuditResult& result) {
  std::map<std::string, ClaimVerdict> out;
  for (const JudgedClaim& claim : result.claims) {
    if (claim.verdict != ClaimVerdict::Holds) out[claim.id] = claim.verdict;
  }
  return out;
}

AuditResult with(const std::string& id, const std::string& value, const std::string& rest = {}) {
  std::vector<Line> lines = correct_claims();
  for (Line& line : lines) {
    if (line.id != id) continue;
    line.value = value;
    if (!rest.empty()) line.rest = rest;
  }
  return audited(text_of(lines));
}

TEST(Audit, ACorrectDocumentHolds) {
  const AuditResult result = audited(text_of(correct_claims()));
  for (const JudgedClaim& claim : result.claims) {
    EXPECT_EQ(claim.verdict, ClaimVerdict::Holds) << claim.id << ": " << claim.derivation;
    EXPECT_FALSE(claim.derivation.empty()) << claim.id;
  }
  EXPECT_TRUE(result.ok());
}

struct Plant {
  std::string id;
  std::string value;
  ClaimVerdict verdict;
};

TEST(Audit, OnePlantedErrorIsFoundAndNothingElse) {
  const std::vector<Plant> plants = {
      {"c_layers", "10 layers", ClaimVerdict::Inconsistent},
      {"c_peak", "65 TFLOPS", ClaimVerdict::Wrong},
      {"c_band", "1.0 TB/s", ClaimVerdict::Wrong},
      {"c_params", "25.2 M", ClaimVerdict::Wrong},
      {"c_expert", "340,787", ClaimVerdict::Wrong},
      {"c_weights", "50.4 MB", ClaimVerdict::Wrong},
      {"c_total", "72 experts", ClaimVerdict::Wrong},
      {"c_per_gpu", "1 expert", ClaimVerdict::Wrong},
      {"c_stage", "5 layers", ClaimVerdict::Wrong},
      {"c_heads", "8 heads", ClaimVerdict::Wrong},
      {"c_ep", "3", ClaimVerdict::Impossible},
      {"c_ep", "2", ClaimVerdict::Inconsistent},
      {"c_tp", "3", ClaimVerdict::Impossible},
      {"c_pp", "16", ClaimVerdict::Impossible},
      {"c_pp", "4", ClaimVerdict::Inconsistent},
      {"c_gpus", "20 GPUs", ClaimVerdict::Wrong},
      {"c_gpus_again", "17 GPUs", ClaimVerdict::Inconsistent},
      {"c_spare", "8 GPUs", ClaimVerdict::Wrong},
      {"c_share", "65 %", ClaimVerdict::Wrong},
      {"c_share", "130 %", ClaimVerdict::Impossible},
      {"c_bubble", "15 %", ClaimVerdict::Wrong},
      {"c_kv", "16384 bytes", ClaimVerdict::Wrong},
      {"c_kv_all", "640 MB", ClaimVerdict::Wrong},
      {"c_forward", "8 ms", ClaimVerdict::Wrong},
      {"c_gain", "250 %", ClaimVerdict::Wrong},
      {"c_factor", "2.7x", ClaimVerdict::Wrong},
      {"c_launch", "8 GPUs", ClaimVerdict::Wrong},
      {"c_setting_again", "1024 tokens", ClaimVerdict::Inconsistent},
  };
  for (const Plant& plant : plants) {
    const AuditResult result = with(plant.id, plant.value);
    const std::map<std::string, ClaimVerdict> wanted = {{plant.id, plant.verdict}};
    EXPECT_EQ(not_holding(result), wanted) << plant.id << " = " << plant.value;
  }
}

TEST(Audit, AFlippedVerdictIsFound) {
  const std::string rest = "kind: requirement, requirement: throughput, subject: c_one, verdict: ";
  EXPECT_EQ(not_holding(with("c_tick", "", rest + "fail")),
            (std::map<std::string, ClaimVerdict>{{"c_tick", ClaimVerdict::Wrong}}));
  // Held against a value of all devices: 400 tokens/ms over 16 are 25 each.
  const auto total = not_holding(with("c_tick", "400 tokens/ms", rest + "pass"));
  EXPECT_EQ(total,
            (std::map<std::string, ClaimVerdict>{{"c_tick", ClaimVerdict::RequirementNotMet},
                                                 {"c_all", ClaimVerdict::RequirementNotMet}}));
  EXPECT_TRUE(not_holding(with("c_tick", "400 tokens/ms", rest + "fail")).contains("c_all"));
  // 39 is near 40, 30 is not.
  EXPECT_FALSE(not_holding(with("c_tick", "39 tokens/ms/GPU", rest + "near")).contains("c_tick"));
  EXPECT_TRUE(not_holding(with("c_tick", "30 tokens/ms/GPU", rest + "near")).contains("c_tick"));
}

TEST(Audit, BoundsCannotBePassed) {
  // By hand: 8 layers x (4 x 256 x 256 + 2048 + 2 experts + 2 norms) + head and final norm,
  // 6.6 M parameters that multiply: 50e12 / 13.2e6 is 3,800 tokens/ms.
  EXPECT_EQ(
      not_holding(with("c_setting", "3000 tokens/ms/GPU", "kind: throughput, phase: prefill")),
      (std::map<std::string, ClaimVerdict>{{"c_setting", ClaimVerdict::Unsupported}}));
  EXPECT_EQ(
      not_holding(with("c_setting", "4500 tokens/ms/GPU", "kind: throughput, phase: prefill")),
      (std::map<std::string, ClaimVerdict>{{"c_setting", ClaimVerdict::Impossible}}));
  // Decode: 32 sequences a replica and 13.2 MB a step at 0.8 TB/s are 1,940 tokens/ms.
  EXPECT_EQ(not_holding(with("c_setting", "3000 tokens/ms/GPU", "kind: throughput, phase: decode")),
            (std::map<std::string, ClaimVerdict>{{"c_setting", ClaimVerdict::Impossible}}));
  EXPECT_EQ(not_holding(with("c_setting", "17 GB", "kind: memory, of: per_gpu")),
            (std::map<std::string, ClaimVerdict>{{"c_setting", ClaimVerdict::Impossible}}));
  EXPECT_EQ(
      not_holding(with("c_setting", "1 us", "kind: latency, of: ttft, given: {tokens: 10000}")),
      (std::map<std::string, ClaimVerdict>{{"c_setting", ClaimVerdict::Impossible}}));
}

TEST(Audit, OtherKindsOfVerdict) {
  const auto one = [](const std::string& value, const std::string& rest) {
    const auto found = not_holding(with("c_setting", value, rest));
    EXPECT_TRUE(found.empty() || (found.size() == 1 && found.contains("c_setting")));
    return found.empty() ? ClaimVerdict::Holds : found.begin()->second;
  };
  EXPECT_EQ(one("2 GB", "kind: training"), ClaimVerdict::TrainingOnly);
  EXPECT_EQ(one("99 %", "kind: statement"), ClaimVerdict::Unsupported);
  EXPECT_EQ(one("100 tokens/ms/GPU", "kind: throughput, of: scaled, given: {from: c_one}"),
            ClaimVerdict::Wrong);
  EXPECT_EQ(one("2 tokens", "kind: communication, of: expert_exchange"), ClaimVerdict::Wrong);
  EXPECT_EQ(one("1 layer", "kind: communication, of: tensor_reduce"), ClaimVerdict::Holds);
  EXPECT_EQ(one("0.8 TB/s", "kind: communication, of: link_bandwidth"), ClaimVerdict::Wrong);
  EXPECT_EQ(one("16 GPUs", "kind: launch, launch: deepspeed --num_gpus=16 --num_nodes=2"),
            ClaimVerdict::Wrong);
  EXPECT_EQ(one("16 GPUs", "kind: launch, launch: mpirun -np 16 x --tp_size=4"),
            ClaimVerdict::Inconsistent);
}

// A claim that follows from a wrong one is not wrong again, and says what it rests on.
TEST(Audit, OneErrorOneVerdict) {
  const AuditResult result = with("c_peak", "65 TFLOPS");
  EXPECT_EQ(result.count(ClaimVerdict::Wrong), 1U);
  std::vector<Line> lines = correct_claims();
  lines.push_back({"c_all_peak", "kind: hardware, derive: c_peak * 16", "1.04 PFLOPS"});
  for (Line& line : lines) {
    if (line.id == "c_peak") line.value = "65 TFLOPS";
  }
  const AuditResult follower = audited(text_of(lines));
  EXPECT_EQ(follower.claims.back().verdict, ClaimVerdict::Holds);
  EXPECT_EQ(follower.claims.back().rests_on, std::vector<std::string>{"c_peak"});
  lines.back().value = "0.8 PFLOPS";  // right where c_peak is not
  EXPECT_EQ(audited(text_of(lines)).claims.back().verdict, ClaimVerdict::Holds);
  lines.back().value = "0.9 PFLOPS";
  EXPECT_EQ(audited(text_of(lines)).claims.back().verdict, ClaimVerdict::Wrong);
}

// What was only assumed makes nothing wrong.
TEST(Audit, AssumedRangesAreAllowedFor) {
  std::string text = text_of(correct_claims());
  text.replace(text.find("claims:"), 7, "assumed: {vocab: 1..100000}\nclaims:");
  EXPECT_TRUE(not_holding(audited(text)).empty());
  text.replace(text.find("19.4 M"), 6, "60.0 M");
  EXPECT_FALSE(not_holding(audited(text)).contains("c_params"));
  text.replace(text.find("60.0 M"), 6, "99.0 M");
  EXPECT_TRUE(not_holding(audited(text)).contains("c_params"));
}

TEST(Audit, TheReportNamesEveryClaim) {
  const auto file = parse_claims(text_of(correct_claims()), "claims.yaml");
  ASSERT_TRUE(file.ok());
  const auto result = audit(*file);
  ASSERT_TRUE(result.ok());
  const std::string report = format_audit(*result, *file);
  const std::string json = audit_json(*result, *file);
  for (const Line& line : correct_claims()) {
    EXPECT_NE(report.find("] " + line.id), std::string::npos);
    EXPECT_NE(json.find("\"" + line.id + "\""), std::string::npos);
  }
  EXPECT_NE(report.find("30 claims: 30 holds, 0 wrong"), std::string::npos) << report;
}

// In each of the five documents: whatever claim that holds is changed by 30 %, it no longer holds,
// and no other claim falls with it that is not tied to it.
TEST(Audit, PlantedErrorsInTheFiveDocuments) {
  for (const std::string letter : {"a", "b", "c", "d", "e"}) {
    const auto path =
        std::filesystem::path(PENTAFOLD_SOURCE_DIR) / "specs" / "seeds" / (letter + ".claims.yaml");
    const auto file = load_claims(path.string());
    ASSERT_TRUE(file.ok()) << file.error().to_string();
    const auto before = audit(*file);
    ASSERT_TRUE(before.ok()) << before.error().to_string();
    std::size_t missed = 0;
    std::size_t planted = 0;
    for (std::size_t i = 0; i < file->claims.size(); ++i) {
      const Claim& claim = file->claims[i];
      const bool plain = claim.value && claim.value->comparison == Comparison::Equal;
      const bool decision = claim.kind == "setting" || (claim.kind == "input" && claim.of.empty());
      if (before->claims[i].verdict != ClaimVerdict::Holds || !plain || decision ||
          claim.value->low == 0 || claim.kind == "requirement") {
        continue;
      }
      AuditClaims changed = *file;
      constexpr double kError = 1.3;
      changed.claims[i].value->low *= kError;
      changed.claims[i].value->high *= kError;
      changed.claims[i].value->half_digit /= 10;  // 0.02 becomes 0.026, not 0.03
      const auto after = audit(changed);
      ASSERT_TRUE(after.ok());
      ++planted;
      if (after->claims[i].verdict == ClaimVerdict::Holds) {
        ++missed;
        ADD_FAILURE() << letter << ": " << claim.id << " at " << claim.value->text
                      << " x 1.3 still holds: " << after->claims[i].derivation;
      }
      for (std::size_t j = 0; j < file->claims.size(); ++j) {
        if (j == i || before->claims[j].verdict != ClaimVerdict::Holds) continue;
        EXPECT_EQ(after->claims[j].verdict, ClaimVerdict::Holds)
            << letter << ": " << claim.id << " x 1.3 makes " << claim.id << " -> "
            << file->claims[j].id << " fall: " << after->claims[j].derivation;
      }
    }
    EXPECT_EQ(missed, 0U) << letter << ": of " << planted;
    EXPECT_GT(planted, 20U) << letter;
  }
}

}  // namespace
}  // namespace pentafold
