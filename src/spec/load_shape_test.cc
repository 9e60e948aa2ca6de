#include "spec/load_shape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "spec/layer_pattern.h"

namespace pentafold {
namespace {

CatalogModel catalog(const std::string& name) {
  for (CatalogModel& model : catalog_models()) {
    if (model.name == name) return model;
  }
  ADD_FAILURE() << name << " is not in the catalog";
  return {};
}

std::string refusal(const std::string& yaml) {
  const auto shape = parse_catalog_shape(yaml, "m.yaml");
  EXPECT_FALSE(shape.ok()) << yaml;
  if (shape.ok()) return "";
  EXPECT_EQ(shape.error().file, "m.yaml");
  return shape.error().message;
}

const std::string kSmall =
    "kind: catalog\nd: 64\nvocab: 100\nmixers:\n  gqa: {heads: 4, kv_heads: 2, head_dim: 16}\n"
    "ffns:\n  mlp: {dense_hidden: 96}\n";

TEST(Catalog, HoldsTheModelsOfThisDecadeUnderTheirFileNames) {
  const auto models = catalog_models();
  EXPECT_GE(models.size(), 43U);
  for (const CatalogModel& model : models) {
    const auto loaded = load_shape(model.name);
    ASSERT_TRUE(loaded.ok()) << model.name;
    EXPECT_EQ(loaded->model.name, model.name);
    EXPECT_EQ(loaded->path, model.name);
  }
}

// A figure given as "16 B" or "3 B" is rounded: half a unit of its last digit is no disagreement,
// but more than 5 % needs a word.
TEST(Catalog, EveryTotalIsWithinOnePercentOfTheOfficialOrSaysWhyNot) {
  int explained = 0;
  for (const CatalogModel& m : catalog_models()) {
    if (m.official_total_params == 0) continue;
    EXPECT_FALSE(m.source.empty()) << m.name;
    const double total = m.comparable_total() / m.official_total_params - 1;
    const double active = m.comparable_active() / m.official_active_params - 1;
    if (std::abs(total) > 0.01 || std::abs(active) > 0.05) {
      ++explained;
      EXPECT_FALSE(m.official_note.empty()) << m.name << " " << total << " " << active;
    } else {
      EXPECT_TRUE(m.official_note.empty() || m.official_note.find("1.04 T") != std::string::npos)
          << m.name << " explains a difference that is not there";
    }
    EXPECT_LE(std::abs(total), 0.04) << m.name;
    EXPECT_LE(std::abs(active), 0.09) << m.name;
    EXPECT_EQ(m.official_also_counts > 0,
              m.shape.declared_total_params.value_or(0) != m.official_total_params)
        << m.name;
    if (m.official_also_counts > 0) {
      EXPECT_FALSE(m.shape.not_counted.empty()) << m.name;
    }
  }
  EXPECT_LE(explained, 4);
}

TEST(Catalog, CachesTakeTheKnownBytes) {
  const auto bytes = [](const char* name) {
    return kv_bytes_per_token(catalog(name).shape, NumberFormat::BF16);
  };
  EXPECT_EQ(bytes("deepseek-v3"), 61 * 576 * 2);
  EXPECT_EQ(bytes("qwen3-30b-a3b"), 48 * 2 * 4 * 128 * 2);
  EXPECT_EQ(bytes("llama-3.1-405b"), 126 * 2 * 8 * 128 * 2);
  EXPECT_EQ(bytes("deepseek-v3.2"), 61 * (576 + 128) * 2);
  // DeepSeek-V4: 9.62 GiB of latents and index keys at a million tokens, as published.
  EXPECT_NEAR(bytes("deepseek-v4-pro") * 1048576 / (1 << 30), 9.62, 0.01);
}

TEST(Catalog, WindowsOfGptOssHalveALongCache) {
  const ModelShape shape = catalog("gpt-oss-120b").shape;
  const double whole = kv_bytes_per_token(shape, NumberFormat::BF16) * 100000;
  const double held = kv_bytes_of_sequence(shape, NumberFormat::BF16, 100000);
  EXPECT_NEAR(held / whole, 0.5, 0.001);
}

TEST(Catalog, DeclarationsAreKeptForChecking) {
  const ModelShape shape = catalog("mixtral-8x7b").shape;
  EXPECT_EQ(shape.declared_total_params, 46.7e9);
  EXPECT_EQ(shape.declared_active_params, 12.9e9);
}

TEST(CatalogShape, UnknownKeysAndNamesAreRefusedWithTheNearest) {
  EXPECT_TRUE(parse_catalog_shape(kSmall + "layers: 2 gqa+mlp\n", "m.yaml").ok());
  EXPECT_NE(refusal(kSmall + "layers: 2 gqa+mlp\nvocabb: 3\n").find("did you mean \"vocab\"?"),
            std::string::npos);
  EXPECT_NE(refusal(kSmall + "layers: 2 gqa+mpl\n").find("did you mean \"mlp\"?"),
            std::string::npos);
  EXPECT_NE(refusal(kSmall + "layers: 2 mlp+gqa\n").find("a mixer + an FFN"), std::string::npos);
  EXPECT_NE(refusal(kSmall).find("layers"), std::string::npos);
  EXPECT_NE(refusal(kSmall + "layers: gqa+mlp\nstored: {linear: fp9}\n").find("\"fp8\"?"),
            std::string::npos);
  EXPECT_NE(refusal("kind: catalog\nd: 8\n").find("vocab"), std::string::npos);
  EXPECT_NE(refusal("d: 8\n").find("kind"), std::string::npos);
  EXPECT_NE(refusal("kind: catalog\nd: 8\nvocab: 8\nlayers: a\nmixers: {a: {type: mla}}\n")
                .find("latent"),
            std::string::npos);
  EXPECT_NE(
      refusal("kind: catalog\nd: 8\nvocab: 8\nlayers: a\nffns: {a: {top_k: 3}}\n").find("needs"),
      std::string::npos);
}

std::string joined(const LayerPattern& pattern) {
  std::string out;
  for (const std::string& layer : pattern.layers) out += layer + " ";
  return pattern.problem.empty() ? out : pattern.problem;
}

TEST(LayerPattern, RepeatsLayersAndGroups) {
  EXPECT_EQ(joined(parse_layer_pattern("3 a+x, b", 10)), "a+x a+x a+x b ");
  EXPECT_EQ(joined(parse_layer_pattern("2 (2 a b) c", 10)), "a a b a a b c ");
  EXPECT_EQ(joined(parse_layer_pattern("2(2(a)b)", 10)), "a a b a a b ");
}

TEST(LayerPattern, MistakesAreNamed) {
  for (const char* text : {"", "3", "(a", "a)", "0 a", "11 a", "6 (a b)", "a; b", "99999999999 a",
                           "4 (4 (4 (4 a)))", "((((((((((a))))))))))"}) {
    EXPECT_FALSE(parse_layer_pattern(text, 10).problem.empty()) << text;
  }
}

class LoadShape : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_ = ::testing::TempDir() + "pentafold_load_shape";
};

const char* const kLlama =
    R"({"model_type": "llama", "vocab_size": 128, "hidden_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 2, "intermediate_size": 96})";
