#include "serve/tokenizer_decode.h"

#include <gtest/gtest.h>

#include <random>

#include "serve/tokenizer_steps.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

using Tokens = std::vector<std::string>;

std::string decode(const DecoderPlan& plan, const Tokens& tokens) {
  DecodeChain chain(plan, true);
  std::string out;
  for (const std::string& token : tokens) chain.push(token, out);
  chain.flush(out);
  return out;
}

// What each push gives, then what the flush gives.
Tokens stream(const DecoderPlan& plan, const Tokens& tokens) {
  DecodeChain chain(plan, false);
  Tokens parts;
  for (const std::string& token : tokens) chain.push(token, parts.emplace_back());
  chain.flush(parts.emplace_back());
  return parts;
}

DecoderPlan llama() {
  DecoderPlan plan;
  plan.steps = {ReplaceInToken{"\xE2\x96\x81", " "}, BytesFromNames{}};
  plan.join = TokenJoin::Text;
  plan.strip_joined = {StripToken{' ', 1, 0}};
  return plan;
}

DecoderPlan bytes() {
  DecoderPlan plan;
  plan.join = TokenJoin::AlphabetBytes;
  return plan;
}

std::string alphabet(std::string_view raw) {
  std::string token;
  for (const char c : raw) append_utf8(token, character_of_byte(static_cast<unsigned char>(c)));
  return token;
}

// Random bytes, half of them pieces of real characters, cut into tokens anywhere.
TEST(TokenizerDecode, ByteStreamsJoinToTheDecodingAndNeverSplitACharacter) {
  std::mt19937 random(3);
  const std::string pool = "a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80 z\xE2\x80\x8D";
  for (int round = 0; round < 2000; ++round) {
    Tokens tokens;
    for (std::size_t count = random() % 12; count > 0; --count) {
      const std::size_t begin = random() % pool.size();
      const std::string raw = random() % 8 == 0 ? std::string(1, static_cast<char>(random()))
                                                : pool.substr(begin, 1 + random() % 5);
      tokens.push_back(alphabet(raw));
    }
    std::string joined;
    for (const std::string& part : stream(bytes(), tokens)) {
      EXPECT_FALSE(first_invalid_utf8(part).has_value());
      joined += part;
    }
    EXPECT_EQ(joined, decode(bytes(), tokens));
  }
}

TEST(TokenizerDecode, CharactersAppearWhenTheyAreWhole) {
  const Tokens tokens{alphabet("\xF0\x9F"), alphabet("\x98"), alphabet("\x80!"), alphabet("\xC3")};
  EXPECT_EQ(stream(bytes(), tokens),
            (Tokens{"", "", "\xF0\x9F\x98\x80!", "", std::string(kReplacementCharacter)}));
  EXPECT_EQ(stream(bytes(), {alphabet("\xC3"), "a"}),
            (Tokens{"", std::string(kReplacementCharacter) + "a", ""}));
  // An added token with characters outside the alphabet stands for itself, bytes and all.
  EXPECT_EQ(decode(bytes(), {"<\xEF\xBD\x9C\xC4\xA0>"}), "<\xEF\xBD\x9C\xC4\xA0>");
}

TEST(TokenizerDecode, ByteNamesAreJudgedByRunOrByCharacter) {
  const Tokens emoji{"\xE2\x96\x81Hi", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "\xE2\x96\x81you"};
  EXPECT_EQ(decode(llama(), emoji), "Hi\xF0\x9F\x98\x80 you");
  EXPECT_EQ(stream(llama(), emoji), (Tokens{"Hi", "", "", "", "\xF0\x9F\x98\x80", " you", ""}));
  const std::string blank(kReplacementCharacter);
  const Tokens broken{"<0x41>", "<0xC3>", "x"};
  EXPECT_EQ(decode(llama(), broken), blank + blank + "x");
  EXPECT_EQ(stream(llama(), broken), (Tokens{"A", "", blank + "x", ""}));
  EXPECT_EQ(decode(llama(), {"<0xC3>", "<0xA9>", "<0xzz>"}), "\xC3\xA9<0xzz>");
}

TEST(TokenizerDecode, StripsBothEndsOfTheWhole) {
  DecoderPlan plan;
  plan.join = TokenJoin::Text;
  plan.strip_joined = {StripToken{'_', 2, 2}};
  EXPECT_EQ(decode(plan, {"_", "__a_", "_b__", "_"}), "_a__b_");
  EXPECT_EQ(stream(plan, {"_", "__a_", "_b__", "_", "c"}),
            (Tokens{"", "_a", "__b", "_", "__c", ""}));
  EXPECT_EQ(decode(plan, {"___"}), "");
  plan.steps = {StripToken{'_', 1, 1}};
  plan.strip_joined.clear();
  EXPECT_EQ(decode(plan, {"_a_", "__b"}), "a_b");
}

TEST(TokenizerDecode, MetaspaceDropsThePrefixOnly) {
  DecoderPlan plan;
  plan.join = TokenJoin::Text;
  plan.steps = {SpacesFromMetaspace{"_", true}};
  EXPECT_EQ(decode(plan, {"_a", "_b", "c_d"}), "a bc d");
  plan.steps = {SpacesFromMetaspace{"_", false}};
  EXPECT_EQ(decode(plan, {"_a", "_b"}), " a b");
}

TEST(TokenizerDecode, WithoutADecoderTokensStandApart) {
  EXPECT_EQ(decode(DecoderPlan{}, {"a", "b", "c"}), "a b c");
  EXPECT_EQ(stream(DecoderPlan{}, {"a", "b"}), (Tokens{"a", " b", ""}));
}

TEST(TokenizerDecode, FlushStartsAfresh) {
  const DecoderPlan plan = llama();
  DecodeChain chain(plan, false);
  for (int i = 0; i < 2; ++i) {
    std::string out;
    chain.push(
        "\xE2\x96\x81"
        "a",
        out);
    chain.push("<0xC3>", out);
    chain.flush(out);
    EXPECT_EQ(out, "a" + std::string(kReplacementCharacter));
  }
}

}  // namespace
}  // namespace pentafold
