// `make validate` once failed whatever was predicted: jq 1.6 takes no variable named `then`, and no
// test ran the script.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

const std::string kFile =
    "id,engine,model,gpu,gpus_total,tp,ep,dp_attn,disagg,input_len,output_len,load,load_kind,"
    "metric,value,unit,notes\n"
    "a-1,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,mean_tpot,12,ms,\n"
    "a-2,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,mean_ttft,150,ms,\n"
    "a-3,vllm,Qwen/Qwen3-32B,H100 SXM 80GB,4,4,1,1,n,1024,512,16,concurrency,output_tput_total,"
    "1200,tok/s,\n";

TEST(Issue, ValidateJudgesAgainstItsRecord) {
  const ScratchFolder folder;
  const std::string file = folder.write("m.csv", kFile);
  const std::string record = folder.path("record.json");
  std::vector<std::string> command = {"env", "RECORD=" + record, "PENTAFOLD_BINARY=" + binary(),
                                      "scripts/validate", file};
  const auto validate = [&command] {
    return run_process(command, std::chrono::seconds(120), PENTAFOLD_SOURCE_DIR);
  };
  command.emplace_back("--record");
  const ProcessResult recorded = validate();
  command.pop_back();
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  nlohmann::json summary = nlohmann::json::parse(read_bytes(record));
  ASSERT_EQ(summary.at("rows"), 3);

  const ProcessResult same = validate();
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_NE(same.out.find("no worse"), std::string::npos) << same.out;

  summary["tpot"]["median"] = summary["tpot"]["median"].get<double>() / 1.1;
  summary["rows"] = 4;
  folder.write("record.json", summary.dump());
  const ProcessResult worse = validate();
  EXPECT_EQ(worse.exit_code, 1) << worse.out;
  EXPECT_NE(worse.err.find("worse: tpot median"), std::string::npos) << worse.err;
  EXPECT_NE(worse.err.find("worse: 3 rows predicted, recorded 4"), std::string::npos) << worse.err;
}

}  // namespace
}  // namespace pentafold::testing
