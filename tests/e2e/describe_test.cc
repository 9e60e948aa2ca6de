// The verbs that answer without running: verify, program, inspect, and the help of each.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/checkpoint_edits.h"
#include "e2e/pentafold.h"
#include "e2e/refusal.h"

namespace pentafold::testing {
namespace {

TEST(Verify, AnswersYesNoAndCannotTell) {
  const ProcessResult yes = pentafold({"verify", "specs/plans/tiny-tp2-ep4.yaml"});
  EXPECT_EQ(yes.exit_code, 0) << yes.err;
  EXPECT_NE(yes.out.find("4 ranks"), std::string::npos) << yes.out;

  const ProcessResult no = pentafold({"verify", "--plan", "tp=3", "--model", "models/tiny-moe"});
  EXPECT_EQ(no.exit_code, 1);
  EXPECT_NE(no.out.find("tp = 3 does not divide 8 attention heads"), std::string::npos) << no.out;
  EXPECT_NE(no.out.find("ep = 3 does not divide 16 experts"), std::string::npos)
      << "all reasons, not the first: " << no.out;

  EXPECT_TRUE(refused(pentafold({"verify", "--plan", "tp=x", "--model", "models/tiny-moe"}),
                      {"tp must be a whole number"}));
}

TEST(Verify, JsonNamesCheckAndPlace) {
  const ScratchFolder folder;
  const std::string plan = folder.write("p.yaml", "stages:\n  - {layers: 8, tp: 3, ep: 1}\n");
  const ProcessResult no = pentafold({"verify", plan, "--model", "models/tiny-moe", "--json"});
  EXPECT_EQ(no.exit_code, 1);
  const Json json = Json::parse(no.out);
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["failures"][0]["check"], "folding");
  EXPECT_EQ(json["failures"][0]["file"], plan);
  EXPECT_EQ(json["failures"][0]["line"], 2);

  const std::string sum = folder.write("sum.yaml", "stages:\n  - {layers: 7}\n");
  const ProcessResult off = pentafold({"verify", sum, "--model", "models/tiny-moe", "--json"});
  EXPECT_EQ(off.exit_code, 1);
  EXPECT_EQ(Json::parse(off.out)["failures"].size(), 1U);

