// `make validate` once failed whatever was predicted: jq 1.6 takes no variable named `then`, and no
// test ran the script.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

// The head and some rows of the published measurements.
std::string some_measurements() {
  const std::string all = read_bytes(repo("specs/measurements/published.csv"));
  std::size_t end = 0;
  for (int line = 0; line < 60; ++line) end = all.find('\n', end) + 1;
  return all.substr(0, end);
}

TEST(Issue, ValidateJudgesAgainstItsRecord) {
  const ScratchFolder folder;
  const std::string file = folder.write("m.csv", some_measurements());
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
  const auto rows = summary.at("rows").get<int>();
  ASSERT_GT(rows, 20);

  const ProcessResult same = validate();
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_NE(same.out.find("no worse"), std::string::npos) << same.out;

  summary["tpot"]["median"] = summary["tpot"]["median"].get<double>() / 1.1;
  summary["rows"] = rows + 1;
  folder.write("record.json", summary.dump());
  const ProcessResult worse = validate();
  EXPECT_EQ(worse.exit_code, 1) << worse.out;
  EXPECT_NE(worse.err.find("worse: tpot median"), std::string::npos) << worse.err;
  const std::string fewer =
      "worse: " + std::to_string(rows) + " rows predicted, recorded " + std::to_string(rows + 1);
  EXPECT_NE(worse.err.find(fewer), std::string::npos) << worse.err;
}

}  // namespace
}  // namespace pentafold::testing
