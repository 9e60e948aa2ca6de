#include "spec/load_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace pentafold {
namespace {

namespace fs = std::filesystem;
const std::string kTiny = PENTAFOLD_SOURCE_DIR "/models/tiny-moe";

class LoadModelTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "load_model_test";
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << text;
  }
  std::string refusal(const std::string& path) const {
    const auto result = load_model(path);
    return result.ok() ? "" : result.error().to_string();
  }
  std::string directory_;
};

TEST_F(LoadModelTest, ADirectoryIsACheckpoint) {
  for (const std::string& path : {kTiny, kTiny + "/"}) {
    const ModelInput input = load_model(path).value();
    EXPECT_EQ(input.checkpoint_dir, path);
    EXPECT_EQ(input.model.name, "tiny-moe");
    EXPECT_EQ(input.model.dtype, DType::BF16);
    EXPECT_EQ(input.model.eos_ids, std::vector<std::int32_t>{0});
    const std::int64_t layer =
        2 * 256 * 256 + 2 * 128 * 256 + 16 * 256 + 16 * 3 * 256 * 128 + 2 * 256;
    EXPECT_EQ(count_params(input.model).total, 2 * 4096 * 256 + 8 * layer + 256);
  }
}

TEST_F(LoadModelTest, AConfigOrAShapeHasNoCheckpoint) {
  EXPECT_EQ(load_model(kTiny + "/config.json").value().checkpoint_dir, "");
  fs::copy_file(kTiny + "/config.json", directory_ + "/config.json");
  EXPECT_EQ(load_model(directory_).value().checkpoint_dir, "");
  write("s.yaml", "layers: 1\nd: 8\nheads: 2\nvocab: 5\ndense_hidden: 4\n");
  EXPECT_EQ(load_model(directory_ + "/s.yaml").value().model.family, Family::Synthetic);
}

TEST_F(LoadModelTest, GenerationConfigDecidesWhereToStop) {
  fs::copy_file(kTiny + "/config.json", directory_ + "/config.json");
  write("generation_config.json", R"({"eos_token_id": [7, 9], "bos_token_id": 4})");
  const ModelSpec m = load_model(directory_).value().model;
  EXPECT_EQ(m.eos_ids, (std::vector<std::int32_t>{7, 9}));
  EXPECT_EQ(m.bos_ids, std::vector<std::int32_t>{4});
  write("generation_config.json", R"({"eos_token_id": "stop"})");
  EXPECT_NE(refusal(directory_).find("generation_config.json: eos_token_id must be whole numbers"),
            std::string::npos);
}

TEST_F(LoadModelTest, WrongPathsGetASentence) {
  EXPECT_EQ(refusal(directory_), directory_ +
                                     ": has no config.json; a model directory needs one (and "
                                     "safetensors files)");
  EXPECT_EQ(refusal(directory_ + "/absent.yaml"),
            directory_ + "/absent.yaml: no such file; check the path");
  EXPECT_NE(
      refusal(directory_ + "/model.gguf").find("is not a model; give a Hugging Face directory"),
      std::string::npos);
  write("config.json", "not json");
  EXPECT_NE(refusal(directory_).find("is not valid JSON"), std::string::npos);
  fs::remove(directory_ + "/config.json");
  fs::copy_file(kTiny + "/config.json", directory_ + "/config.json");
  write("model.safetensors", "short");
  EXPECT_NE(refusal(directory_).find("model.safetensors: is 5 bytes long, too short"),
            std::string::npos);
}

}  // namespace
}  // namespace pentafold
