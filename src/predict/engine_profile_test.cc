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
    "      - {gpus: [b, c], layer: 30us, weights: 2}\n"
    "      - {gpus: [c], before: 2026-01, layer: 40us}\n"
    "      - {gpus: [c], before: 2025-11, layer: 50us}\n";

TEST(EngineProfile, LaterEntriesOfADeviceCountOverEarlierOnes) {
  const auto layer = [](const char* gpu) {
    return parse_engine(kText, "x.yaml", "uno", gpu).value().layer_s;
  };
  EXPECT_DOUBLE_EQ(layer("none"), 10e-6);
  EXPECT_DOUBLE_EQ(layer("a"), 20e-6);
  EXPECT_DOUBLE_EQ(layer("b"), 30e-6);
  EXPECT_DOUBLE_EQ(layer("c"), 30e-6);
  EXPECT_DOUBLE_EQ(parse_engine(kText, "x.yaml", "one", "c").value().weights, 2);
  EXPECT_EQ(parse_engine(kText, "x.yaml", "one", "c").value().exchange, RowExchange::Gathered);
}

TEST(EngineProfile, EntriesOfEarlierMonthsHoldForThoseAlone) {
  const auto layer = [](const char* name) {
    return parse_engine(kText, "x.yaml", name, "c").value().layer_s;
  };
  EXPECT_DOUBLE_EQ(layer("one"), 30e-6);
  EXPECT_DOUBLE_EQ(layer("one@2026-01"), 30e-6);
  EXPECT_DOUBLE_EQ(layer("one@2025-12"), 40e-6);
  EXPECT_DOUBLE_EQ(layer("uno@2025-11"), 40e-6);
  EXPECT_DOUBLE_EQ(layer("one@2025-10"), 50e-6);
  for (const char* name : {"one@", "one@2025", "one@2025-13", "one@1@2025-11"}) {
    const auto refused = parse_engine(kText, "x.yaml", name, "c");
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_NE(refused.error().message.find("one@2025-11"), std::string::npos) << name;
  }
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
  for (const char* month : {"2025", "2025-1", "2025-13", "2025-00", "Nov 2025", "2025/11"}) {
    EXPECT_NE(refused(std::string("engines:\n  - name: one\n    on:\n      - {gpus: [], before: ") +
                      month + "}\n")
                  .find("no month"),
              std::string::npos)
        << month;
  }
  const std::string unknown = find_engine("vlm", "h100-sxm").error().message;
  EXPECT_NE(unknown.find("vllm"), std::string::npos) << unknown;
}

}  // namespace
}  // namespace pentafold
