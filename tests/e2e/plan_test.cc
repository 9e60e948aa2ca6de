// What `plan` promises: the asked jobs have a plan, the impossible one a proof and ways out that
// work when taken, every plan written passes verify and, where the model is here, runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "e2e/pentafold.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

Arguments words(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

// `plan` with the options, those of `more` in place of options of the same name.
ProcessResult plan(const std::string& options, const std::string& more = {}) {
  Arguments line = words(options);
  const Arguments changes = words(more);
  for (std::size_t i = 0; i + 1 < changes.size(); i += 2) {
    const auto at = std::ranges::find(line, changes[i]);
    if (at != line.end()) {
      *(at + 1) = changes[i + 1];
    } else {
      line.insert(line.end(), {changes[i], changes[i + 1]});
    }
  }
  line.insert(line.begin(), "plan");
  return pentafold(std::move(line));
}

// Of `plan --json`; an empty object unless it ended with `exit_code`.
Json planned(const std::string& options, int exit_code, const std::string& more = {}) {
  const ProcessResult result = plan(options + " --json", more);
  EXPECT_EQ(result.exit_code, exit_code) << options << " " << more << "\n" << result.err;
  Json json = Json::parse(result.out, nullptr, false);
  if (result.exit_code != exit_code || json.is_discarded()) return Json::object();
  return json;
}

struct Job {
  std::string options;
  double ttft_s;
  double tpot_s;
  std::int64_t gpus;
};

TEST(Plan, TheFourJobsHaveAPlanWithinTheirTargets) {
  const std::string lengths = " --isl 4000 --osl 1000 --target ";
  const std::vector<Job> jobs = {
      {"--model qwen3-30b-a3b --gpu h200-sxm --gpus 32" + lengths + "ttft=1s,tpot=20ms", 1, 0.02,
       32},
      {"--model qwen3-235b-a22b --gpu h200-sxm --gpus 64" + lengths + "ttft=2s,tpot=50ms", 2, 0.05,
       64},
      {"--model deepseek-v3 --gpu h200-sxm --gpus 64" + lengths + "ttft=2s,tpot=50ms", 2, 0.05, 64},
      {"--model mixtral-8x7b --gpu h100-sxm --gpus 8" + lengths + "ttft=1s,tpot=30ms", 1, 0.03, 8},
  };
  for (const Job& job : jobs) {
    SCOPED_TRACE(job.options);
    const Json json = planned(job.options, 0);
    if (!json.contains("winner")) {
      ADD_FAILURE() << json.dump();
      continue;
    }
    const Json& winner = json["winner"];
    EXPECT_LE(winner["ttft_s"], job.ttft_s);
    EXPECT_LE(winner["tpot_s"], job.tpot_s);
    EXPECT_LE(winner["gpus"], job.gpus);
    EXPECT_GT(winner["tokens_per_s_per_gpu"], 0.0);
    EXPECT_GT(json["candidates"], 10'000);
    // None of the other kinds does better.
    for (const Json& family : json["families"]) {
      if (!family.contains("best")) continue;
      EXPECT_LE(family["best"]["tokens_per_s_per_gpu"].get<double>(),
                winner["tokens_per_s_per_gpu"].get<double>() * (1 + 1e-9))
          << family["name"];
    }
  }
}

// The options that `plan` answers without a plan come with ways out; each is applied here to the
// command line as printed, and must do.
Json ways_out_that_work(const std::string& options) {
  Json json = planned(options, 1);
  EXPECT_EQ(json.value("feasible", true), false) << options;
  const Json ways = json["why_not"]["relaxations"];
  EXPECT_FALSE(ways.empty()) << options;
  for (const Json& way : ways) {
    const std::string option = way["option"];
    const Json applied = planned(options, 0, option);
    EXPECT_TRUE(applied.contains("winner")) << option;
    // What was promised for it is what is found with it.
    EXPECT_EQ(applied["winner"]["pools"], way["found"]["pools"]) << option;
  }
  return json;
}

bool proven(const Json& json, const std::string& limit) {
  return std::ranges::any_of(json["why_not"]["certificates"], [&](const Json& certificate) {
    return certificate["limit"] == limit && certificate["proves"] == true;
  });
}

bool offers(const Json& json, const std::string& start) {
  return std::ranges::any_of(json["why_not"]["relaxations"], [&](const Json& way) {
    return way["option"].get<std::string>().starts_with(start);
  });
}

TEST(Plan, TheImpossibleJobIsProvenSoAndItsWaysOutWork) {
  const std::string job =
      "--model qwen3-30b-a3b --gpu h100-sxm --gpus 8 --isl 4000 --osl 1000 "
      "--target ttft=20ms,tpot=1ms";
  const Json json = ways_out_that_work(job);
  EXPECT_TRUE(proven(json, "TPOT")) << json["why_not"].dump(2);
  EXPECT_TRUE(offers(json, "--target ttft=")) << json["why_not"].dump(2);

  const ProcessResult text = plan(job);
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_NE(text.out.find("proof: no plan has less TPOT than"), std::string::npos) << text.out;
}

TEST(Plan, EveryKindOfWayOutWorks) {
  const std::string lengths = " --isl 4000 --osl 1000 ";
  // Too little memory; too much throughput of the whole; of a GPU; of prompts; a batch and a share
  // of the memory that do not go together; a limit on the price.
  const Json memory = ways_out_that_work("--model mixtral-8x7b --gpu h100-sxm --gpus 1" + lengths);
  EXPECT_TRUE(offers(memory, "--gpus ")) << memory["why_not"].dump(2);
  EXPECT_TRUE(offers(memory, "--precision ")) << memory["why_not"].dump(2);
  ways_out_that_work("--model qwen3-30b-a3b --gpu h200-sxm --gpus 8" + lengths +
                     "--target tpot=10ms,tokens_per_s=60000");
  ways_out_that_work("--model qwen3-30b-a3b --gpu h200-sxm --gpus 4" + lengths +
                     "--target ttft=1500ms,tokens_per_s_per_gpu=20000");
  ways_out_that_work(
      "--model seed-ab-declared --cluster seed-64gb --gpus 4 --isl 1024 --osl 1 "
      "--target ttft=10s,prefill_tokens_per_s_per_gpu=100000");
  const Json batch = ways_out_that_work("--model qwen3-30b-a3b --gpu h100-sxm --gpus 4" + lengths +
                                        "--batch 512 --target memory_fraction=0.6,tpot=40ms");
  EXPECT_TRUE(offers(batch, "--batch ")) << batch["why_not"].dump(2);
}

TEST(Plan, DeepSeekOnEightH100SaysWhatIsMissing) {
  const std::string job = "--model deepseek-v3 --gpu h100-sxm --gpus 8 --isl 4000 --osl 1000";
  const Json json = ways_out_that_work(job);
  EXPECT_TRUE(proven(json, "memory")) << json["why_not"].dump(2);

  const ProcessResult text = plan(job);
  EXPECT_EQ(text.exit_code, 1);
  const std::size_t nearest = text.out.find("misses memory: ");
  ASSERT_NE(nearest, std::string::npos) << text.out;
  EXPECT_NE(text.out.find(" GB too much on each GPU, ", nearest), std::string::npos) << text.out;

  // The fewest GPUs at each precision: with so many there is a plan, with one fewer there is none.
  const std::size_t table = text.out.find("fewest GPUs, by the precision of the weights:\n");
  ASSERT_NE(table, std::string::npos) << text.out;
  std::istringstream lines(text.out.substr(text.out.find('\n', table) + 1));
  std::string precision;
  std::int64_t gpus = 0;
  int rows = 0;
  std::string line;
  while (std::getline(lines, line) && !line.empty()) {
    std::istringstream row(line);
    ASSERT_TRUE(row >> precision >> gpus) << line;
    const std::string more = "--precision " + precision + " --gpus ";
    EXPECT_EQ(plan(job, more + std::to_string(gpus)).exit_code, 0) << line;
    EXPECT_EQ(plan(job, more + std::to_string(gpus - 1)).exit_code, 1) << line;
    ++rows;
  }
  EXPECT_GE(rows, 4) << text.out;
}

TEST(Plan, WhatItWritesPassesVerify) {
  const std::vector<std::string> jobs = {
      "--model qwen3-30b-a3b --gpu h200-sxm --gpus 32 --target ttft=1s,tpot=20ms",  // two pools
      "--model qwen3-235b-a22b --gpu h200-sxm --gpus 64",
      "--model deepseek-v3 --gpu h200-sxm --gpus 64 --target ttft=2s,tpot=50ms",   // MLA
      "--model deepseek-v3 --gpu h100-sxm --gpus 12",                              // stages
      "--model qwen3-next-80b-a3b --gpu h100-sxm --gpus 8",                        // hybrid
      "--model jamba-1.5-mini --gpu h100-sxm --gpus 8",                            // state space
      "--model gpt-oss-120b --gpu h100-sxm --gpus 8",                              // windows, mxfp4
      "--model llama-3.1-70b --gpu h100-sxm --gpus 8",                             // no experts
      "--model seed-ce-declared --cluster seed-64gb --gpus 16 --target tpot=2ms",  // a shape spec
      "--model tests/golden/mixtral/config.json --gpu l40s --gpus 2 --isl 16 --osl 16",
  };
  for (const std::string& job : jobs) {
    for (const std::string mode : {"aggregated", "disaggregated"}) {
      SCOPED_TRACE(job);
      SCOPED_TRACE(mode);
      const ScratchFolder folder;
      const std::string lengths =
          job.find("--isl") == std::string::npos ? " --isl 4000 --osl 1000" : "";
      const ProcessResult result =
          plan(job + lengths, "--mode " + mode + " --out " + folder.path("plan.yaml"));
      ASSERT_TRUE(result.exit_code == 0 || (result.exit_code == 1 && mode == "disaggregated"))
          << result.out << result.err;
      if (result.exit_code != 0) continue;
      int files = 0;
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
        const ProcessResult verified = pentafold({"verify", entry.path().string()});
        EXPECT_EQ(verified.exit_code, 0)
            << verified.out << verified.err << read_bytes(entry.path().string());
        ++files;
      }
      EXPECT_EQ(files, mode == "aggregated" ? 1 : 2);
    }
  }
}

TEST(Plan, WithoutAPlanNothingIsWritten) {
  const ScratchFolder folder;
  const ProcessResult result =
      plan("--model deepseek-v3 --gpu h100-sxm --gpus 8 --isl 4000 --osl 1000 --out " +
           folder.path("plan.yaml"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder.path("plan.yaml")));
}

TEST(Plan, RunExecutesWhatItWrites) {
  // Free; kinds of parallelism that the free choice avoids for so small a model; CPU hosts.
  const std::vector<std::string> jobs = {
      "--gpu h100-sxm --gpus 4", "--gpu h100-sxm --gpus 4 --batch 1 --target tpot=min",
      "--gpu h100-sxm --gpus 4 --mode disaggregated", "--gpu cpu-host --gpus 4 --batch 8"};
  std::string text;
  for (const std::string& job : jobs) {
    SCOPED_TRACE(job);
    const ScratchFolder folder;
    const std::string file = folder.path("plan.yaml");
    const ProcessResult result =
        plan("--model models/tiny-moe --isl 16 --osl 16 " + job, "--out " + file);
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
    const ProcessResult ran = pentafold({"run", file, "--prompt", "The sea", "--max-tokens", "4"});
    ASSERT_EQ(ran.exit_code, 0) << ran.err << read_bytes(file);
    EXPECT_FALSE(ran.out.empty());
    if (text.empty()) text = ran.out;
    EXPECT_EQ(ran.out, text) << "the plan does not change the answer";
  }
}

TEST(Plan, MoreOfAnythingIsNeverWorse) {
  const std::string job = "--model qwen3-30b-a3b --gpu h100-sxm --isl 4000 --osl 1000 ";
  const auto tpot = [&](const std::string& more) {
    const Json json = planned(job + "--target tpot=min", 0, more);
    return json.contains("winner") ? json["winner"]["tpot_s"].get<double>() : -1.0;
  };
  EXPECT_LE(tpot("--gpus 16"), tpot("--gpus 8"));
  EXPECT_LE(tpot("--gpus 8 --isl 2000"), tpot("--gpus 8"));
  EXPECT_LE(tpot("--gpus 8 --top-k 4"), tpot("--gpus 8"));
}

TEST(Plan, TheOnlyTokenOfAnAnswerNeedsNoDecodePool) {
  const Json json = planned("--model qwen3-30b-a3b --gpu h200-sxm --gpus 8 --isl 4000 --osl 1", 0);
  ASSERT_TRUE(json.contains("winner"));
  EXPECT_EQ(json["winner"]["pools"].size(), 1U);
  for (const Json& family : json["families"]) {
    EXPECT_NE(family["name"], "prefill and decode apart");
  }
}

TEST(Plan, ParetoFallsInOneAndRisesInTheOther) {
  const Json json =
      planned("--model qwen3-30b-a3b --gpu h200-sxm --gpus 16 --isl 4000 --osl 1000 --pareto", 0);
  ASSERT_TRUE(json.contains("pareto"));
  const Json& front = json["pareto"];
  ASSERT_GE(front.size(), 2U);
  for (std::size_t i = 1; i < front.size(); ++i) {
    EXPECT_LT(front[i]["tokens_per_s_per_user"], front[i - 1]["tokens_per_s_per_user"]);
    EXPECT_GT(front[i]["tokens_per_s_per_gpu"], front[i - 1]["tokens_per_s_per_gpu"]);
  }
}

}  // namespace
}  // namespace pentafold::testing
