#include "spec/model_names.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

TEST(ModelNames, OwnersDatesTuningAndFormatsDoNotCount) {
  const std::pair<const char*, const char*> names[] = {
      {"deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"},
      {"nvidia/DeepSeek-R1-0528-NVFP4-v2", "deepseek-r1"},
      {"nvidia/DeepSeek-V3.1-NVFP4", "deepseek-v3"},
      {"deepseek-ai/DeepSeek-V3-0324", "deepseek-v3"},
      {"deepseek-ai/DeepSeek-V2-Lite-Chat", "deepseek-v2-lite"},
      {"nvidia/Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b"},
      {"meta-llama/Meta-Llama-3-70B-Instruct", "llama-3.1-70b"},
      {"meta-llama/Llama-3.3-70B-Instruct", "llama-3.1-70b"},
      {"amd/Llama-3.1-405B-Instruct-FP8-KV", "llama-3.1-405b"},
      {"meta-llama/Llama-2-70b-chat-hf", "llama-2-70b"},
      {"mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"},
      {"meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4-scout"},
      {"Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b"},
      {"Qwen/Qwen3-Omni-30B-A3B (thinker, Qwen3-30B-A3B class)", "qwen3-30b-a3b"},
      {"Qwen/Qwen3-Coder-Next", "qwen3-next-80b-a3b"},
      {"moonshotai/Kimi-K2-Instruct-0905", "kimi-k2"},
      {"zai-org/GLM-4.6-FP8", "glm-4.5"},
      {"RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w8a8", "llama-3.1-70b"},
      {"openai/gpt-oss-120b", "gpt-oss-120b"},
  };
  for (const auto& [published, meant] : names) {
    EXPECT_EQ(catalog_name_of(published).value_or("none"), meant) << published;
  }
}

TEST(ModelNames, AnotherSizeOrVersionIsAnotherModel) {
  for (const char* name : {"meta-llama/Llama-3.1-7B", "deepseek-ai/DeepSeek-V5", "Qwen/Qwen3", "",
                           "/", "-", "instruct", "Qwen/Qwen3-32B-Sparse", "fp8-v2"}) {
    EXPECT_FALSE(catalog_name_of(name)) << name;
  }
  EXPECT_FALSE(catalog_name_of(std::string(1'000'000, '-')));
}

TEST(ModelNames, EveryModelIsFoundByItsNameAndNoAliasIsTwice) {
  std::set<std::string> seen;
  for (const CatalogModel& model : catalog_models()) {
    EXPECT_EQ(catalog_name_of(model.name), model.name);
    EXPECT_EQ(catalog_name_of("owner/" + model.name + "-FP8"), model.name);
    EXPECT_TRUE(seen.insert(model.name).second);
    for (const std::string& alias : model.aliases) {
      EXPECT_TRUE(seen.insert(alias).second) << alias;
      EXPECT_EQ(catalog_name_of(alias), model.name) << alias;
    }
  }
}

TEST(ModelNames, LoadShapeTakesThem) {
  const auto input = load_shape("Qwen/Qwen3-32B");
  ASSERT_TRUE(input.ok()) << input.error().to_string();
  EXPECT_EQ(input->model.name, "qwen3-32b");
  EXPECT_FALSE(load_shape("Qwen/Qwen9-32B").ok());
}

}  // namespace
}  // namespace pentafold
