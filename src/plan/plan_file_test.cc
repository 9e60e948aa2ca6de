#include "plan/plan_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "plan/plan_settings.h"

namespace pentafold {
namespace {

Plan parsed(const std::string& yaml) {
  auto plan = parse_plan(yaml, "plans/some.yaml");
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return plan.ok() ? *plan : Plan{};
}

Plan short_plan(const std::string& text) {
  auto plan = parse_plan_shorthand(text);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return plan.ok() ? *plan : Plan{};
}

// The whole complaint, "file:line: sentence".
std::string complaint(const std::string& yaml) {
  const auto plan = parse_plan(yaml, "p.yaml");
  EXPECT_FALSE(plan.ok()) << "accepted:\n" << yaml;
  return plan.ok() ? "" : plan.error().to_string();
}

void expect_says(const std::string& said, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(said.find(part), std::string::npos) << said;
}

// What a plan file must say to give `plan` again: the test's own writer, for round trips.
std::string to_yaml(const Plan& plan) {
  std::string out = "replicas: " + std::to_string(plan.replicas) + "\nstages:\n";
  for (const StagePlan& stage : plan.stages) {
    const auto field = [&](const char* name, std::int64_t value) {
      out += std::string(", ") + name + ": " + std::to_string(value);
    };
    out += "  - {layers: " + std::to_string(stage.layers);
    field("dp", stage.dp);
    field("sp", stage.sp);
    field("tp", stage.tp);
    field("ep", stage.ep);
    field("etp", stage.etp);
    out += stage.placement == PlacementStyle::Spread ? ", placement: spread}\n" : "}\n";
  }
  return out;
}

TEST(PlanFile, FiveLinesAreAPlan) {
  const Plan plan = parsed("model: ../models/tiny\npp: 2\ndp: 2\ntp: 2\nmicrobatches: 4\n");
  ASSERT_EQ(plan.stages.size(), 2U);
  for (const StagePlan& stage : plan.stages) {
    EXPECT_EQ(stage.layers, 0);
    EXPECT_EQ(stage.ranks(), 4);
    EXPECT_EQ(stage.ep, 4);
    EXPECT_EQ(stage.etp, 1);
    EXPECT_EQ(stage.edp(), 1);
    EXPECT_EQ(stage.placement, PlacementStyle::Blocked);
    EXPECT_EQ(stage.line, 2);
  }
  EXPECT_EQ(plan.model, "models/tiny");
  EXPECT_EQ(plan.microbatches, 4);
  EXPECT_EQ(plan.world(), 8);
  EXPECT_EQ(plan.weights, WeightFormats{});
  EXPECT_EQ(plan.kv, std::nullopt);
  EXPECT_EQ(plan.capacity_factor, std::nullopt);
}

TEST(PlanFile, EveryRunSettingArrives) {
  const Plan plan = parsed(
      "model: /models/big\nreplicas: 3\nmicrobatches: 2\nprefill_chunk: 48\nmax_batch: 7\n"
      "kv_blocks: 99\nweights: bf16\nkv: int8\ncapacity_factor: 1.25\noverflow: next_best\n"
      "device_memory: 64GiB\nrequests: {count: 5, prompt_tokens: 11, max_tokens: 13, seed: 17}\n");
  EXPECT_EQ(plan.model, "/models/big");
  EXPECT_EQ(plan.replicas, 3);
  EXPECT_EQ(plan.prefill_chunk, 48);
  EXPECT_EQ(plan.max_batch, 7);
  EXPECT_EQ(plan.kv_blocks, 99);
  EXPECT_EQ(plan.weights, weights_in(NumberFormat::BF16));
  EXPECT_EQ(plan.kv, NumberFormat::INT8);
  EXPECT_EQ(plan.capacity_factor, 1.25);
  EXPECT_EQ(plan.overflow, OverflowPolicy::NextBest);
  EXPECT_EQ(plan.device_memory_bytes, std::int64_t{64} << 30);
  EXPECT_EQ(plan.requests.requests, 5);
  EXPECT_EQ(plan.requests.prompt_tokens, 11);
  EXPECT_EQ(plan.requests.max_tokens, 13);
  EXPECT_EQ(plan.requests.seed, 17U);
}

TEST(PlanFile, PrecisionIsAWordOrAMapping) {
  const auto precision = [](const std::string& yaml) { return parsed(yaml).precision.value(); };
  constexpr NumberFormat kBf16 = NumberFormat::BF16;
  constexpr NumberFormat kFp8 = NumberFormat::FP8;
  EXPECT_EQ(precision("precision: fp8\n"), (Precision{kFp8, kFp8, kBf16, kBf16}));
  EXPECT_EQ(precision("precision: f32\n"),
            (Precision{NumberFormat::F32, NumberFormat::F32, NumberFormat::F32, kBf16}));
  EXPECT_EQ(precision("precision: {experts: mxfp4, kv: fp8}\n"),
            (Precision{NumberFormat::MXFP4, kBf16, kBf16, kFp8}));
  EXPECT_EQ(short_plan("precision=fp8,device=h200-sxm").precision,
            (Precision{kFp8, kFp8, kBf16, kBf16}));
  EXPECT_EQ(short_plan("precision=fp8,device=h200-sxm").device, "h200-sxm");
  EXPECT_EQ(parsed("prefill_pool: pool.yaml\n").prefill_pool, "plans/pool.yaml");
  expect_says(complaint("tp: 1\nprecision: fp9\n"), {"p.yaml:2: ", "\"fp8\""});
  expect_says(complaint("precision:\n  expert: fp8\n"), {"p.yaml:2: ", "\"experts\""});
  expect_says(complaint("precision: {kv: 8}\n"), {"p.yaml:1: ", "number format"});
  expect_says(complaint("weights: bf16\nprecision: bf16\n"), {"p.yaml:2: ", "keep one"});
  expect_says(complaint("precision: [fp8]\n"), {"p.yaml:1: "});
  expect_says(complaint("kv: bf16\nprecision: bf16\n"), {"p.yaml:2: ", "keep one"});
  expect_says(complaint("kv: fp8\n"), {"p.yaml:1: ", "f32, bf16, f16, int8"});
  expect_says(complaint("device: \"a b\"\n"), {"p.yaml:1: ", "h200-sxm"});
  expect_says(complaint("prefill_pool: ''\n"), {"p.yaml:1: ", "plan file"});
  EXPECT_FALSE(parse_plan_shorthand("precision=fp8,weights=bf16").ok());
}

TEST(PlanFile, StagesOverrideDefaultsAndRepeat) {
  const Plan plan = parsed(
      "tp: 2\nep: 2\nplacement: spread\nstages:\n  - {layers: 3, repeat: 2}\n"
      "  - layers: 4\n    dp: 2\n    ep: 4\n    placement: blocked\n");
  ASSERT_EQ(plan.stages.size(), 3U);
  EXPECT_EQ(plan.stages[1].layers, 3);
  EXPECT_EQ(plan.stages[1].tp, 2);
  EXPECT_EQ(plan.stages[1].placement, PlacementStyle::Spread);
  EXPECT_EQ(plan.stages[1].line, 5);
  EXPECT_EQ(plan.stages[2].ranks(), 4);
  EXPECT_EQ(plan.stages[2].ep, 4);
  EXPECT_EQ(plan.stages[2].placement, PlacementStyle::Blocked);
  EXPECT_EQ(plan.stages[2].line, 6);
  EXPECT_EQ(plan.ranks_per_replica(), 2 + 2 + 4);
}

TEST(PlanFile, ExplicitPlacementKeepsCopiesBackupsAndLines) {
  const Plan plan = parsed(
      "dp: 6\nep: 3\netp: 2\nplacement: explicit\nstages:\n  - layers: 2\n    experts:\n"
      "      - {layer: 1, expert: 7, copies: [[0, 1], [4, 5]], backups: [[2, 3]]}\n"
      "      - {layer: all, expert: 0, copies: [3]}\n");
  ASSERT_EQ(plan.stages.size(), 1U);
  const auto& entries = plan.stages[0].explicit_placement;
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].layer, 1);
  EXPECT_EQ(entries[0].expert, 7);
  EXPECT_EQ(entries[0].line, 8);
  const std::vector<ExpertCopy> wanted = {{.ranks = {0, 1}, .backup = false},
                                          {.ranks = {4, 5}, .backup = false},
                                          {.ranks = {2, 3}, .backup = true}};
  EXPECT_EQ(entries[0].copies, wanted);
  EXPECT_EQ(entries[1].layer, -1);
  EXPECT_EQ(entries[1].copies, std::vector<ExpertCopy>{{.ranks = {3}}});
}

