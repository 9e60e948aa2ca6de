#include "serve/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

using Ids = std::vector<std::int32_t>;
using Strings = std::vector<std::string>;

const std::string kTinyMoe = std::string(PENTAFOLD_SOURCE_DIR) + "/models/tiny-moe";

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Tokenizer tiny_moe() {
  auto tokenizer = Tokenizer::load(kTinyMoe);
  if (!tokenizer.ok()) check_failed(__FILE__, __LINE__, "load", tokenizer.error().to_string());
  return std::move(tokenizer).value();
}

// A tokenizer whose vocabulary is `characters` (one token each), with further `sections`.
Tokenizer character_tokenizer(const std::string& characters, const std::string& sections,
                              const std::string& model = "") {
  std::string vocab;
  int id = 0;
  for (std::size_t at = 0; at < characters.size();) {
    const std::size_t begin = at;
    read_utf8(characters, at);
    vocab +=
        fmt::format("{}\"{}\": {}", id == 0 ? "" : ", ", characters.substr(begin, at - begin), id);
    ++id;
  }
  auto tokenizer =
      Tokenizer::parse(fmt::format(R"({{{}{}"model": {{"vocab": {{{}}}, "merges": []{}}}}})",
                                   sections, sections.empty() ? "" : ", ", vocab, model),
                       "test.json");
  if (!tokenizer.ok()) check_failed(__FILE__, __LINE__, "parse", tokenizer.error().to_string());
  return std::move(tokenizer).value();
}

Strings tokens(const Tokenizer& tokenizer, std::string_view text, bool special = false) {
  const auto ids = tokenizer.encode(text, special);
  if (!ids.ok()) return {ids.error().message};
  Strings out;
  for (const std::int32_t id : *ids) out.emplace_back(tokenizer.id_to_token(id).value_or("?"));
  return out;
}

// The words a pre-tokenizer makes, seen through ignore_merges: only whole words are tokens.
Strings words(const std::string& pre_tokenizer, const Strings& vocabulary, std::string_view text) {
  std::string vocab;
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    vocab += fmt::format("{}\"{}\": {}", i == 0 ? "" : ", ", vocabulary[i], i);
  }
  auto tokenizer = Tokenizer::parse(
      fmt::format(R"({{"pre_tokenizer": {}, "model": {{"vocab": {{{}}}, "merges": [],
          "ignore_merges": true}}}})",
                  pre_tokenizer, vocab),
      "words.json");
  if (!tokenizer.ok()) return {tokenizer.error().to_string()};
  return tokens(*tokenizer, text);
}

// ---- tiny-moe: the ids its training made with another program

TEST(Tokenizer, ValidationTextHasTheIdsOfTraining) {
  const std::string raw = slurp(kTinyMoe + "/training/valid.bin");
  Ids expected;
  for (std::size_t i = 0; i + 1 < raw.size(); i += 2) {
    expected.push_back(static_cast<unsigned char>(raw[i]) | static_cast<unsigned char>(raw[i + 1])
                                                                << 8);
  }
  ASSERT_GT(expected.size(), 80'000U);
  // Every document of valid.bin follows an end-of-text token; the text has them only in between.
  ASSERT_EQ(expected.back(), 0);
  expected.pop_back();
  const Tokenizer tokenizer = tiny_moe();
  const std::string text = slurp(kTinyMoe + "/training/valid.txt");
  const auto ids = tokenizer.encode(text, true);  // add_bos_token is true in tokenizer_config.json
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, expected);
  EXPECT_EQ(tokenizer.decode(std::span(*ids).subspan(1), false), text);
}

std::string random_text(std::mt19937& random) {
  constexpr char32_t kEnds[] = {0x80, 0x100, 0x3000, 0x10000, 0x110000};
  std::string text;
  for (std::size_t length = random() % 40; length > 0; --length) {
    const auto c = static_cast<char32_t>(random() % kEnds[random() % 5]);
    if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
    if (random() % 6 == 0) text += random() % 2 == 0 ? " " : "<|endoftext|>";
  }
  return text;
}

