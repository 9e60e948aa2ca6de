// Plans for other devices and models of the catalog: verify judges them, run takes what it can.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

std::string hash_line(const std::string& out) {
  const std::size_t at = out.find("logits hash");
  return at == std::string::npos ? out : out.substr(at, out.find('\n', at) - at);
}

TEST(PlanTarget, VerifyKnowsTheCatalog) {
  const ScratchFolder folder;
  const std::string plan = folder.write(
      "p.yaml",
      "model: deepseek-v3\ndevice: h200-sxm\ndevice_memory: 141GB\nprecision: fp8\ndp: 64\n"
      "kv_blocks: 8000\n");
  const ProcessResult yes = pentafold({"verify", plan});
  EXPECT_EQ(yes.exit_code, 0) << yes.out << yes.err;
  EXPECT_NE(yes.out.find("h200-sxm, as fp8"), std::string::npos) << yes.out;
  EXPECT_NE(yes.out.find("not checked"), std::string::npos) << yes.out;
  const ProcessResult json = pentafold({"verify", plan, "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["not_checked"].size(), 1U);

  const ProcessResult no = pentafold({"verify", "--plan", "tp=3", "--model", "qwen3-30b-a3b"});
  EXPECT_EQ(no.exit_code, 1);
  EXPECT_TRUE(refused(pentafold({"verify", "--plan", "tp=1", "--model", "qwen3-30b-a3"}),
                      {"\"qwen3-30b-a3b\""}));
}

TEST(PlanTarget, APrefillPoolIsVerifiedToo) {
  const ScratchFolder folder;
  const std::string plan = folder.write(
      "p.yaml", "model: mixtral-8x7b\nprecision: bf16\ntp: 4\nprefill_pool: pool.yaml\n");
  EXPECT_TRUE(refused(pentafold({"verify", plan}), {"pool.yaml", "cannot be opened"}));
  folder.write("pool.yaml", "precision: bf16\ntp: 2\n");
  const ProcessResult yes = pentafold({"verify", plan});
  EXPECT_EQ(yes.exit_code, 0) << yes.out << yes.err;
  EXPECT_NE(yes.out.find("prefill pool"), std::string::npos) << yes.out;
  folder.write("pool.yaml", "precision: bf16\ntp: 5\nep: 1\n");
  const ProcessResult no = pentafold({"verify", plan});
  EXPECT_EQ(no.exit_code, 1);
  EXPECT_NE(no.out.find("tp = 5 does not divide"), std::string::npos) << no.out;
  folder.write("pool.yaml", "model: qwen3-8b\n");
  EXPECT_TRUE(refused(pentafold({"verify", plan}), {"mixtral-8x7b", "qwen3-8b"}));
  folder.write("pool.yaml", "prefill_pool: p.yaml\n");
  EXPECT_TRUE(refused(pentafold({"verify", plan}), {"remove its prefill_pool"}));
}

TEST(PlanTarget, RunTakesThePrecisionItComputesWith) {
  const ScratchFolder folder;
  const std::vector<std::string> ask = {"--prompt", "The king", "--max-tokens", "3",
                                        "--logits-hash"};
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "run");
    arguments.insert(arguments.end(), ask.begin(), ask.end());
    return pentafold(arguments);
  };
  const ProcessResult plain = run({"--plan", "tp=1", "--model", "models/tiny-moe"});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  // A plan for a larger machine: a cache that this one could not hold is not made.
  folder.write("pool.yaml", "tp: 1\n");
  const std::string plan = folder.write(
      "p.yaml", "model: " + repo("models/tiny-moe") +
                    "\nprecision: bf16\ndevice: h200-sxm\ndevice_memory: 141GB\ntp: 2\nep: 2\n"
                    "kv_blocks: 1000000\nprefill_pool: pool.yaml\n");
  const ProcessResult other = run({plan});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  const ProcessResult same = run({"--plan", "kv=bf16", "--model", "models/tiny-moe"});
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(hash_line(other.out), hash_line(same.out));
  EXPECT_NE(hash_line(other.out), hash_line(plain.out)) << "a cache in bf16 rounds";
  EXPECT_NE(other.err.find("prefill pool"), std::string::npos) << other.err;

  const std::string all_wide =
      folder.write("w.yaml", "precision: {experts: f32, linear: f32, other: f32, kv: f32}\n");
  const ProcessResult wide = run({all_wide, "--model", "models/tiny-moe"});
  const ProcessResult weights = run({"--plan", "weights=f32", "--model", "models/tiny-moe"});
  EXPECT_EQ(wide.exit_code, 0) << wide.err;
  EXPECT_EQ(hash_line(wide.out), hash_line(weights.out));

  EXPECT_TRUE(refused(run({"--plan", "precision=fp8", "--model", "models/tiny-moe"}),
                      {"fp8", "precision: bf16"}));
  const std::string cache = folder.write("k.yaml", "precision: {kv: fp8}\n");
  EXPECT_TRUE(refused(run({cache, "--model", "models/tiny-moe"}), {"fp8", "kv: f32, bf16"}));
  EXPECT_TRUE(refused(run({"--plan", "precision=nvfp4", "--model", "models/tiny-moe"}),
                      {"nvfp4", "precision: bf16"}));
  const std::string rest = folder.write("r.yaml", "precision: {other: int8}\n");
  EXPECT_TRUE(refused(run({rest, "--model", "models/tiny-moe"}), {"embedding", "int8"}));
  // Parts in formats of their own: bits of one rank.
  const std::string mixed = folder.write(
      "m.yaml", "precision: {experts: int4, linear: int8, other: f32, kv: f32}\ntp: 2\nep: 2\n");
  const ProcessResult parts = run({mixed, "--model", "models/tiny-moe", "--check-one-rank"});
  EXPECT_EQ(parts.exit_code, 0) << parts.out << parts.err;
  EXPECT_NE(hash_line(parts.out), hash_line(plain.out));

  const ProcessResult eight =
      run({"--plan", "tp=2,ep=2,weights=int8", "--model", "models/tiny-moe", "--check-one-rank"});
  EXPECT_EQ(eight.exit_code, 0) << eight.out << eight.err;
  EXPECT_NE(hash_line(eight.out), hash_line(plain.out));
  EXPECT_TRUE(refused(run({"--plan", "tp=1", "--model", "qwen3-30b-a3b"}),
                      {"qwen3-30b-a3b", "no weights", "--model"}));
}

TEST(PlanTarget, ProgramAndInspectKnowTheCatalog) {
  const ProcessResult program =
      pentafold({"program", "--plan", "tp=2,ep=4", "--model", "mixtral-8x7b", "--rank", "3"});
  EXPECT_EQ(program.exit_code, 0) << program.err;
  EXPECT_NE(program.out.find("expert_mlp"), std::string::npos);
  EXPECT_TRUE(refused(pentafold({"program", "--plan", "tp=2", "--model", "deepseek-v3"}),
                      {"programs of latent attention are not lowered yet"}));

  const ProcessResult inspect = pentafold({"inspect", "deepseek-v3", "--json"});
  ASSERT_EQ(inspect.exit_code, 0) << inspect.err;
  const auto json = nlohmann::json::parse(inspect.out);
  EXPECT_EQ(json["layers"], 61);
  EXPECT_EQ(json["kv_bytes_per_token_bf16"], 61 * 576 * 2);
  EXPECT_EQ(pentafold({"inspect", "deepseek-v3"}).exit_code, 0);
}

}  // namespace
}  // namespace pentafold::testing
