// What `simulate` promises: a trace through a plan, the same bytes every time, sensible numbers in
// both forms of the answer, a timeline that is JSON, and a sentence for what cannot be meant.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

constexpr const char* kPlan = "simulate tp=2,ep=2,replicas=2 --model qwen3-30b-a3b --gpu h200-sxm ";

ProcessResult run(const std::string& line) {
  std::istringstream in(line);
  return pentafold({std::istream_iterator<std::string>(in), {}});
}

Json simulated(const std::string& options) {
  const ProcessResult result = run(kPlan + options + " --json");
  EXPECT_EQ(result.exit_code, 0) << options << "\n" << result.err;
  Json json = Json::parse(result.out, nullptr, false);
  return json.is_discarded() ? Json::object() : json;
}

// What holds for the quantiles of anything.
void expect_ordered(const Json& summary, const std::string& key) {
  ASSERT_TRUE(summary.contains(key)) << key;
  const Json& d = summary[key];
  EXPECT_GT(d["n"], 0) << key;
  EXPECT_GE(d["p50"], 0.0) << key;
  EXPECT_LE(d["p50"], d["p90"]) << key;
  EXPECT_LE(d["p90"], d["p99"]) << key;
}

TEST(Simulate, AnAzureTrace) {
  const Json json = simulated("--trace specs/traces/chat-azure.csv --slo ttft=1s,tpot=20ms");
  ASSERT_TRUE(json.contains("summary")) << json.dump();
  EXPECT_EQ(json["trace"]["format"], "Azure CSV");
  EXPECT_EQ(json["trace"]["requests"], 60);
  EXPECT_EQ(json["gpus"], 4);
  const Json& summary = json["summary"];
  EXPECT_EQ(summary["finished"], 60);
  EXPECT_EQ(summary["rejected"], 0);
  for (const char* key : {"ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s"}) {
    expect_ordered(summary, key);
  }
  EXPECT_LE(summary["goodput"]["requests"], 60);
  EXPECT_NEAR(summary["output_tokens_per_s_per_gpu"].get<double>() * 4,
              summary["output_tokens_per_s"].get<double>(), 1e-6);
  // It cannot end before the last request came.
  EXPECT_GT(summary["duration_s"], json["trace"]["arrivals_s"]);
  ASSERT_EQ(json["pools"].size(), 1U);
  const Json& pool = json["pools"][0];
  double shares = 0;
  for (const auto& share : pool["time_share"]) shares += share.get<double>();
  EXPECT_NEAR(shares, 1, 1e-9);
  // Each rank's time is all there, and the pool's is the mean of its ranks'.
  ASSERT_EQ(pool["ranks"].size(), 2U);
  double compute = 0;
  for (const Json& rank : pool["ranks"]) {
    double parts = 0;
    for (const char* part : {"compute", "communication", "waiting", "bubble", "idle"}) {
      EXPECT_GE(rank[part], -1e-9) << part;
      parts += rank[part].get<double>();
    }
    EXPECT_NEAR(parts, 1, 1e-9);
    compute += rank["compute"].get<double>() / 2;
  }
  EXPECT_NEAR(compute, pool["time_share"]["compute"].get<double>(), 1e-9);
  EXPECT_EQ(pool["series"]["queue"].size(), pool["series"]["busy_share"].size());
}

TEST(Simulate, TextSaysWhatTheJsonSays) {
  const ProcessResult text = run(kPlan + std::string("--trace specs/traces/mixed.csv"));
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"50 requests served", "TTFT", "TPOT", "p99", "queue", "KV", "idle"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
}

TEST(Simulate, UnevenRanksAreNamed) {
  const ProcessResult text =
      run("simulate pp=2,dp=4,ep=4 --model qwen3-30b-a3b --gpu h200-sxm --skew 1 --trace "
          "specs/traces/mixed.csv");
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"wait for busier ranks", "stage 0, 4 ranks: rank", "stage 1, 4 ranks"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
}

TEST(Simulate, SameSeedSameBytesOtherSeedOthers) {
  const std::string options =
      "--rate 6/s --arrivals gamma --cv 2 --requests 200 --isl [100,2000] --osl [10,100] --json";
  const ProcessResult first = run(kPlan + options + " --seed 7");
  const ProcessResult again = run(kPlan + options + " --seed 7");
  const ProcessResult other = run(kPlan + options + " --seed 8");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, again.out);
  EXPECT_NE(first.out, other.out);
}