TEST(Tokenizer, RandomUnicodeRoundTripsWholeAndStreamed) {
  const Tokenizer tokenizer = tiny_moe();
  std::mt19937 random(11);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = random_text(random);
    const auto ids = tokenizer.encode(text, false);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(tokenizer.decode(*ids, false), text);
    StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const std::int32_t id : *ids) {
      const std::string part = stream.push(id);
      EXPECT_FALSE(first_invalid_utf8(part).has_value());
      streamed += part;
    }
    EXPECT_EQ(streamed + stream.flush(), text);
  }
}

TEST(Tokenizer, AnyIdsDecodeAlikeWholeAndStreamed) {
  const Tokenizer tokenizer = tiny_moe();
  std::mt19937 random(12);
  for (int i = 0; i < 2000; ++i) {
    Ids ids;
    for (std::size_t length = random() % 20; length > 0; --length) {
      ids.push_back(static_cast<std::int32_t>(random() % 300) - 5);  // mostly single bytes
    }
    for (const bool skip : {false, true}) {
      StreamDecoder stream(tokenizer, skip);
      std::string streamed;
      for (const std::int32_t id : ids) streamed += stream.push(id);
      EXPECT_EQ(streamed + stream.flush(), tokenizer.decode(ids, skip));
    }
  }
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer tokenizer = tiny_moe();
  EXPECT_EQ(tokenizer.vocab_size(), 4096);
  EXPECT_EQ(tokenizer.token_to_id("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(0));
  for (const std::int32_t id : {-1, 4096, 1 << 30}) {
    EXPECT_FALSE(tokenizer.is_special(id));
    EXPECT_EQ(tokenizer.id_to_token(id), std::nullopt);
  }
  for (std::int32_t id = 0; id < 4096; ++id) {
    EXPECT_EQ(tokenizer.token_to_id(tokenizer.id_to_token(id).value()), id);
  }
  EXPECT_EQ(tokenizer.decode(Ids{0, -7, 9999, 34}, true), "!");
}

TEST(Tokenizer, InvalidTextIsRefusedWithItsPlace) {
  const auto ids = tiny_moe().encode("abc\xFFz", false);
  ASSERT_FALSE(ids.ok());
  EXPECT_NE(ids.error().message.find("byte 3 is 0xFF"), std::string::npos) << ids.error().message;
  EXPECT_TRUE(tiny_moe().encode("", false)->empty());
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer = tiny_moe();
  const std::string text = slurp(kTinyMoe + "/training/valid.txt").substr(0, 20'000);
  const Ids expected = *tokenizer.encode(text, false);
  std::vector<Ids> got(4);
  {
    std::vector<std::jthread> threads;
    for (Ids& ids : got) threads.emplace_back([&] { ids = *tokenizer.encode(text, false); });
  }
  for (const Ids& ids : got) EXPECT_EQ(ids, expected);
}

// ---- Pre-tokenizers

std::string split_step(const std::string& pattern, const std::string& behavior, bool invert) {
  return fmt::format(R"({{"type": "Split", "pattern": {{"Regex": "{}"}}, "behavior": "{}",
      "invert": {}}})",
                     pattern, behavior, invert);
}

TEST(Tokenizer, TheFiveSplitBehaviors) {
  const Strings vocabulary{"a", "b", "-", "--", "a-", "-b", "a--", "--b", "a-b"};
  const auto split = [&](const std::string& behavior, bool invert = false) {
    return words(split_step("-", behavior, invert), vocabulary, "a--b");
  };
  EXPECT_EQ(split("Removed"), (Strings{"a", "b"}));
  EXPECT_EQ(split("Isolated"), (Strings{"a", "-", "-", "b"}));
  EXPECT_EQ(split("MergedWithPrevious"), (Strings{"a-", "-", "b"}));
  EXPECT_EQ(split("MergedWithNext"), (Strings{"a", "-", "-b"}));
  EXPECT_EQ(split("Contiguous"), (Strings{"a", "--", "b"}));
  EXPECT_EQ(split("Removed", true), (Strings{"-", "-"}));
}