  const ProcessResult yes =
      pentafold({"verify", "--plan", "tp=2,ep=4", "--model", "models/tiny-moe", "--json"});
  EXPECT_EQ(Json::parse(yes.out)["ok"], true);
  EXPECT_TRUE(Json::parse(yes.out)["failures"].empty());
}

TEST(Verify, EverySeedStrategyIsPossible) {
  for (const char* seed : {"a", "b", "c", "d", "e"}) {
    for (const std::string folder : {"specs/seeds/", "specs/seeds/narrow/"}) {
      const ProcessResult result = pentafold({"verify", folder + seed + ".yaml"});
      EXPECT_EQ(result.exit_code, 0) << folder << seed << ": " << result.out << result.err;
    }
  }
}

TEST(Program, PrintsTheStepsOfARank) {
  const ProcessResult result =
      pentafold({"program", "--plan", "tp=2,ep=4", "--model", "models/tiny-moe", "--rank", "3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("rank 3 of 4"), std::string::npos);
  for (const char* step : {"attention", "all_reduce", "route", "dispatch", "expert_mlp", "combine",
                           "lm_head", "prefill", "decode"}) {
    EXPECT_NE(result.out.find(step), std::string::npos) << step;
  }
  // The last of four expert groups holds the last four experts, and no other.
  EXPECT_NE(result.out.find("layer 0: 4 experts: 12 units [0:128], 13 units [0:128], 14"),
            std::string::npos);
}

TEST(Program, PipelineStagesSend) {
  const auto program = [](const std::string& rank) {
    return pentafold({"program", "--plan", "pp=2", "--model", "models/tiny-moe", "--rank", rank})
        .out;
  };
  EXPECT_NE(program("0").find("send"), std::string::npos);
  EXPECT_NE(program("1").find("recv"), std::string::npos);
  EXPECT_EQ(program("0").find("layers.4."), std::string::npos);
  EXPECT_NE(program("1").find("layers.4."), std::string::npos);
}

TEST(Inspect, CountsWhatTheFileHolds) {
  const ProcessResult result = pentafold({"inspect", "models/tiny-moe", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  const std::string weights = read_bytes(repo("models/tiny-moe/model.safetensors"));
  const Json header = Json::parse(weights.substr(8, header_length(weights)));
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    std::int64_t size = 1;
    for (const Json& dim : tensor["shape"]) size *= dim.get<std::int64_t>();
    elements += size;
  }
  EXPECT_EQ(json["params_total"], elements);
  // 14 of 16 experts rest for one token: 8 layers of three 256 x 128 matrices each.
  EXPECT_EQ(json["params_active"], elements - 8LL * 14 * 3 * 256 * 128);
  EXPECT_EQ(json["kv_bytes_per_token_bf16"], 2 * 8 * 4 * 32 * 2);  // K, V; layers; heads; width
  EXPECT_EQ(json["experts"], 16);

  const ProcessResult text = pentafold({"inspect", "models/tiny-moe", "--tensors"});
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    EXPECT_NE(text.out.find(name + " "), std::string::npos) << name;
  }
  EXPECT_NE(text.out.find("grouped-query: 8 heads x 32, 4 KV heads"), std::string::npos);
}

TEST(Inspect, AConfigAloneIsAShapeThatCannotRun) {
  const ScratchFolder folder;
  folder.write("config.json", read_bytes(repo("tests/golden/mixtral/config.json")));
  const ProcessResult inspected = pentafold({"inspect", folder.path()});
  EXPECT_EQ(inspected.exit_code, 0) << inspected.err;
  EXPECT_NE(inspected.out.find("no weights"), std::string::npos) << inspected.out;
  EXPECT_EQ(pentafold({"verify", "--plan", "tp=2,ep=4", "--model", folder.path()}).exit_code, 0);
  EXPECT_TRUE(
      refused(pentafold({"run", "--plan", "tp=1", "--model", folder.path(), "--prompt-ids", "1"}),
              {folder.path(), "no weights"}));
}

TEST(Inspect, AFalseDeclarationIsContradicted) {
  const ProcessResult ten = pentafold({"inspect", "specs/models/seed-ab.yaml"});
  EXPECT_EQ(ten.exit_code, 0);
  EXPECT_NE(ten.out.find("declares 10.0 B parameters, its dimensions give"), std::string::npos)
      << ten.out;

  const std::string shape =
      "layers: 2\nd: 16\nheads: 2\nvocab: 8\nexperts: 4\ntop_k: 2\nexpert_hidden: 8\n"
      "weights: synthetic\ndeclared_total_params: ";
  const ScratchFolder folder;
  const std::string wrong = folder.write("wrong.yaml", shape + "7B\n");
  const Json told = Json::parse(pentafold({"inspect", wrong, "--json"}).out);
  EXPECT_TRUE(told.contains("declaration_contradiction")) << told.dump();
  const std::string right =
      folder.write("right.yaml", shape + std::to_string(told["params_total"].get<int>()) + "\n");
  const Json silent = Json::parse(pentafold({"inspect", right, "--json"}).out);
  EXPECT_FALSE(silent.contains("declaration_contradiction")) << silent.dump();

  const ProcessResult run = pentafold(
      {"run", "--plan", "ep=2", "--model", wrong, "--prompt-ids", "1", "--max-tokens", "1"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("note: "), std::string::npos) << run.err;
}

TEST(Help, ShowsExamplesOfEveryVerb) {
  for (const std::string verb :
       {"plan", "explain", "verify", "run", "program", "inspect", "audit", "models", "clusters"}) {
    const ProcessResult result = pentafold({verb, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_NE(result.out.find("Example"), std::string::npos) << verb;
    EXPECT_NE(result.out.find("pentafold " + verb + " "), std::string::npos) << verb;
  }
  const ProcessResult all = pentafold({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* verb : {"run", "verify", "program", "inspect"}) {
    EXPECT_NE(all.out.find(std::string("\n  pentafold ") + verb + " "), std::string::npos) << verb;
  }
  const ProcessResult version = pentafold({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(version.out.starts_with("pentafold ")) << version.out;
}

}  // namespace
}  // namespace pentafold::testing