TEST(Simulate, AClosedLoopIsNeverFullerThanAsked) {
  const Json json = simulated("--concurrency 8 --requests 100 --isl 1000 --osl 50");
  EXPECT_EQ(json["summary"]["finished"], 100);
  EXPECT_EQ(json["trace"]["concurrency"], 8);
  for (const auto& running : json["pools"][0]["series"]["running"]) EXPECT_LE(running, 8.0001);
}

// What every queue does: more load, longer waits; what every cache does: less to compute.
TEST(Simulate, LoadAndPrefixesActAsTheyMust) {
  const std::string trace = "--trace specs/traces/agents-mooncake.jsonl ";
  const auto e2e = [](const Json& json) { return json["summary"]["e2e_s"]["mean"].get<double>(); };
  const Json apart = simulated(trace + "--router prefix_aware");
  const Json dense = simulated(trace + "--router prefix_aware --time-scale 0.01");
  EXPECT_GT(e2e(dense), e2e(apart));
  const Json cold = simulated(trace + "--router prefix_aware --no-prefix-cache");
  EXPECT_GT(apart["summary"]["shared_prompt_share"], 0.3);
  EXPECT_EQ(cold["summary"]["shared_prompt_share"], 0.0);
  EXPECT_LT(apart["summary"]["ttft_s"]["mean"], cold["summary"]["ttft_s"]["mean"]);
}

// A cache for two sequences: preempted, swapped or queued, all of them end.
TEST(Simulate, SmallCachesDelayButLoseNobody) {
  for (const char* how : {"recompute", "swap", "never"}) {
    const Json json = simulated(
        "--rate 50/s --requests 60 --isl 500 --osl 100 --kv-tokens 1600 "
        "--preempt " +
        std::string(how));
    EXPECT_EQ(json["summary"]["finished"], 60) << how;
    EXPECT_EQ(json["summary"]["preemptions"] > 0, std::string(how) != "never") << how;
  }
}