TEST(Tokenizer, DigitsWhitespaceAndPunctuation) {
  const Strings vocabulary{"ab", "1", "2", "12", "!", "?", "!?", ",", " ", "x"};
  EXPECT_EQ(words(R"({"type": "Digits", "individual_digits": true})", vocabulary, "ab12x"),
            (Strings{"ab", "1", "2", "x"}));
  EXPECT_EQ(words(R"({"type": "Digits"})", vocabulary, "ab12x"), (Strings{"ab", "12", "x"}));
  EXPECT_EQ(words(R"({"type": "Whitespace"})", vocabulary, "ab !? x\n12"),
            (Strings{"ab", "!?", "x", "12"}));
  EXPECT_EQ(words(R"({"type": "WhitespaceSplit"})", vocabulary, "ab \t\xE3\x80\x80x"),
            (Strings{"ab", "x"}));
  EXPECT_EQ(words(R"({"type": "Punctuation"})", vocabulary, "ab!?x"),
            (Strings{"ab", "!", "?", "x"}));
}

// The patterns of Qwen 2 and Llama 3 differ in how many digits make a word.
TEST(Tokenizer, QwenAndLlama3Splits) {
  const std::string rest = R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)";
  const std::string start = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|)";
  const Strings vocabulary{"It",  "'S", " a", " ", "  ",     "1",      "2",    "3", "4",
                           "123", "4!", "!",  "'", "\\n\\n", " !!\\n", " \\n", "x"};
  const std::string text = "It'S  a 1234!\n\nx !!\n \nx";
  EXPECT_EQ(
      words(split_step(start + R"(\\p{N})" + rest, "Isolated", false), vocabulary, text),
      (Strings{"It", "'S", " ", " a", " ", "1", "2", "3", "4", "!", "x", " !!\n", " \n", "x"}))
      << "the word of ! and two newlines is not in the vocabulary, so only ! shows";
  EXPECT_EQ(words(split_step(start + R"(\\p{N}{1,3})" + rest, "Isolated", false), vocabulary, text),
            (Strings{"It", "'S", " ", " a", " ", "123", "4", "!", "x", " !!\n", " \n", "x"}));
}

TEST(Tokenizer, MetaspacePrefixes) {
  const auto tokenizer = [](const std::string& scheme) {
    return character_tokenizer("_ab", fmt::format(R"("pre_tokenizer": {{"type": "Metaspace",
        "replacement": "_", "prepend_scheme": "{}"}}, "added_tokens": [{{"id": 3,
        "content": "<s>", "special": true}}], "decoder": {{"type": "Metaspace",
        "replacement": "_", "prepend_scheme": "{}"}})",
                                                  scheme, scheme));
  };
  EXPECT_EQ(tokens(tokenizer("always"), "a<s>b a"), (Strings{"_", "a", "<s>", "_", "b", "_", "a"}));
  EXPECT_EQ(tokens(tokenizer("first"), "a<s>b"), (Strings{"_", "a", "<s>", "b"}));
  EXPECT_EQ(tokens(tokenizer("first"), "<s>b"), (Strings{"<s>", "b"}));
  EXPECT_EQ(tokens(tokenizer("never"), "a b"), (Strings{"a", "_", "b"}));
  EXPECT_EQ(tokens(tokenizer("always"), " a"), (Strings{"_", "a"}));
  const Tokenizer always = tokenizer("always");
  EXPECT_EQ(always.decode(*always.encode("a b", false), false), "a b");
}

// ---- Normalisers, added tokens, templates

