// Hand-written plans of published models: good ones pass, each broken one is refused by the check
// whose matter it is, and what cannot be checked is said.
#include "verify/verify_shape.h"

#include <gtest/gtest.h>

#include "plan/plan_file.h"
#include "spec/load_shape.h"
#include "spec/lowerable.h"

namespace pentafold {
namespace {

ModelShape shape(const std::string& name) {
  auto input = load_shape(name);
  EXPECT_TRUE(input.ok()) << name;
  return input.ok() ? std::move(input->model) : ModelShape{};
}

struct Judged {
  Verdict verdict;
  std::string text;
};

Judged judged(const std::string& model, const std::string& yaml) {
  const ModelShape m = shape(model);
  auto plan = parse_plan(yaml, "p.yaml");
  EXPECT_TRUE(plan.ok()) << plan.error().to_string();
  const Status layers = resolve_layers(*plan, m.num_layers());
  EXPECT_TRUE(layers.ok()) << layers.error().to_string();
  Judged out;
  out.verdict = verify_shape(*plan, m);
  out.text = format_verdict(out.verdict, *plan, m.name);
  return out;
}

// Refused by `check` alone, in a sentence with `words` and a line.
void expect_refused(const std::string& model, const std::string& yaml, const std::string& check,
                    const std::string& words) {
  const Judged j = judged(model, yaml);
  ASSERT_FALSE(j.verdict.ok()) << j.text;
  for (const Finding& finding : j.verdict.failures) {
    EXPECT_EQ(finding.check, check) << j.text;
    EXPECT_TRUE(finding.error.to_string().starts_with("p.yaml:")) << j.text;
  }
  EXPECT_NE(j.text.find(words), std::string::npos) << j.text;
}

constexpr const char* kBig = "device: h200-sxm\ndevice_memory: 141GB\nprecision: fp8\n";

TEST(VerifyShape, GoodPlansOfPublishedModelsPass) {
  const std::vector<std::pair<std::string, std::string>> plans = {
      {"deepseek-v3", "dp: 64\nep: 64\nkv_blocks: 8000\n"},
      {"deepseek-v3", "tp: 8\nep: 8\nkv_blocks: 4000\nplacement: spread\n"},
      {"deepseek-v3", "dp: 8\nep: 8\nstages: [{layers: 31}, {layers: 30}]\nkv_blocks: 9\n"},
      {"qwen3-235b-a22b", "dp: 2\ntp: 4\nep: 8\npp: 2\nkv_blocks: 4000\n"},
      {"gpt-oss-120b", "dp: 2\ntp: 2\nsp: 2\nep: 4\netp: 2\nkv_blocks: 4000\n"},
      {"mixtral-8x7b", "tp: 4\nep: 2\netp: 2\nkv_blocks: 4000\n"},
      {"qwen3-next-80b-a3b", "tp: 4\nkv_blocks: 4000\n"}};
  for (const auto& [model, yaml] : plans) {
    const Judged j = judged(model, kBig + yaml);
    EXPECT_TRUE(j.verdict.ok()) << model << "\n" << j.text;
    ASSERT_TRUE(j.verdict.device_bytes.has_value()) << model;
    EXPECT_GT(j.verdict.device_bytes->kv, 0.0) << model;
  }
}

TEST(VerifyShape, SaysWhatWasNotCheckedAndOnlyThen) {
  for (const auto& [model, words] :
       {std::pair("deepseek-v3", "programs of latent attention are not lowered yet"),
        std::pair("qwen3-next-80b-a3b", "programs of linear attention are not lowered yet"),
        std::pair("jamba-1.5-mini", "programs of state space layers are not lowered yet")}) {
    const Judged j = judged(model, "precision: bf16\n");
    EXPECT_TRUE(j.verdict.ok()) << j.text;
    EXPECT_NE(j.text.find(words), std::string::npos) << j.text;
    EXPECT_EQ(j.verdict.steps, 0);
  }
  for (const char* model : {"qwen3-235b-a22b", "gpt-oss-120b", "mixtral-8x7b"}) {
    const Judged j = judged(model, "precision: bf16\ntp: 2\nep: 2\n");
    EXPECT_TRUE(j.verdict.not_checked.empty());
    EXPECT_GT(j.verdict.steps, 0);
    EXPECT_GT(j.verdict.collectives, 0);
  }
}

TEST(VerifyShape, DegreesThatDoNotFoldAreRefused) {
  for (const char* model : {"deepseek-v3", "qwen3-235b-a22b", "gpt-oss-120b", "mixtral-8x7b"}) {
    expect_refused(model, "dp: 3\nep: 3\n", "folding", "ep = 3 does not divide");
    expect_refused(model, "tp: 2\nep: 4\n", "folding", "does not fold onto");
    expect_refused(model, "tp: 7\nep: 1\n", "folding", "tp = 7 does not divide");
  }
  expect_refused("qwen3-next-80b-a3b", "tp: 32\nep: 32\n", "folding", "attention heads");
  const Judged one_head = judged("deepseek-v3", "tp: 5\nep: 1\n");
  EXPECT_NE(one_head.text.find("dense MLP"), std::string::npos) << one_head.text;
  EXPECT_NE(one_head.text.find("shared expert"), std::string::npos) << one_head.text;
}

TEST(VerifyShape, TablesOfExpertsAreJudged) {
  const std::string head = "placement: explicit\ndp: 2\nep: 2\nstages:\n  - layers: ";
  std::string table = "61\n    experts:\n";
  for (int e = 0; e < 255; ++e) {
    table +=
        "      - {expert: " + std::to_string(e) + ", copies: [" + std::to_string(e % 2) + "]}\n";
  }
  expect_refused("deepseek-v3", head + table, "placement", "expert 255: no live copy");
  const std::string whole = head + table + "      - {expert: 255, copies: [1]}\n";
  EXPECT_TRUE(judged("deepseek-v3", whole).verdict.ok());
  expect_refused("deepseek-v3", whole + "      - {expert: 3, copies: [1]}\n", "placement",
                 "rank 1 appears twice");
  expect_refused("deepseek-v3", whole + "      - {expert: 256, copies: [1]}\n", "placement",
                 "the model has experts 0..255");
}

// A table with further copies takes the memory of those copies, on the rank that holds them.
TEST(VerifyShape, CopiesTakeMemory) {
  const std::string head =
      "precision: fp8\nplacement: explicit\ndp: 2\nep: 2\nstages:\n"
      "  - layers: 61\n    experts:\n";
  std::string even = head;
  std::string copied = head;
  for (int e = 0; e < 256; ++e) {
    const std::string entry = "      - {expert: " + std::to_string(e) + ", copies: [";
    even += entry + std::to_string(e / 128) + "]}\n";
    copied += entry + (e == 0 ? "0, 1" : std::to_string(e / 128)) + "]}\n";
  }
  const double blocked =
      judged("deepseek-v3", "precision: fp8\ndp: 2\n").verdict.device_bytes->weights;
  EXPECT_DOUBLE_EQ(judged("deepseek-v3", even).verdict.device_bytes->weights, blocked);
  const double expert_bytes = 58 * 3.0 * 7168 * 2048 * bytes_per_value(NumberFormat::FP8);
  EXPECT_NEAR(judged("deepseek-v3", copied).verdict.device_bytes->weights - blocked, expert_bytes,
              1.0);
}

TEST(VerifyShape, TooLittleMemoryIsRefusedWithNumbers) {
  for (const auto& [model, small] :
       {std::pair("deepseek-v3", "80GB"), std::pair("qwen3-235b-a22b", "24GB"),
        std::pair("gpt-oss-120b", "12GB"), std::pair("mixtral-8x7b", "5GB")}) {
    const std::string plan = "tp: 8\nep: 8\nprecision: fp8\nkv_blocks: 100\n";
    expect_refused(model, plan + "device_memory: " + small + "\n", "fit", "too little");
    EXPECT_TRUE(judged(model, plan + "device_memory: 150GB\n").verdict.ok());
  }
  // The cache counts, block by block.
  const std::string cache = "tp: 8\nprecision: fp8\ndevice_memory: 141GB\nkv_blocks: ";
  EXPECT_TRUE(judged("deepseek-v3", cache + "10000\n").verdict.ok());
  expect_refused("deepseek-v3", cache + "100000\n", "fit", "lower kv_blocks");
  expect_refused("deepseek-v3",
                 cache + "10\nrequests: {count: 1, prompt_tokens: 1000, max_tokens: 1}\n", "fit",
                 "raise kv_blocks");
}

// Blocks are what the cache of a model without windows is made of, whatever the batch.
TEST(VerifyShape, KvOfBlocksDoesNotDependOnTheBatch) {
  const double tokens = 16 * 1001;
  for (const int batch : {1, 3, 64, 5000}) {
    const Judged j =
        judged("deepseek-v3",
               "precision: bf16\nkv_blocks: 1001\nmax_batch: " + std::to_string(batch) + "\n");
    EXPECT_NEAR(j.verdict.device_bytes->kv, tokens * 61 * 576 * 2, 16.0) << batch;
  }
}

// All of them, by programs or by saying what was left out.
TEST(VerifyShape, EveryModelOfTheCatalogHasAVerdict) {
  int lowered = 0;
  for (const CatalogModel& model : catalog_models()) {
    const Judged j = judged(model.name, "precision: bf16\n");
    EXPECT_TRUE(j.verdict.ok()) << j.text;
    EXPECT_EQ(lowerable(model.shape).ok(), j.verdict.not_checked.empty()) << model.name;
    lowered += j.verdict.steps > 0 ? 1 : 0;
  }
  EXPECT_GE(lowered, 25);
}

}  // namespace
}  // namespace pentafold
