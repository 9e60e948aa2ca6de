// A machine measured in a hurry, and plans compared with what it predicts; no time is judged.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

constexpr const char* kModel =
    "name: t\nlayers: 2\nd: 64\nheads: 4\nhead_dim: 16\nvocab: 128\nexperts: 4\ntop_k: 2\n"
    "expert_hidden: 32\ndtype: bf16\nweights: synthetic\nseed: 3\n";

TEST(Calibrate, WhatItWritesComparePredictsWith) {
  const ScratchFolder folder;
  const std::string here = folder.path("here.yaml");
  const ProcessResult measured = pentafold({"calibrate", "--quick", "--out", here});
  ASSERT_EQ(measured.exit_code, 0) << measured.err;
  EXPECT_TRUE(measured.out.empty());
  EXPECT_EQ(pentafold({"clusters", here}).exit_code, 0);

  folder.write("model.yaml", kModel);
  for (const auto& [name, degrees] :
       {std::pair{"a", "tp: 2\n"}, {"b", "pp: 2\n"}, {"c", "sp: 2\n"}}) {
    folder.write(std::string("plans.") + name + ".yaml",
                 std::string("model: model.yaml\n") + degrees +
                     "requests: {count: 2, prompt_tokens: 8, max_tokens: 4}\n");
  }
  const ProcessResult compared =
      pentafold({"compare", "--plans", folder.path("plans.a.yaml"), folder.path("plans.b.yaml"),
                 folder.path("plans.c.yaml"), "--cluster", here, "--repeat", "2", "--json"});
  ASSERT_EQ(compared.exit_code, 0) << compared.err;
  const auto json = nlohmann::json::parse(compared.out);
  ASSERT_EQ(json["plans"].size(), 3U);
  for (const auto& plan : json["plans"]) {
    EXPECT_EQ(plan["steps"]["prefill"]["steps"], 2);
    EXPECT_EQ(plan["steps"]["decode"]["steps"], 6);
    EXPECT_GT(plan["steps"]["decode"]["predicted_s"], 0.0);
    EXPECT_GT(plan["steps"]["decode"]["measured_s"], 0.0);
  }
  EXPECT_EQ(json["summary"]["all"]["pair_order"]["of"], 6);

  const ProcessResult one = pentafold({"compare", "--plan", "tp=1", "--model",
                                       folder.path("model.yaml"), "--cluster", here, "--stats"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_NE(one.out.find("expert_mlp"), std::string::npos) << one.out;
}

TEST(Calibrate, WhatCannotBeUsedIsRefused) {
  const ScratchFolder folder;
  EXPECT_TRUE(refused(pentafold({"compare", "--plan", "tp=1", "--model", repo("models/tiny-moe"),
                                 "--cluster", "dgx-h200"}),
                      {"measured", "calibrate"}));
  EXPECT_TRUE(refused(pentafold({"compare", "--plans", folder.path(), "--cluster", "dgx-h200"}),
                      {"without plan files"}));
  EXPECT_TRUE(refused(pentafold({"compare", "--plan", "tp=3", "--model", repo("models/tiny-moe"),
                                 "--cluster", "dgx-h200"}),
                      {"heads"}));
  EXPECT_TRUE(refused(pentafold({"calibrate", "--quick", "--device", "abacus"}), {"abacus"}));
  EXPECT_TRUE(refused(pentafold({"calibrate", "--quick", "--out", folder.path("no/here.yaml")}),
                      {"folder"}));
}

}  // namespace
}  // namespace pentafold::testing
