// What `predict` promises: intervals round its numbers, parts that add up, the skew at which cut
// experts win, and a sentence for what cannot be meant.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

ProcessResult run(const std::string& line) {
  std::istringstream in("predict " + line);
  return pentafold({std::istream_iterator<std::string>(in), {}});
}

const std::string kJob = " --model qwen3-30b-a3b --gpu h100-sxm --isl 1000 --osl 1000 ";

Json predicted(const std::string& line, int exit_code = 0) {
  const ProcessResult result = run(line + kJob + "--json");
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  Json json = Json::parse(result.out, nullptr, false);
  return json.is_discarded() ? Json::object() : json;
}

TEST(Predict, PartsAddUpWithinTheirInterval) {
  const Json json = predicted("dp=8,ep=8,max_batch=64");
  ASSERT_EQ(json["pools"].size(), 1U) << json.dump();
  for (const char* phase : {"prefill", "decode"}) {
    const Json& cost = json["pools"][0][phase];
    const double seconds = cost["seconds"];
    double sum = 0;
    for (const auto& part : cost["by"]) sum += part.get<double>();
    EXPECT_NEAR(sum, seconds, 1e-9 * seconds) << phase;
    EXPECT_LT(cost["interval80"][0], seconds);
    EXPECT_GT(cost["interval80"][1], seconds);
  }
}

// At the break-even both ways take as long; below it spreading is faster, above it cutting.
TEST(Predict, SaysFromWhichSkewCutExpertsAreFaster) {
  const std::string plan = "dp=8,ep=8,max_batch=64";
  const Json json = predicted(plan);
  const Json& balance = json["pools"][0]["expert_balance"];
  ASSERT_TRUE(balance.is_object()) << json.dump();
  EXPECT_EQ(balance["cut_etp"], 8);
  int judged = 0;
  for (const std::string phase : {"decode", "prefill"}) {
    const Json& skew = balance[phase + "_break_even_skew"];
    if (skew.is_null() || skew == 0.0) continue;
    ++judged;
    const auto lead = [&](double at) {
      const Json then = predicted(plan + " --skew " + std::to_string(at));
      const Json& asked = then["pools"][0]["expert_balance"]["asked"];
      return asked["spread_" + phase + "_s"].get<double>() -
             asked["cut_" + phase + "_s"].get<double>();
    };
    EXPECT_GE(lead(skew.get<double>() + 1e-4), 0) << phase;
    EXPECT_LT(lead(skew.get<double>() - 0.02), 0) << phase;
  }
  EXPECT_GT(judged, 0) << balance.dump();
  const ProcessResult text = run(plan + kJob);
  EXPECT_NE(text.out.find("experts cut over 8 ranks"), std::string::npos) << text.out;
  // Nothing is spread: nothing to weigh.
  EXPECT_FALSE(predicted("tp=4,etp=4,max_batch=64")["pools"][0].contains("expert_balance"));
}

TEST(Predict, ExitCodesAndRefusals) {
  EXPECT_EQ(predicted("tp=1,max_batch=4096", 1)["fits"], false);
  EXPECT_TRUE(refused(run("tp=3" + kJob), {"tp = 3 does not divide"}));
  EXPECT_TRUE(refused(run("tp=2 --gpu h200-sxm --isl 10 --osl 10"), {"no model"}));
}

}  // namespace
}  // namespace pentafold::testing
