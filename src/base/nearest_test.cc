#include "base/nearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/quote.h"

namespace pentafold {
namespace {

// The definition by recursion, without memory: slow and plain.
std::size_t plain_distance(std::string_view a, std::string_view b) {
  if (a.empty()) return b.size();
  if (b.empty()) return a.size();
  const std::string_view a1 = a.substr(1);
  const std::string_view b1 = b.substr(1);
  std::size_t best = plain_distance(a1, b1) + (a[0] == b[0] ? 0 : 1);
  best = std::min(best, plain_distance(a1, b) + 1);
  best = std::min(best, plain_distance(a, b1) + 1);
  if (a.size() > 1 && b.size() > 1 && a[0] == b[1] && a[1] == b[0]) {
    best = std::min(best, plain_distance(a.substr(2), b.substr(2)) + 1);
  }
  return best;
}

TEST(Nearest, DistanceEqualsTheDefinitionOnAllShortWords) {
  std::vector<std::string> words = {""};
  for (std::size_t i = 0; i < words.size() && words[i].size() < 4; ++i) {
    for (const char c : {'a', 'b'}) words.push_back(words[i] + c);
  }
  ASSERT_EQ(words.size(), 31U);
  for (const auto& a : words) {
    for (const auto& b : words)
      EXPECT_EQ(edit_distance(a, b), plain_distance(a, b)) << a << " " << b;
  }
}

TEST(Nearest, FindsTheKeyMeant) {
  const std::vector<std::string_view> known = {"experts", "expert_hidden", "heads", "kv_heads",
                                               "d"};
  EXPECT_EQ(nearest("expert", known), "experts");
  EXPECT_EQ(nearest("haeds", known), "heads");
  EXPECT_EQ(nearest("kv_head", known), "kv_heads");
  EXPECT_EQ(nearest("dtype_of_the_weights", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest(std::string(100000, 'x'), known), "");
  EXPECT_EQ(nearest("anything", {}), "");
}

TEST(Quote, IsShortAndPrintable) {
  EXPECT_EQ(quote_text("heads"), "\"heads\"");
  EXPECT_EQ(quote_text("a\x1b[2J\n\xff"), "\"a?[2J??\"");
  EXPECT_EQ(quote_text(std::string(81, 'x')), "\"" + std::string(80, 'x') + "...\"");
}

}  // namespace
}  // namespace pentafold
