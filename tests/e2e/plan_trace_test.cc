// What `plan --trace` promises: the plan it gives is what `simulate` sees of the file it writes,
// that file passes verify, limits on percentiles hold or are said to be missed and by how much.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

constexpr const char* kTrace = " --trace specs/traces/chat-azure.csv ";
constexpr const char* kJob = "plan --model qwen3-30b-a3b --gpu h200-sxm --gpus 4";

ProcessResult run(const std::string& line) {
  std::istringstream in(line);
  return pentafold({std::istream_iterator<std::string>(in), {}});
}

Json answered(const std::string& line, int exit_code) {
  const ProcessResult result = run(line + " --json");
  EXPECT_EQ(result.exit_code, exit_code) << line << "\n" << result.err;
  Json json = Json::parse(result.out, nullptr, false);
  return json.is_discarded() ? Json::object() : json;
}

TEST(PlanTrace, SimulateSaysTheSameOfTheFile) {
  for (const std::string mode : {"aggregated", "disaggregated"}) {
    const ScratchFolder folder;
    const std::string file = folder.path("plan.yaml");
    const Json plan = answered(kJob + std::string(kTrace) + "--target ttft_p99=2s,tpot_p99=30ms " +
                                   "--slo ttft=1s --mode " + mode + " --out " + file,
                               0);
    ASSERT_TRUE(plan.contains("simulated")) << plan.dump();
    const Json& best = plan["simulated"]["plans"][0];
    EXPECT_EQ(best["met"], true);
    const Json said = answered("simulate " + file + kTrace + "--slo ttft=1s", 0);
    for (const char* key : {"ttft_s", "tpot_s", "itl_s", "e2e_s"}) {
      EXPECT_EQ(best["simulated"][key], said["summary"][key]) << mode << " " << key;
    }
    EXPECT_EQ(best["simulated"]["duration_s"], said["summary"]["duration_s"]);
    EXPECT_EQ(best["simulated"]["goodput_per_s"], said["summary"]["goodput"]["requests_per_s"]);
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      const ProcessResult verified = run("verify " + entry.path().string());
      EXPECT_EQ(verified.exit_code, 0) << verified.out << read_bytes(entry.path().string());
    }
  }
}

TEST(PlanTrace, TextHasBothPredictionsAndWhatChanged) {
  const ProcessResult text =
      run(kJob + std::string(kTrace) + "--target ttft_p99=2s --simulated-plans 3");
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"closed form", "simulated", "TTFT p50", "what it changed:", "met"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const Json json = answered(kJob + std::string(kTrace) + "--simulated-plans 3", 0);
  EXPECT_EQ(json["simulated"]["plans"].size(), 3U);
}

TEST(PlanTrace, WhatNoPlanMeetsIsSaidWithTheMiss) {
  const std::string job = kJob + std::string(kTrace) + "--target ttft_p99=3ms,e2e_p99=60min";
  const Json json = answered(job, 1);
  EXPECT_EQ(json["feasible"], false);
  ASSERT_EQ(json["simulated"]["nobody_meets"].size(), 1U);
  double best = 1e30;
  for (const Json& plan : json["simulated"]["plans"]) {
    EXPECT_EQ(plan["met"], false);
    EXPECT_EQ(plan["limits"][1]["met"], true);
    best = std::min(best, plan["limits"][0]["used"].get<double>());
  }
  EXPECT_GT(best, 1);
  const ProcessResult text = run(job);
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_NE(text.out.find("no plan meets ttft_p99: "), std::string::npos) << text.out;
}

TEST(PlanTrace, OtherWorkloadsAreSimulatedToo) {
  for (const char* workload :
       {"--concurrency 16 --isl 1000 --osl 50 --requests 60",
        "--rate 4/s --arrivals gamma --cv 2 --isl [100,2000] --osl [10,100] --requests 60",
        "--rate 4/s --isl 500 --osl 50 --requests 60 --slo ttft=1s --target goodput=1/s",
        "--trace specs/traces/agents-mooncake.jsonl --router prefix_aware"}) {
    const Json json = answered(kJob + std::string(" --simulated-plans 2 ") + workload, 0);
    ASSERT_TRUE(json.contains("simulated")) << workload;
    EXPECT_EQ(json["simulated"]["plans"].size(), 2U) << workload;
  }
  // Nothing that needs it: nothing is simulated.
  EXPECT_FALSE(
      answered(kJob + std::string(" --isl 1000 --osl 50 --rate 4/s"), 0).contains("simulated"));
}

TEST(PlanTraceRefusal, SaysWhatIsMissing) {
  struct Case {
    const char* options;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {" --target ttft_p99=1s --isl 100 --osl 10", {"no workload", "--trace"}},
      {" --trace specs/traces/gone.csv", {"specs/traces/gone.csv"}},
      {" --trace specs/traces/mixed.csv --isl 100", {"--isl is for generated workloads"}},
      {" --trace specs/traces/mixed.csv --target goodput=1/s", {"--slo"}},
      {" --trace specs/traces/mixed.csv --target ttft_p98=1s", {"unknown target", "ttft_p9"}},
      {" --rate 1/s --isl [9,2] --osl 10", {"--isl must be"}},
      {" --rate 1/s --isl 100", {"no workload", "--osl"}},
      {" --trace specs/traces/mixed.csv --router some", {"unknown --router"}},
  };
  for (const Case& each : cases) {
    EXPECT_TRUE(refused(run(kJob + std::string(each.options)), each.parts)) << each.options;
  }
}

}  // namespace
}  // namespace pentafold::testing