// The file does not infer dp, the shorthand does: docs/plan-format.md states both.
TEST(PlanFile, MeshDefaultsDifferFromTheShorthandOnlyInDp) {
  const Plan file = parsed("tp: 2\nep: 4\n");
  EXPECT_EQ(file.stages[0].dp, 1);
  EXPECT_EQ(file.stages[0].ep, 4);
  const Plan word = short_plan("tp=2,ep=4");
  EXPECT_EQ(word.stages[0].dp, 2);
  EXPECT_EQ(word.stages[0].tp, 2);
  EXPECT_EQ(word.stages[0].ep, 4);
  EXPECT_EQ(word.stages[0].etp, 1);
  EXPECT_EQ(word.world(), 4);
  EXPECT_TRUE(word.file.empty());
}

// Where ep is left out it takes what etp leaves, and never makes a pair look right that is not.
TEST(PlanFile, DefaultEpFillsTheStageOrLeavesAProductThatCannotDivide) {
  for (std::int64_t dp = 1; dp <= 12; ++dp) {
    for (std::int64_t etp = 1; etp <= 12; ++etp) {
      const Plan plan = parsed("dp: " + std::to_string(dp) + "\netp: " + std::to_string(etp));
      const StagePlan& stage = plan.stages[0];
      const bool divides = dp % (stage.ep * stage.etp) == 0;
      EXPECT_EQ(divides, dp % etp == 0) << dp << " " << etp;
      EXPECT_EQ(divides ? stage.ep * stage.etp : dp, dp);
    }
  }
}

