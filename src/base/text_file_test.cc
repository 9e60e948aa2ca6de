#include "base/text_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace pentafold {
namespace {

TEST(TextFile, ReadsWholeFilesUpToTheBound) {
  const std::string path = testing::TempDir() + "text_file_test.txt";
  const std::string text(200000, 'x');
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(read_text_file(path, 200000).value(), text);
  const auto refused = read_text_file(path, 199999);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().to_string(),
            path + ": is longer than 199999 bytes; is it the right file?");
  std::filesystem::remove(path);
  EXPECT_EQ(read_text_file(path, 10).error().code, ErrorCode::Io);
  EXPECT_EQ(read_text_file(testing::TempDir(), 10).error().message, "is not a regular file");
}

}  // namespace
}  // namespace pentafold
