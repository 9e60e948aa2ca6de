#include "spec/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace pentafold {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "checkpoint_test." +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << text;
  }
  // One F32 tensor of two elements.
  void write_shard(const std::string& name, const std::string& tensor) const {
    const std::string header =
        "{\"" + tensor + "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    const std::uint64_t length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    write(name, file + header + "12345678");
  }
  void write_index(const std::string& map) const {
    write("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  }
  std::string refusal() const {
    const auto opened = Checkpoint::open(directory_);
    return opened.ok() ? "" : opened.error().message;
  }
  std::string directory_;
};

TEST_F(CheckpointTest, ShardsAreFoundThroughTheIndex) {
  write_shard("m-1.safetensors", "a");
  write_shard("m-2.safetensors", "b");
  write_index(R"({"a":"m-1.safetensors","b":"m-2.safetensors"})");
  EXPECT_TRUE(Checkpoint::present_in(directory_));
  Checkpoint opened = Checkpoint::open(directory_).value();
  const Checkpoint moved = std::move(opened);
  ASSERT_NE(moved.find("b"), nullptr);
  EXPECT_EQ(std::memcmp(moved.find("b")->bytes.data(), "12345678", 8), 0);
  EXPECT_EQ(moved.find("a")->usable, DType::F32);
  EXPECT_EQ(moved.find("c"), nullptr);
  EXPECT_EQ(moved.size(), 2U);
}

TEST_F(CheckpointTest, IndexAndShardsMustAgree) {
  EXPECT_FALSE(Checkpoint::present_in(directory_));
  EXPECT_NE(refusal().find("holds neither model.safetensors nor"), std::string::npos);
  write_shard("m-1.safetensors", "a");
  write_index(R"({"a":"m-1.safetensors","b":"m-2.safetensors"})");
  EXPECT_EQ(refusal(),
            "names shard \"m-2.safetensors\", which is not in the directory; download it");
  write_index(R"({"a":"m-1.safetensors","b":"m-1.safetensors"})");
  EXPECT_EQ(refusal(),
            "places tensor \"b\" in shard \"m-1.safetensors\", which does not hold it; "
            "download both again");
}

TEST_F(CheckpointTest, ShardsOutsideTheDirectoryAreRefused) {
  for (const char* name :
       {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..\\\\x.safetensors",
        ".safetensors", "x.bin", "", "a\\u0000.safetensors"}) {
    write_index(std::string("{\"a\":\"") + name + "\"}");
    EXPECT_NE(refusal().find("a shard must be a .safetensors file of the same directory"),
              std::string::npos)
        << name;
  }
}

TEST_F(CheckpointTest, MalformedIndexesAreRefused) {
  write("model.safetensors.index.json", "{\"weight_map\":\n[}");
  EXPECT_NE(refusal().find("is not valid JSON"), std::string::npos);
  write("model.safetensors.index.json", "{}");
  EXPECT_NE(refusal().find("no \"weight_map\""), std::string::npos);
  write_index("{\"a\":5}");
  EXPECT_NE(refusal().find("gives tensor \"a\" no file name"), std::string::npos);
  write_index("{}");
  EXPECT_NE(refusal().find("names no tensors"), std::string::npos);
  write("model.safetensors", "");
  EXPECT_EQ(refusal(), "is empty; download it again");
  fs::remove(directory_ + "/model.safetensors");
  fs::create_directory(directory_ + "/model.safetensors");
  EXPECT_EQ(refusal(), "is not a regular file");
}

}  // namespace
}  // namespace pentafold