TEST(PlanFile, ByteSizes) {
  const std::vector<std::pair<std::string, std::int64_t>> sizes = {{"1", 1},
                                                                   {"512B", 512},
                                                                   {"1kB", 1000},
                                                                   {"2KiB", 2048},
                                                                   {"1.5GB", 1500000000},
                                                                   {"3 MiB", 3 << 20},
                                                                   {"64GB", 64000000000},
                                                                   {"2TiB", std::int64_t{2} << 40},
                                                                   {"123456789012", 123456789012}};
  for (const auto& [text, bytes] : sizes) {
    const auto read = parse_byte_size(text);
    ASSERT_TRUE(read.ok()) << text;
    EXPECT_EQ(*read, bytes) << text;
  }
  for (const char* text : {"", "GB", "-1GB", "1gb", "1..5GB", "1GBx", "1e30", "nan", "inf",
                           "99999999TB", "0", "0.5"}) {
    EXPECT_FALSE(parse_byte_size(text).ok()) << text;
  }
}

TEST(PlanFile, RefusesContradictionsWithLineAndRemedy) {
  expect_says(complaint("tp: 2\npp: 2\nstages: [{layers: 1}]\n"), {"p.yaml:2: ", "keep one"});
  expect_says(complaint("stages:\n  - {tp: 2}\n"), {"p.yaml:2: ", "layers: n", "pp"});
  expect_says(complaint("stages: []\n"), {"p.yaml:1: ", "empty"});
  expect_says(complaint("stages: 3\n"), {"p.yaml:1: ", "list"});
  expect_says(complaint("stages: [3]\n"), {"p.yaml:1: "});
  expect_says(complaint("dp: 1\nplacement: explicit\npp: 2\n"), {"p.yaml:2: ", "stages"});
  expect_says(complaint("placement: explicit\nstages:\n  - {layers: 1}\n"),
              {"p.yaml:3: ", "experts"});
  expect_says(complaint("stages:\n  - layers: 1\n    experts: []\n"),
              {"p.yaml:3: ", "placement: explicit"});
}

