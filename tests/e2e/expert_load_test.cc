// Counted expert loads end to end: what `run` counts is what `plan` reads, and it changes the
// plan's numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

const std::string kCounts = "specs/workloads/tiny-moe.experts.json";

// The command in specs/workloads/tiny-moe.yaml, under `plan`.
Json counted_again(const std::string& plan) {
  const ProcessResult result = pentafold({"run",
                                          "--model",
                                          "models/tiny-moe",
                                          "--plan",
                                          plan,
                                          "--max-tokens",
                                          "128",
                                          "--ignore-eos",
                                          "--temperature",
                                          "0.8",
                                          "--seed",
                                          "4",
                                          "--stats",
                                          "--json",
                                          "--prompt",
                                          "The king said",
                                          "--prompt",
                                          "My dear Watson, you see but",
                                          "--prompt",
                                          "It is a truth universally acknowledged",
                                          "--prompt",
                                          "And it came to pass"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Json::parse(result.out, nullptr, false);
}

TEST(ExpertLoadFile, TheExampleIsWhatTheEngineCountsUnderAnyPlan) {
  const Json kept = Json::parse(read_bytes(repo(kCounts)), nullptr, false);
  ASSERT_EQ(kept["routing"].size(), 8U);
  for (const char* plan : {"tp=2,ep=4", "tp=1"}) {
    const Json again = counted_again(plan);
    ASSERT_TRUE(again.is_object());
    ASSERT_EQ(again["routing"].size(), 8U);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(again["routing"][i]["chosen"], kept["routing"][i]["chosen"]) << plan << " " << i;
    }
  }
}

// With a capacity the engine refuses choices; the gate's are counted all the same.
TEST(ExpertLoadFile, ChoicesAreCountedBeforeACapacityRefusesThem) {
  const ProcessResult result =
      pentafold({"run", "--model", "models/tiny-moe", "--plan", "tp=2,ep=4,capacity_factor=0.5",
                 "--prompt-ids", "5,6,7,8,9,10,11,12", "--max-tokens", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  std::int64_t refused = 0;
  for (const Json& layer : json["routing"]) {
    for (std::size_t e = 0; e < layer["chosen"].size(); ++e) {
      const std::int64_t lost = layer["refused"][e];
      EXPECT_EQ(layer["chosen"][e].get<std::int64_t>(),
                layer["assigned"][e].get<std::int64_t>() + lost);
      refused += lost;
    }
  }
  EXPECT_GT(refused, 0);
}

// The busiest rank's part of the rows of a plan that spreads the experts.
double peak_share(Arguments load) {
  Arguments line = {"predict", "dp=4,ep=4,max_batch=16",
                    "--model", "models/tiny-moe",
                    "--gpu",   "l40s",
                    "--isl",   "200",
                    "--osl",   "100",
                    "--json"};
  line.insert(line.end(), load.begin(), load.end());
  const ProcessResult result = pentafold(std::move(line));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out, nullptr, false);
  return json.is_object() ? json["pools"][0]["peak_share"].get<double>() : 0;
}

TEST(ExpertLoadPredict, CountsChangeThePeakShare) {
  EXPECT_EQ(peak_share({}), 1);
  const double counted = peak_share({"--expert-load", kCounts});
  EXPECT_GT(counted, 1);
  EXPECT_EQ(peak_share({"--workload", "specs/workloads/tiny-moe.yaml"}), counted)
      << "a path in a workload file counts from its folder";
  EXPECT_EQ(peak_share({"--workload", "specs/workloads/tiny-moe.yaml", "--skew", "0"}), 1)
      << "options win over the file";
}

TEST(ExpertLoadPlan, TheReportSaysWhenToCutExperts) {
  const ScratchFolder folder;
  const std::string report = folder.path("report.md");
  const ProcessResult result =
      pentafold({"plan", "--model", "qwen3-30b-a3b", "--gpu", "h200-sxm", "--gpus", "16", "--isl",
                 "4000", "--osl", "1000", "--mode", "aggregated", "--report", report});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string text = read_bytes(report);
  EXPECT_NE(text.find("Every expert cut over the"), std::string::npos);
  EXPECT_NE(text.find("\n- decode: "), std::string::npos);
}

}  // namespace
}  // namespace pentafold::testing
