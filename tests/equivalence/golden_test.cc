// Every checkpoint of tests/golden against logits that a float64 forward pass, written without
// knowledge of this program (tests/golden/README.md), computed for it: on one rank and under plans.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "execute/engine.h"
#include "support/npy.h"
#include "support/run_plan.h"

namespace pentafold::testing {
namespace {

namespace fs = std::filesystem;

struct Golden {
  std::string name;
  std::string model_dir;
  std::string prompt;
  std::string logits;
};

std::vector<Golden> goldens() {
  const std::string root = PENTAFOLD_SOURCE_DIR;
  std::vector<Golden> out;
  for (const auto& entry : fs::directory_iterator(root + "/tests/golden")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    const std::string dir = entry.path().string();
    out.push_back(
        {entry.path().filename().string(), dir, dir + "/prompt.json", dir + "/logits.npy"});
  }
  out.push_back({"tiny-moe", root + "/models/tiny-moe", root + "/tests/golden/tiny_moe_prompt.json",
                 root + "/tests/golden/tiny_moe_logits.npy"});
  std::ranges::sort(out, {}, &Golden::name);
  return out;
}

// Largest difference over the range of the expected logits.
double relative_error(const Golden& golden, const Degrees& degrees) {
  auto input = load_model(golden.model_dir);
  EXPECT_TRUE(input.ok()) << (input.ok() ? "" : input.error().to_string());
  if (!input.ok()) return INFINITY;
  const ModelSpec& model = input->model;
  std::ifstream prompt_file(golden.prompt);
  Request request;
  request.prompt = nlohmann::json::parse(prompt_file).at("ids").get<std::vector<std::int32_t>>();
  request.max_tokens = 1;
  auto source = WeightSource::open_checkpoint(input->checkpoint_dir, model);
  EXPECT_TRUE(source.ok()) << (source.ok() ? "" : source.error().to_string());
  if (!source.ok()) return INFINITY;
  EngineOptions options;
  options.all_logits = true;
  options.max_positions = 64;
  options.blocks_per_group = 8;
  auto engine = Engine::start(make_plan(degrees, model), model, *source, options);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().to_string());
  if (!engine.ok()) return INFINITY;

  const NpyMatrix expected = read_npy(golden.logits);
  EXPECT_EQ(expected.cols, model.vocab);
  EXPECT_EQ(expected.rows, static_cast<std::int64_t>(request.prompt.size()));
  const auto [low, high] = std::ranges::minmax(expected.values);
  double worst = 0;
  std::int64_t rows = 0;
  GenerateCallbacks callbacks;
  callbacks.on_logits = [&](const LogitRow& row) {
    ++rows;
    for (std::int64_t v = 0; v < expected.cols; ++v) {
      const double gap =
          row.logits[static_cast<std::size_t>(v)] -
          expected.values[static_cast<std::size_t>(row.position * expected.cols + v)];
      worst = std::max(worst, std::abs(gap));
    }
  };
  const auto report = (*engine)->generate({request}, {}, callbacks);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(rows, expected.rows);
  return worst / (high - low);
}

TEST(Golden, LogitsAreThoseOfAnIndependentImplementation) {
  ASSERT_GE(goldens().size(), 16U);
  for (const Golden& golden : goldens()) {
    // fp32 chains of a few hundred terms: errors of 1e-6; a wrong reading of a config shows as
    // 1e-1.
    EXPECT_LT(relative_error(golden, {}), 2e-5) << golden.name;
  }
}

TEST(Golden, UnderPlansToo) {
  for (const Golden& golden : goldens()) {
    auto input = load_model(golden.model_dir);
    ASSERT_TRUE(input.ok());
    const auto degrees = legal_degrees(input->model, 4, PlacementStyle::Blocked);
    EXPECT_LT(relative_error(golden, degrees.back()), 2e-5) << golden.name;
  }
}

}  // namespace
}  // namespace pentafold::testing