TEST(PlanFile, RefusesUnknownKeysWithTheNearest) {
  expect_says(complaint("tp: 1\nmicro_batches: 2\n"), {"p.yaml:2: ", "\"microbatches\""});
  expect_says(complaint("stages:\n  - {layers: 1, placment: spread}\n"), {":2: ", "\"placement\""});
  expect_says(complaint("requests: {count: 1, prompt_token: 2, max_tokens: 1}\n"),
              {":1: ", "\"prompt_tokens\""});
  expect_says(complaint("placement: explicit\nstages:\n  - layers: 1\n    experts:\n"
                        "      - {expert: 0, copy: [[0]]}\n"),
              {":5: ", "unknown key \"copy\""});
  expect_says(complaint("weights: bf15\n"), {":1: ", "\"bf16\""});
  expect_says(complaint("overflow: dropp\n"), {":1: ", "\"drop\""});
}

TEST(PlanFile, RefusesWrongTypesAndRanges) {
  for (const char* yaml : {"tp: two\n",
                           "tp: [2]\n",
                           "tp: 2.5\n",
                           "tp: -1\n",
                           "tp: 0\n",
                           "tp: 4097\n",
                           "tp:\n",
                           "tp: 99999999999999999999\n",
                           "dp: 4096\nsp: 4096\n",
                           "pp: 1025\n",
                           "replicas: 65537\n",
                           "pp: 2\nreplicas: 65536\n",
                           "model: [a]\n",
                           "model: ''\n",
                           "microbatches: 0\n",
                           "prefill_chunk: 0\n",
                           "max_batch: 0\n",
                           "kv_blocks: -1\n",
                           "capacity_factor: 0\n",
                           "capacity_factor: -1\n",
                           "capacity_factor: .inf\n",
                           "capacity_factor: .nan\n",
                           "device_memory: 64XB\n",
                           "device_memory: {}\n",
                           "requests: 3\n",
                           "requests: {}\n",
                           "requests: {count: 1, prompt_tokens: 0, max_tokens: 1}\n",
                           "requests: {count: 1000000, prompt_tokens: 10000000, max_tokens: 1}\n",
                           "requests: {count: 1, prompt_tokens: 1, max_tokens: 1, seed: -1}\n",
                           "placement: 3\n",
                           "stages: [{layers: 0}]\n",
                           "stages: [{layers: 1, repeat: 0}]\n",
                           "stages: [{layers: 1, repeat: 1024}, {layers: 1}]\n",
                           "- tp: 2\n",
                           "tp 2\n",
                           "",
                           "3\n",
                           "tp: 1\ntp: 2\n",
                           "tp: 2\n---\ntp: 2\n",
                           "tp: {\n",
                           "\"\\x00\"\n"}) {
    const auto plan = parse_plan(yaml, "p.yaml");
    ASSERT_FALSE(plan.ok()) << yaml;
    EXPECT_EQ(plan.error().code, ErrorCode::InvalidSpec) << yaml;
    EXPECT_EQ(plan.error().file, "p.yaml") << yaml;
    EXPECT_FALSE(plan.error().message.empty());
  }
}