TEST(Tokenizer, LlamaStyleByteFallback) {
  const Tokenizer tokenizer = character_tokenizer(
      "\xE2\x96\x81"
      "ab",
      R"("normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend",
          "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "},
          "content": "\u2581"}]},
        "added_tokens": [{"id": 7, "content": "<s>", "special": true}],
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}},
          {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [7]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace",
          "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
          {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
      R"(, "byte_fallback": true)");
  EXPECT_EQ(tokens(tokenizer, "a b", true),
            (Strings{"<s>", "\xE2\x96\x81", "a", "\xE2\x96\x81", "b"}));
  EXPECT_EQ(tokenizer.decode(*tokenizer.encode("a b", true), true), "a b");
  EXPECT_EQ(tokenizer.decode(*tokenizer.encode("a b", true), false), "<s> a b");
}

TEST(Tokenizer, NormalizersActInOrder) {
  const Tokenizer tokenizer = character_tokenizer(
      "ab_", R"("normalizer": {"type": "Sequence", "normalizers": [{"type": "Strip"},
          {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Replace",
          "pattern": {"Regex": "\\s+"}, "content": "_"}]})");
  EXPECT_EQ(tokens(tokenizer, "\n \xEF\xBC\xA1 \t B\xE3\x80\x80"), (Strings{"a", "_", "b"}));
}

// Flags of the added token [x]: what they take of the text around it.
Strings with_flags(const std::string& flags, std::string_view text) {
  return tokens(character_tokenizer("ab X", fmt::format(R"("added_tokens": [{{"id": 9,
      "content": "[x]", "normalized": false{}}}])",
                                                        flags)),
                text);
}

TEST(Tokenizer, AddedTokenFlags) {
  EXPECT_EQ(with_flags("", "a [x] b"), (Strings{"a", " ", "[x]", " ", "b"}));
  EXPECT_EQ(with_flags(R"(, "lstrip": true)", "a [x] b"), (Strings{"a", "[x]", " ", "b"}));
  EXPECT_EQ(with_flags(R"(, "rstrip": true)", "a [x] b"), (Strings{"a", " ", "[x]", "b"}));
  EXPECT_EQ(with_flags(R"(, "lstrip": true, "rstrip": true)", "[x]  [x]a"),
            (Strings{"[x]", "[x]", "a"}));
  EXPECT_EQ(
      with_flags(R"(, "single_word": true)", "a[x] [x]"),
      (Strings{"a", " ", "[x]"}));  // the brackets of a dropped match are not in the vocabulary
}

TEST(Tokenizer, AddedTokensAreLeftmostLongest) {
  const Tokenizer tokenizer = character_tokenizer(
      "abc", R"("added_tokens": [{"id": 3, "content": "ab", "normalized": false},
          {"id": 4, "content": "abc", "normalized": false},
          {"id": 5, "content": "bca", "normalized": false}])");
  EXPECT_EQ(tokens(tokenizer, "abca"), (Strings{"abc", "a"}));
  EXPECT_EQ(tokens(tokenizer, "cbcab"), (Strings{"c", "bca", "b"}));
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterNormalisation) {
  const auto tokenizer = [](const std::string& normalized) {
    return character_tokenizer(
        "ab", R"("normalizer": {"type": "Lowercase"}, "added_tokens": [{"id": 9, "content": "AB",
            "normalized": )" +
                  normalized + "}]");
  };
  EXPECT_EQ(tokens(tokenizer("true"), "aBAb"), (Strings{"AB", "AB"}));
  EXPECT_EQ(tokens(tokenizer("false"), "aBAB"), (Strings{"a", "b", "AB"}));
}

// Quadratic work would not end: each match would measure the same white space again.
TEST(Tokenizer, StrippingTokensOfSpacesStayLinear) {
  const auto count = [](const std::string& flags) {
    const Tokenizer tokenizer = character_tokenizer(
        "a", R"("added_tokens": [{"id": 1, "content": " ", "normalized": false, )" + flags + "}]");
    return tokenizer.encode(std::string(1'000'000, ' '), false)->size();
  };
  EXPECT_EQ(count(R"("rstrip": true)"), 1'000'000U);  // the reference, too, repeats the token
  EXPECT_EQ(count(R"("lstrip": true)"), 1'000'000U);
  EXPECT_EQ(count(R"("lstrip": true, "rstrip": true)"), 1U);
}

}  // namespace
}  // namespace pentafold
