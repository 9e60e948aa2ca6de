#include "spec/embedded.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace pentafold {
namespace {

TEST(Embedded, HoldsTheFilesOfTheCatalogByteForByte) {
  ASSERT_FALSE(embedded_files().empty());
  for (const EmbeddedFile& file : embedded_files()) {
    std::ifstream in(std::string(PENTAFOLD_SOURCE_DIR "/") + std::string(file.path));
    ASSERT_TRUE(in) << file.path;
    std::ostringstream text;
    text << in.rdbuf();
    EXPECT_EQ(text.str(), file.text) << file.path;
  }
  EXPECT_TRUE(std::ranges::is_sorted(embedded_files(), {}, &EmbeddedFile::path));
}

}  // namespace
}  // namespace pentafold
