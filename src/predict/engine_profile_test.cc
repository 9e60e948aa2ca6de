#include "predict/engine_profile.h"

#include <gtest/gtest.h>

#include <set>

namespace pentafold {
namespace {

TEST(EngineProfile, EveryEngineOfTheCatalogCanBeRead) {
  for (const std::string& name : engine_names()) {
    for (const char* gpu : {"h100-sxm", "h200-sxm", "b200-sxm", "mi355x", "no such device"}) {
      const auto engine = find_engine(name, gpu);
      ASSERT_TRUE(engine.ok()) << engine.error().message;
      EXPECT_EQ(engine->name, name);
      for (const ProfileConstant& constant : profile_constants()) {
        EXPECT_GE((*engine).*constant.value, 0) << name << " " << constant.key;
      }
    }
  }
}

TEST(EngineProfile, KeysAreDistinct) {
  std::set<std::string_view> keys;
  for (const ProfileConstant& constant : profile_constants()) {
    EXPECT_TRUE(keys.insert(constant.key).second) << constant.key;
  }
}

constexpr const char* kText =
    "engines:\n"
    "  - name: one\n"
    "    aliases: [uno]\n"
    "    layer: 10us\n"
    "    weights: 1.5\n"
    "    exchange: gathered\n"
    "    on:\n"
    "      - {gpus: [a, b], layer: 20us}\n"
    "      - {gpus: [b, c], layer: 30us, weights: 2}\n";

TEST(EngineProfile, TheFirstEntryOfADeviceCounts) {
  const auto layer = [](const char* gpu) {
    return parse_engine(kText, "x.yaml", "uno", gpu).value().layer_s;
  };
  EXPECT_DOUBLE_EQ(layer("none"), 10e-6);
  EXPECT_DOUBLE_EQ(layer("a"), 20e-6);
  EXPECT_DOUBLE_EQ(layer("b"), 20e-6);
  EXPECT_DOUBLE_EQ(layer("c"), 30e-6);
  EXPECT_DOUBLE_EQ(parse_engine(kText, "x.yaml", "one", "c").value().weights, 2);
  EXPECT_EQ(parse_engine(kText, "x.yaml", "one", "c").value().exchange, RowExchange::Gathered);
}

TEST(EngineProfile, RefusalsNameTheLineOrTheNearest) {
  const auto refused = [](const std::string& text) {
    return parse_engine(text, "x.yaml", "one", "").error().message;
  };
  EXPECT_NE(refused("engines:\n  - name: one\n    layr: 1us\n").find("layer"), std::string::npos);
  EXPECT_NE(refused("engines:\n  - name: one\n    layer: 5\n").find("layer"), std::string::npos);
  EXPECT_NE(refused("engines:\n  - name: one\n    layer: 5days\n"), "");
  EXPECT_NE(refused("engines:\n  - {name: one, layer: 11s}\n").find("more than 10 s"),
            std::string::npos);
  const std::string unknown = find_engine("vlm", "h100-sxm").error().message;
  EXPECT_NE(unknown.find("vllm"), std::string::npos) << unknown;
}

}  // namespace
}  // namespace pentafold