const char* const kGranite =
    R"({"model_type": "granitemoe", "vocab_size": 128, "hidden_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 2, "intermediate_size": 96, "num_local_experts": 4,
        "num_experts_per_tok": 2})";

TEST_F(LoadShape, ReadsEveryKindOfInputAndSaysWhatCanRun) {
  const auto spec = load_shape(PENTAFOLD_SOURCE_DIR "/specs/models/seed-ab.yaml");
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  EXPECT_TRUE(spec->runnable);
  EXPECT_EQ(spec->model.declared_total_params, 10e9);
  const auto yaml = load_shape(write("small.yaml", kSmall + "layers: 3 gqa+mlp\n"));
  ASSERT_TRUE(yaml.ok()) << yaml.error().to_string();
  EXPECT_EQ(yaml->model.name, "small");
  EXPECT_FALSE(yaml->runnable);
  write("llama/config.json", kLlama);
  const auto directory = load_shape(folder_ + "/llama/");
  ASSERT_TRUE(directory.ok()) << directory.error().to_string();
  EXPECT_EQ(directory->model.name, "llama");
  EXPECT_TRUE(directory->runnable);
  const auto json = load_shape(write("config.json", kGranite));
  ASSERT_TRUE(json.ok()) << json.error().to_string();
  EXPECT_FALSE(json->runnable);
}

TEST_F(LoadShape, AnUnknownNameIsRefusedWithTheNearest) {
  const auto shape = load_shape("qwen3-30b-a3");
  ASSERT_FALSE(shape.ok());
  EXPECT_NE(shape.error().message.find("did you mean \"qwen3-30b-a3b\"?"), std::string::npos);
  const auto part = load_shape("gpt-oss");
  ASSERT_FALSE(part.ok());
  EXPECT_NE(part.error().message.find("did you mean gpt-oss-120b, gpt-oss-20b?"),
            std::string::npos);
  for (const char* path : {"", "/", ".", "no/such.yaml", "no/such.json", "specs/models"}) {
    const auto refused = load_shape(path);
    ASSERT_FALSE(refused.ok()) << path;
    EXPECT_FALSE(refused.error().message.empty());
  }
}

}  // namespace
}  // namespace pentafold
