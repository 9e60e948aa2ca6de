// validate: a file of published numbers in, errors out.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

// Made up, but near what such machines do.
const std::string kFile =
    "id,engine,model,gpu,gpus_total,tp,ep,dp_attn,disagg,input_len,output_len,load,load_kind,"
    "metric,value,unit,notes\n"
    "a-1,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,mean_tpot,12,ms,\n"
    "a-2,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,mean_ttft,150,ms,\n"
    "a-3,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,output_tput_total,"
    "1200,tok/s,\"quoted, with a comma\"\n"
    "b-1,sglang,Qwen/Qwen3-30B-A3B,H200 SXM 141GB,2,2,2,1,n,1024,512,16,concurrency,mean_tpot,6,"
    "ms,\n"
    "c-1,vllm,acme/rocket-9b,H100 SXM 80GB,1,1,1,1,n,1024,512,16,concurrency,mean_tpot,6,ms,\n";

TEST(Validate, PrintsAndWritesWhatTheJsonSays) {
  const ScratchFolder folder;
  const std::string file = folder.write("m.csv", kFile);
  const std::string rows = folder.path("rows.csv");
  const ProcessResult json =
      pentafold({"validate", file, "--json", "--threads", "2", "--rows-out", rows});
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json summary = Json::parse(json.out).at("summary");
  EXPECT_EQ(summary.at("tpot").at("n"), 2);
  EXPECT_EQ(summary.at("ttft").at("n"), 1);
  EXPECT_EQ(summary.at("throughput").at("n"), 1);
  for (const char* key : {"median", "mean", "p90", "bias"}) {
    EXPECT_TRUE(summary.at("tpot").at(key).is_number()) << key;
  }
  EXPECT_LT(summary.at("tpot").at("mean"), 1.0) << "a fraction";
  EXPECT_EQ(summary.at("skipped").at("unknown model"), 1);
  EXPECT_TRUE(summary.at("pair_order").contains("right"));
  EXPECT_TRUE(summary.at("pair_order").contains("of"));
  EXPECT_TRUE(summary.at("coverage80").is_number());
  EXPECT_NE(json.err.find("configurations"), std::string::npos) << "progress";
  const std::string written = read_bytes(rows);
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 6) << "a line a row and the head";
  EXPECT_NE(written.find("unknown model,\"model \"\"acme/rocket-9b\"\"\""), std::string::npos)
      << written;

  const ProcessResult text = pentafold({"validate", file, "--quiet"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_TRUE(text.err.empty()) << text.err;
  for (const char* part : {"by gpu", "h200-sxm", "by mode", "aggregated", "1 unknown model"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(pentafold({"validate", file, "--json", "--threads", "1", "--quiet"}).out, json.out);
}

TEST(Validate, SelectsAndBreaksDown) {
  const ScratchFolder folder;
  const std::string file = folder.write("m.csv", kFile);
  const ProcessResult one = pentafold({"validate", file, "--only", "engine=sglang,engine=trt",
                                       "--by", "model,tp", "--json", "--quiet"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const Json out = Json::parse(one.out);
  EXPECT_EQ(out.at("summary").at("rows"), 1);
  EXPECT_TRUE(out.at("by").at("model").contains("qwen3-30b-a3b"));
  EXPECT_EQ(out.at("by").size(), 2U);
}

TEST(Validate, RefusesWhatItCannotMean) {
  const ScratchFolder folder;
  const std::string file = folder.write("m.csv", kFile);
  EXPECT_TRUE(refused(pentafold({"validate", "no/such.csv"}), {"no/such.csv"}));
  EXPECT_TRUE(refused(pentafold({"validate", "README.md"}), {"README.md"}));
  EXPECT_TRUE(refused(pentafold({"validate", file, "--by", "colour"}), {"colour", "gpu"}));
  EXPECT_TRUE(refused(pentafold({"validate", file, "--only", "gpu"}), {"property=value"}));
  EXPECT_TRUE(refused(pentafold({"validate", file, "--rows-out", "no/such/folder/x.csv"}),
                      {"no/such/folder/x.csv"}));
}

}  // namespace
}  // namespace pentafold::testing