TEST(PlanFile, RefusesBrokenExpertTables) {
  for (const char* entry :
       {"{}", "{expert: 1}", "{expert: -1, copies: [0]}", "{expert: 1, copies: []}",
        "{expert: 1, copies: [[]]}", "{expert: 1, copies: [[a]]}", "{expert: 1, copies: [[-1]]}",
        "{expert: 1, copies: [[65536]]}", "{expert: 1, copies: [[[0]]]}",
        "{expert: 1, copies: {a: 1}}", "{expert: 1, copies: 0}",
        "{expert: 1, copies: [0], backups: [[]]}", "{expert: 1, copies: [0], layer: some}",
        "{expert: 1, copies: [0], layer: -1}", "3"}) {
    const std::string yaml =
        std::string("placement: explicit\nstages:\n  - layers: 1\n    experts:\n      - ") + entry;
    expect_says(complaint(yaml), {"p.yaml:5: "});
  }
  std::string many =
      "placement: explicit\nstages:\n  - layers: 1\n    repeat: 1024\n    experts:\n";
  for (int i = 0; i < 1000; ++i) many += "      - {expert: 1, copies: [0]}\n";
  expect_says(complaint(many), {"1000000"});
}

TEST(PlanFile, HostileDocumentsGetASentence) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c < 'z'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += std::string("*") + static_cast<char>(c - 1) + ", ";
    bomb += "]\n";
  }
  expect_says(complaint(bomb), {"p.yaml:1: ", "alias"});
  expect_says(complaint("tp: " + std::string(10000, '[')), {"p.yaml"});
  expect_says(complaint("tp: " + std::string(200, '[') + std::string(200, ']')), {"deep"});
  expect_says(complaint("tp: " + std::string(10000, '{')), {"p.yaml"});
  expect_says(complaint("model: " + std::string(5'000'000, 'm')), {"limit"});
  expect_says(complaint(std::string(1000, '\0')), {"p.yaml"});
}

TEST(PlanFile, ReadsFromDisk) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "pentafold_plan_file_test";
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "plan.yaml").string();
  std::ofstream(path) << "model: ../tiny\ntp: 2\n";
  const auto plan = read_plan(path);
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  EXPECT_EQ(plan->file, path);
  EXPECT_EQ(plan->model, (folder.parent_path() / "tiny").lexically_normal().string());
  std::filesystem::remove_all(folder);
  EXPECT_EQ(read_plan(path).error().code, ErrorCode::Io);
  EXPECT_EQ(read_plan(testing::TempDir()).error().code, ErrorCode::Io);
}

TEST(PlanFile, TheExamplesOfTheDocumentAreRead) {
  std::ifstream stream(PENTAFOLD_SOURCE_DIR "/docs/plan-format.md");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::string open = "```yaml\n";
  int examples = 0;
  for (std::size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    at += open.size();
    parsed(text.substr(at, text.find("```", at) - at));
    ++examples;
  }
  EXPECT_EQ(examples, 3);
  for (const DegreeKey& key : kDegreeKeys) {
    EXPECT_NE(text.find("`" + std::string(key.name) + "`"), std::string::npos) << key.name;
  }
  for (const IntegerKey& key : kIntegerKeys) {
    EXPECT_NE(text.find("| `" + std::string(key.name) + "` |"), std::string::npos) << key.name;
  }
}

TEST(PlanFile, RoundTripsEveryPairOfMeshes) {
  for (std::int64_t dp : {1, 2, 3}) {
    for (std::int64_t tp : {1, 2}) {
      for (std::int64_t ep : {1, 2, 6}) {
        StagePlan stage;
        stage.layers = 2;
        stage.dp = dp;
        stage.tp = tp;
        stage.ep = ep;
        stage.placement = ep == 2 ? PlacementStyle::Spread : PlacementStyle::Blocked;
        Plan plan;
        plan.replicas = dp;
        plan.stages.assign(2, stage);
        plan.stages[1].sp = 2;
        const Plan again = parsed(to_yaml(plan));
        EXPECT_EQ(to_yaml(again), to_yaml(plan));
        EXPECT_EQ(describe(again), describe(plan));
        EXPECT_EQ(again.world(), plan.world());
      }
    }
  }
}

}  // namespace
}  // namespace pentafold
