#include "serve/tokenizer_unicode.h"

#include <gtest/gtest.h>

#include <vector>

namespace pentafold {
namespace {

TEST(TokenizerUnicode, EveryCharacterSurvives) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = next_utf8(text);
    ASSERT_EQ(step.kind, Utf8Kind::Whole) << std::hex << static_cast<unsigned>(c);
    ASSERT_EQ(step.length, text.size());
    std::size_t position = 0;
    ASSERT_EQ(read_utf8(text, position), c);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const Utf8Step part = next_utf8(text.substr(0, cut));
      ASSERT_EQ(part.kind, Utf8Kind::Incomplete);
      ASSERT_EQ(part.length, cut);
    }
  }
}

// Table 3-8 of the Unicode standard: what one U+FFFD replaces.
TEST(TokenizerUnicode, MalformedBytesAreMeasuredInMaximalSubparts) {
  const auto lengths = [](std::string_view bytes) {
    std::vector<std::size_t> out;
    while (!bytes.empty()) {
      const Utf8Step step = next_utf8(bytes);
      if (step.kind != Utf8Kind::Whole) out.push_back(step.length);
      bytes.remove_prefix(step.length);
    }
    return out;
  };
  using Lengths = std::vector<std::size_t>;
  EXPECT_EQ(lengths("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                    "A"),
            Lengths(8, 1));  // overlong
  EXPECT_EQ(lengths("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
                    "A"),
            Lengths(8, 1));  // surrogates
  EXPECT_EQ(lengths("\xF4\x91\x92\x93\xFF"
                    "A\x80\xBF"
                    "B"),
            Lengths(7, 1));  // too large, strays
  EXPECT_EQ(lengths("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                    "A"),
            (Lengths{2, 1, 3, 2}));
}

TEST(TokenizerUnicode, InvalidTextIsFoundWhereItStarts) {
  EXPECT_EQ(first_invalid_utf8("ab\xC3\xA9"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("ab\xC3"), 2U);
  EXPECT_EQ(first_invalid_utf8("\xC3\xA9\xED\xA0\x80"), 2U);
}

TEST(TokenizerUnicode, NormalForms) {
  const std::string angstrom = "\xE2\x84\xAB", composed = "\xC3\x85", decomposed = "A\xCC\x8A";
  EXPECT_EQ(to_normal_form(angstrom, {true, false}), composed);
  EXPECT_EQ(to_normal_form(angstrom, {false, false}), decomposed);
  EXPECT_EQ(to_normal_form(decomposed, {true, false}), composed);
  EXPECT_EQ(to_normal_form("\xEF\xAC\x81", {true, false}), "\xEF\xAC\x81");  // the fi ligature
  EXPECT_EQ(to_normal_form("\xEF\xAC\x81", {true, true}), "fi");
  EXPECT_EQ(to_normal_form("\xEA\xB0\x81", {false, false}),
            "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");  // a Hangul syllable and its three letters
  EXPECT_EQ(to_normal_form(std::string_view("a\0b", 3), {true, true}), std::string("a\0b", 3));
}

// U+089B (2021) has the class of marks below and would move before the U+0301 above.
TEST(TokenizerUnicode, YoungMarksStayWhereTheyAre) {
  const std::string young = "q\xCC\x81\xE0\xA2\x9B", old = "q\xCC\x81\xCC\xA3";
  EXPECT_EQ(to_normal_form(young, {false, false}), young);
  EXPECT_EQ(to_normal_form(old, {false, false}), "q\xCC\xA3\xCC\x81");
  EXPECT_EQ(to_normal_form("e\xE0\xA2\x9B"
                           "e\xCC\x81",
                           {true, false}),
            "e\xE0\xA2\x9B\xC3\xA9");
}

// 100,000 pairs of marks above (230) and below (220) in the wrong order: quadratic would not end.
TEST(TokenizerUnicode, LongRunsOfMarksAreOrdered) {
  constexpr int kPairs = 100'000;
  std::string text = "q", above, below;
  for (int i = 0; i < kPairs; ++i) {
    text += "\xCC\x87\xCC\xA3";
    above += "\xCC\x87";
    below += "\xCC\xA3";
  }
  EXPECT_EQ(to_normal_form(text, {false, false}), "q" + below + above);
}

TEST(TokenizerUnicode, LowerCase) {
  EXPECT_EQ(to_lower_case("\xC3\x84PFEL"), "\xC3\xA4pfel");
  EXPECT_EQ(to_lower_case("\xC4\xB0"), "i\xCC\x87");                 // dotted capital I
  EXPECT_EQ(to_lower_case("\xCE\xA3\xCE\xA3"), "\xCF\x83\xCF\x83");  // no final sigma
}

TEST(TokenizerUnicode, RecentCharactersAreGroupedByCategory) {
  EXPECT_NE(recent_characters("L").find(recent_characters("Lo").substr(0, 20)), std::string::npos);
  EXPECT_NE(recent_characters("Lo").find("\\x{31350}-\\x{323AF}"), std::string::npos);  // CJK H
  EXPECT_EQ(recent_characters("Nd").find("\\x{31350}"), std::string::npos);
  EXPECT_EQ(recent_characters("Han"), "");
}

}  // namespace
}  // namespace pentafold
