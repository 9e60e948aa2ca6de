// What `run` promises: the same bits and the same sampled tokens under every plan, logits that an
// independent implementation agrees with, and output that people and programs can read.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "support/npy.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

const std::vector<std::string> kPlans = {"tp=1", "tp=2,ep=4", "pp=2,sp=2,tp=2"};

// `run --plan PLAN --model models/tiny-moe` and more.
ProcessResult run_tiny(const std::string& plan, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"run", "--plan", plan, "--model", "models/tiny-moe"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return pentafold(std::move(arguments));
}

// Of a run with --json; an empty object when it failed.
Json json_of(const ProcessResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  Json json = Json::parse(result.out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << "stdout is not one JSON document: " << result.out;
  return json.is_discarded() ? Json::object() : json;
}

std::string line_with(const std::string& text, const std::string& start) {
  const std::size_t at = text.find(start);
  if (at == std::string::npos) return {};
  return text.substr(at + start.size(), text.find('\n', at) - at - start.size());
}

TEST(Run, TheDemoPrintsTextAndTwoEqualHashes) {
  const ProcessResult result =
      run_tiny("tp=2,ep=4", {"--prompt", "The old sailor looked at the sea and", "--max-tokens",
                             "48", "--logits-hash", "--check-one-rank"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string plan = line_with(result.out, "logits hash   ");
  EXPECT_EQ(plan, line_with(result.out, "one rank      "));
  EXPECT_NE(plan.find(" over 58 rows"), std::string::npos) << plan;  // 11 prompt + 47 fed back
  EXPECT_NE(result.out.find("same bits     yes"), std::string::npos);
  const std::string text = result.out.substr(0, result.out.find("logits hash"));
  EXPECT_GT(text.size(), 48U) << "a token of this model is a letter or more";
  EXPECT_NE(result.err.find("on 4 ranks"), std::string::npos) << result.err;
}

TEST(Run, SampledTokensDoNotKnowThePlan) {
  const auto sampled = [](const std::string& plan, const std::string& seed) {
    return json_of(run_tiny(
        plan, {"--prompt", "The king said", "--max-tokens", "24", "--json", "--temperature", "0.9",
               "--top-k", "50", "--top-p", "0.95", "--seed", seed}))["requests"][0]["tokens"];
  };
  const Json one = sampled(kPlans[0], "7");
  EXPECT_EQ(one.size(), 24U);
  EXPECT_EQ(sampled(kPlans[1], "7"), one);
  EXPECT_EQ(sampled(kPlans[2], "7"), one);
  EXPECT_NE(sampled(kPlans[0], "8"), one);
}

TEST(Run, JsonHoldsTimesTokensRoutingAndTraffic) {
  const ProcessResult result = run_tiny(
      "tp=2,ep=4", {"--prompt-ids", "5,6,7", "--max-tokens", "9", "--ignore-eos", "--json"});
  const Json json = json_of(result);
  EXPECT_EQ(json["ranks"], 4);
  const Json& request = json["requests"][0];
  EXPECT_EQ(request["prompt_tokens"], 3);
  EXPECT_EQ(request["tokens"].size(), 9U);
  EXPECT_FALSE(request["text"].get<std::string>().empty());
  const double ttft = request["ttft_s"];
  const double tpot = request["tpot_s"];
  EXPECT_GT(ttft, 0);
  EXPECT_GT(tpot, 0);
  EXPECT_NEAR(request["e2e_s"].get<double>(), ttft + 8 * tpot, 1e-6);
  ASSERT_EQ(json["routing"].size(), 8U) << "one entry for each layer of experts";
  for (const Json& layer : json["routing"]) {
    EXPECT_EQ(layer["tokens"], 3 + 8);  // the last token is not fed back
    std::int64_t assigned = 0;
    for (const Json& count : layer["assigned"]) assigned += count.get<std::int64_t>();
    EXPECT_EQ(assigned, 2 * (3 + 8)) << "dropless top-2";
    EXPECT_EQ(layer["chosen"], layer["assigned"]);
  }
  for (const char* name : {"dispatch", "combine", "all_reduce"}) {
    EXPECT_GT(json["collectives"][name]["bytes"].get<std::int64_t>(), 0) << name;
  }
}

TEST(Run, StatsArePrintedForPeople) {
  const std::vector<std::string> ids = {"--prompt-ids", "5,6,7", "--max-tokens", "2"};
  std::vector<std::string> with = ids;
  with.emplace_back("--stats");
  const ProcessResult stats = run_tiny("tp=2,ep=4", with);
  for (const char* part : {"max/mean", "balance loss", "dispatch", "TTFT", "TPOT"}) {
    EXPECT_NE(stats.err.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(run_tiny("tp=2,ep=4", ids).err.find("max/mean"), std::string::npos);
  std::vector<std::string> quiet = ids;
  quiet.emplace_back("--quiet");
  EXPECT_EQ(run_tiny("tp=2,ep=4", quiet).err, "");
}

TEST(Run, RequestsOfABatchDoNotKnowEachOther) {
  const ScratchFolder folder;
  const std::string file = folder.write("batch.jsonl",
                                        "The king said\r\n\n"
                                        "{\"prompt\": \"It was a dark\", \"max_tokens\": 3}\n"
                                        "{\"prompt_ids\": [74, 918, 345]}\n");
  const std::vector<std::string> tail = {"--max-tokens", "6", "--ignore-eos", "--json"};
  const auto tokens = [&](const std::string& plan, std::vector<std::string> what) {
    what.insert(what.end(), tail.begin(), tail.end());
    std::vector<Json> out;
    const Json json = json_of(run_tiny(plan, what));
    for (const Json& request : json["requests"]) out.push_back(request["tokens"]);
    return out;
  };
  const auto batch = tokens("tp=2,ep=4", {"--batch", file});
  ASSERT_EQ(batch.size(), 3U);
  EXPECT_EQ(batch[0], tokens("tp=1", {"--prompt", "The king said"}).at(0));
  Json three = tokens("tp=1", {"--prompt", "It was a dark"}).at(0);
  EXPECT_EQ(three.size(), 6U);
  three.erase(three.begin() + 3, three.end());
  EXPECT_EQ(batch[1], three);
  EXPECT_EQ(batch[2], tokens("tp=1", {"--prompt-ids", "74,918,345"}).at(0));

  const ProcessResult text = run_tiny("dp=2", {"--batch", file, "--max-tokens", "6"});
  for (const char* mark : {"[0] ", "[1] ", "[2] "}) {
    EXPECT_NE(text.out.find(mark), std::string::npos) << text.out;
  }
}

TEST(Run, ReplicasShareRequestsAndChangeNothing) {
  const std::vector<std::string> more = {
      "--prompt", "The king",     "--prompt", "A ship", "--prompt-ids",
      "9,8,7",    "--max-tokens", "5",        "--json", "--check-one-rank"};
  const Json json = json_of(run_tiny("tp=2,replicas=2,microbatches=2", more));
  EXPECT_EQ(json["one_rank"]["same_bits"], true);
  EXPECT_EQ(json["one_rank"]["logits_hash"], json["logits_hash"]);
}

struct Golden {
  std::string model;
  std::string prompt;
  std::string logits;
  std::vector<std::string> plans;
};

TEST(Run, LogitsFilesAreTheGoldenOnesAndIdenticalUnderEveryPlan) {
  const std::string root = "tests/golden/";
  const auto in = [&](const std::string& name, std::vector<std::string> plans) {
    return Golden{root + name, root + name + "/prompt.json", root + name + "/logits.npy",
                  std::move(plans)};
  };
  const std::vector<Golden> goldens = {
      in("mixtral_sharded", {"tp=1", "tp=2,ep=4", "pp=2,sp=2"}),
      in("llama_f16", {"tp=1", "tp=2", "pp=2"}),
      in("qwen3_moe", {"tp=1", "dp=2,tp=2", "pp=2,etp=2,tp=2"}),
      {"models/tiny-moe", root + "tiny_moe_prompt.json", root + "tiny_moe_logits.npy", kPlans},
  };
  for (const Golden& golden : goldens) {
    std::string ids;
    const Json prompt = Json::parse(read_bytes(repo(golden.prompt)));
    for (const Json& id : prompt["ids"]) ids += id.dump() + ",";
    const ScratchFolder folder;
    std::vector<std::string> files;
    for (const std::string& plan : golden.plans) {
      const std::string file = folder.path(std::to_string(files.size()) + ".npy");
      const ProcessResult result =
          pentafold({"run", "--plan", plan, "--model", golden.model, "--prompt-ids", ids,
                     "--max-tokens", "1", "--logits-out", file});
      ASSERT_EQ(result.exit_code, 0) << golden.model << " " << plan << ": " << result.err;
      files.push_back(file);
    }
    const NpyMatrix expected = read_npy(repo(golden.logits));
    const NpyMatrix actual = read_npy(files[0]);
    ASSERT_EQ(actual.rows, expected.rows);
    ASSERT_EQ(actual.cols, expected.cols);
    const auto [low, high] = std::ranges::minmax(expected.values);
    double worst = 0;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      worst = std::max(worst, std::abs(double{actual.values[i]} - expected.values[i]));
    }
    EXPECT_LT(worst, 2e-5 * (high - low)) << golden.model;
    for (const std::string& file : files) {
      EXPECT_EQ(read_bytes(file), read_bytes(files[0])) << golden.model << " " << file;
    }
  }
}

TEST(Run, SeveralRequestsWriteALogitsFileEach) {
  const ScratchFolder folder;
  const ProcessResult result =
      run_tiny("tp=2,ep=4", {"--prompt-ids", "1,2", "--prompt-ids", "3,4,5", "--max-tokens", "1",
                             "--logits-out", folder.path("x.npy")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_npy(folder.path("x.0.npy")).rows, 2);
  EXPECT_EQ(read_npy(folder.path("x.1.npy")).rows, 3);
}

TEST(Run, TheReferenceDeviceHasTheSameBits) {
  const auto hash = [](const std::string& device) {
    return json_of(pentafold({"run", "--plan", "tp=2", "--model", "tests/golden/qwen2_moe",
                              "--prompt-ids", "1,2,3", "--max-tokens", "4", "--logits-hash",
                              "--json", "--device", device}))["logits_hash"];
  };
  EXPECT_EQ(hash("cpu"), hash("reference"));
}

class NarrowSeed : public ::testing::TestWithParam<std::pair<const char*, int>> {};

TEST_P(NarrowSeed, HasTheBitsOfOneRank) {
  const auto& [name, ranks] = GetParam();
  const Json json = json_of(pentafold(
      {"run", std::string("specs/seeds/narrow/") + name + ".yaml", "--check-one-rank", "--json"}));
  EXPECT_EQ(json["ranks"], ranks);
  EXPECT_EQ(json["one_rank"]["same_bits"], true);
  EXPECT_GT(json["logit_rows"].get<std::int64_t>(), 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, NarrowSeed,
                         ::testing::Values(std::pair{"a", 1024}, std::pair{"b", 64},
                                           std::pair{"c", 8}, std::pair{"d", 16},
                                           std::pair{"e", 128}),
                         [](const auto& info) { return info.param.first; });

TEST(Run, AFullDiskIsNotSilent) {
  const ProcessResult result = run_process(
      {"bash", "-c", "exec \"$0\" \"$@\" > /dev/full", binary(), "inspect", "models/tiny-moe"},
      std::chrono::seconds(60), PENTAFOLD_SOURCE_DIR);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_TRUE(result.err.starts_with("pentafold: standard output cannot be written")) << result.err;
}

}  // namespace
}  // namespace pentafold::testing