TEST(Simulate, ASplitPlanServesInTwoPools) {
  const ScratchFolder folder;
  folder.write("p.yaml", "pp: 1\ntp: 2\nmax_batch: 8\n");
  const std::string plan = folder.write("d.yaml",
                                        "model: qwen3-30b-a3b\npp: 1\ntp: 2\nreplicas: 2\n"
                                        "prefill_pool: p.yaml\n");
  const ProcessResult result = run("simulate " + plan +
                                   " --gpu h200-sxm --rate 4/s --requests 50 --isl 1000 --osl 50 "
                                   "--json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  ASSERT_EQ(json["pools"].size(), 2U);
  EXPECT_EQ(json["pools"][1]["replicas"], 2);
  EXPECT_EQ(json["summary"]["finished"], 50);
}

TEST(Simulate, WritesATimelineAndATable) {
  const ScratchFolder folder;
  const std::string timeline = folder.path("t.json");
  const std::string table = folder.path("r.csv");
  const ProcessResult result =
      run("simulate pp=2,tp=2,replicas=2,microbatches=2 --model qwen3-30b-a3b --gpu h200-sxm "
          "--trace specs/traces/mixed.csv --chrome-trace " +
          timeline + " --requests-out " + table);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(read_bytes(timeline), nullptr, false);
  ASSERT_TRUE(json.contains("traceEvents"));
  std::size_t slices = 0;
  bool second_stage = false;
  for (const Json& event : json["traceEvents"]) {
    if (event["ph"] != "X") continue;
    ++slices;
    EXPECT_GE(event["dur"], 0.0);
    second_stage = second_stage || event["tid"] == 1;
  }
  EXPECT_GT(slices, 50U);
  EXPECT_TRUE(second_stage);
  const std::string rows = read_bytes(table);
  EXPECT_EQ(std::ranges::count(rows, '\n'), 51);
}

TEST(Simulate, MeasuredRunsAreHeldAgainstTheSimulation) {
  const ScratchFolder folder;
  std::string log;
  for (int i = 0; i < 20; ++i) {
    const double arrival = 1.7e9 + i;
    const double queued = 500.0 + i;
    log += Json{{"input_toks", 500},
                {"output_toks", 21},
                {"arrival_time", arrival},
                {"queued_ts", queued},
                {"first_token_ts", queued + 0.25},
                {"last_token_ts", queued + 1.25}}
               .dump() +
           "\n";
  }
  const Json json = simulated("--trace " + folder.write("log.jsonl", log));
  ASSERT_TRUE(json.contains("measured")) << json.dump();
  EXPECT_NEAR(json["measured"]["ttft_s"]["p50"]["measured"].get<double>(), 0.25, 1e-6);
  EXPECT_NEAR(json["measured"]["tpot_s"]["p99"]["measured"].get<double>(), 0.05, 1e-6);
  const Json& e2e = json["measured"]["e2e_s"]["p90"];
  EXPECT_NEAR(e2e["error"].get<double>(),
              e2e["simulated"].get<double>() / e2e["measured"].get<double>() - 1, 1e-12);
}

TEST(Simulate, TooLongRequestsAreLeftOutAloud) {
  const ScratchFolder folder;
  const std::string trace =
      folder.write("t.csv", "arrival_s,isl,osl\n0,100,10\n1,900000000,10\n2,100,10\n");
  const Json json = simulated("--trace " + trace);
  EXPECT_EQ(json["summary"]["too_long"], 1);
  EXPECT_EQ(json["summary"]["finished"], 2);
}

TEST(SimulateRefusal, SaysWhatCannotBeMeant) {
  struct Case {
    const char* options;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"", {"no workload", "--trace"}},
      {"--rate 1/s", {"no lengths", "--isl"}},
      {"--rate 1 --isl 100 --osl 10", {"--rate", "no unit"}},
      {"--rate 1/s --concurrency 4 --isl 100 --osl 10", {"not both"}},
      {"--rate 1/s --isl [9,2] --osl 10", {"--isl must be"}},
      {"--rate 1/s --isl 100 --osl 10 --arrivals poison", {"did you mean \"poisson\""}},
      {"--rate 1/s --isl 100 --osl 10 --cv 2", {"--cv goes with --arrivals gamma"}},
      {"--rate 1/s --isl 100 --osl 10 --slo tttf=1s", {"did you mean \"ttft\""}},
      {"--rate 1/s --isl 100 --osl 10 --slo ttft=1", {"no unit"}},
      {"--rate 1/s --isl 100 --osl 10 --router round_robyn", {"did you mean \"round_robin\""}},
      {"--rate 1/s --isl 100 --osl 10 --preempt sometimes", {"known are never, recompute, swap"}},
      {"--rate 1/s --isl 100 --osl 10 --engine vlmm", {"did you mean", "vllm"}},
      {"--rate 1/s --isl 100 --osl 10 --time-scale 0", {"--time-scale must be above 0"}},
      {"--rate 1/s --isl 100 --osl 10 --kv-tokens 3", {"--kv-tokens must be at least"}},
      {"--rate 1/s --isl 100 --osl 10 --requests 0", {"--requests must be 1 or more"}},
      {"--trace specs/traces/gone.csv", {"specs/traces/gone.csv: no such file"}},
      {"--trace specs/traces/mixed.csv --rate 1/s", {"--rate is for generated workloads"}},
      {"--trace specs/gpus.yaml", {"specs/gpus.yaml:1: is no trace"}},
  };
  for (const Case& each : cases) {
    EXPECT_TRUE(refused(run(kPlan + std::string(each.options)), each.parts)) << each.options;
  }
}

TEST(SimulateRefusal, AMalformedTraceIsRefusedWithItsLine) {
  const ScratchFolder folder;
  const std::string csv = folder.write("t.csv", "arrival_s,isl,osl\n0,100,10\n1,x,10\n");
  EXPECT_TRUE(refused(run(kPlan + std::string("--trace ") + csv), {"t.csv:3: isl must be"}));
  const std::string json =
      folder.write("t.jsonl", "{\"timestamp\":0,\"input_length\":4,\"output_length\":1");
  EXPECT_TRUE(refused(run(kPlan + std::string("--trace ") + json), {"t.jsonl:1: ", "JSON"}));
}

TEST(SimulateRefusal, WhereItCannotWrite) {
  const std::string options = "--rate 9/s --requests 5 --isl 10 --osl 2 ";
  EXPECT_TRUE(
      refused(run(kPlan + options + "--chrome-trace /nowhere/t.json"), {"/nowhere/t.json"}));
  EXPECT_TRUE(refused(run(kPlan + options + "--requests-out /nowhere/r.csv"), {"/nowhere/r.csv"}));
}

}  // namespace
}  // namespace pentafold::testing
