// Files that are wrong, each in one way: every one is refused in a sentence that says where.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "serve/tokenizer.h"

namespace pentafold {
namespace {

constexpr const char* kModel =
    R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]})";

std::string error_of(const std::string& json) {
  const auto tokenizer = Tokenizer::parse(json, "t.json");
  return tokenizer.ok() ? "accepted" : tokenizer.error().to_string();
}

std::string error_with_model(const std::string& model) {
  return error_of(R"({"model": )" + model + "}");
}

// `section` is "key": value, beside a good model.
std::string error_with(const std::string& section) {
  return error_of(fmt::format(R"({{"model": {}, {}}})", kModel, section));
}

void expect_says(const std::string& error, const std::string& part) {
  EXPECT_NE(error.find(part), std::string::npos) << error;
  EXPECT_TRUE(error.starts_with("t.json")) << error;
}

TEST(TokenizerParse, AMinimalFileIsAccepted) {
  EXPECT_EQ(error_with_model(kModel), "accepted");
  EXPECT_EQ(error_with(R"("normalizer": null, "decoder": null, "truncation": {"x": 1})"),
            "accepted");
}

TEST(TokenizerParse, BrokenJson) {
  expect_says(error_of(""), "not valid JSON");
  expect_says(error_of("{\n\n\"model\": }"), "t.json:3: not valid JSON");
  expect_says(error_of("[]"), "must be an object");
  expect_says(error_of("{}"), "model.vocab must be an object");
  expect_says(error_of("{\"model\": \"\xC3\"}"), "not valid JSON");
  expect_says(error_of(R"({"model": "\ud800"})"), "not valid JSON");
  expect_says(error_of(R"({"model": 1e999})"), "not valid JSON");
  expect_says(error_of(std::string(1'000'000, '[')), "nest deeper than 64");
  expect_says(error_of(std::string("{\"model\": ") + std::string(1'000, '{')), "nest deeper");
}

TEST(TokenizerParse, WrongModels) {
  expect_says(error_with_model(R"({"type": "Unigram", "vocab": []})"),
              R"(type "Unigram", which is not supported; supported models: BPE)");
  expect_says(error_with_model(R"({"vocab": {"a": -1}, "merges": []})"), "gives 'a' an id");
  expect_says(error_with_model(R"({"vocab": {"a": 1.5}, "merges": []})"), "gives 'a' an id");
  expect_says(error_with_model(R"({"vocab": {"a": 4294967296}, "merges": []})"), "gives 'a' an id");
  expect_says(error_with_model(R"({"vocab": {"a": 0, "b": 0}, "merges": []})"), "id 0 twice");
  expect_says(error_with_model(R"({"vocab": {"a": 0}})"), "model.merges must be an array");
  for (const char* merge : {R"("ab")", R"("a b c")", R"(["a"])", R"(["a", 1])", "3"}) {
    expect_says(error_with_model(fmt::format(R"({{"vocab": {{"a": 0}}, "merges": [{}]}})", merge)),
                "model.merges [0] must be");
  }
  expect_says(error_with_model(R"({"vocab": {"a": 0, "b": 1}, "merges": ["a b"]})"),
              "'ab' is not in model.vocab");
  expect_says(error_with_model(R"({"vocab": {"a": 0}, "merges": [], "unk_token": "?"})"),
              "unk_token '?'");
  expect_says(error_with_model(R"({"vocab": {}, "merges": [], "dropout": 0.1})"), "dropout");
  expect_says(error_with_model(R"({"vocab": {}, "merges": [], "end_of_word_suffix": "</w>"})"),
              "end_of_word_suffix is '</w>'");
  expect_says(error_with_model(R"({"vocab": {}, "merges": [], "continuing_subword_prefix": "##"})"),
              "##");
  expect_says(error_with_model(R"({"vocab": {}, "merges": [], "fuse_unk": 1})"), "true or false");
}

TEST(TokenizerParse, UnknownTypesAreNamedWithWhatIsSupported) {
  expect_says(error_with(R"("normalizer": {"type": "BertNormalizer"})"),
              "\"BertNormalizer\", which is not supported; supported normalizers: NFC");
  expect_says(error_with(R"("pre_tokenizer": {"type": "Sequence", "pretokenizers":
      [{"type": "Digits"}, {"type": "UnicodeScripts"}]})"),
              "pre_tokenizer.pretokenizers[1] has the type \"UnicodeScripts\"");
  expect_says(error_with(R"("post_processor": {"type": "BertProcessing"})"), "TemplateProcessing");
  expect_says(error_with(R"("decoder": {"type": "WordPiece"})"), "supported decoders: ByteLevel");
  expect_says(error_with(R"("decoder": {"type": 7})"), "decoder.type must be a string");
  expect_says(error_with(R"("decoder": "ByteLevel")"), "decoder must be an object");
}

TEST(TokenizerParse, WrongSteps) {
  const auto split = [](const std::string& rest) {
    return error_with(R"("pre_tokenizer": {"type": "Split", )" + rest + "}");
  };
  expect_says(split(R"("pattern": {"Regex": "("}, "behavior": "Isolated")"), "does not compile");
  expect_says(split(R"("pattern": {"Regex": "[a[b]]"}, "behavior": "Isolated")"), "classes inside");
  expect_says(split(R"("pattern": {"String": ""}, "behavior": "Isolated")"), "0 bytes");
  expect_says(split(R"("pattern": "x", "behavior": "Isolated")"), "must be {\"Regex\"");
  expect_says(split(R"("pattern": {"String": "x"}, "behavior": "Sometimes")"), "Contiguous");
  expect_says(error_with(R"("pre_tokenizer": {"type": "Metaspace", "replacement": "ab"})"),
              "one character");
  expect_says(error_with(R"("pre_tokenizer": {"type": "Metaspace", "replacement": "_",
      "add_prefix_space": false, "prepend_scheme": "always"})"),
              "contradicts itself");
  expect_says(
      error_with(R"("decoder": {"type": "Strip", "content": " ", "start": 1e9, "stop": 0})"),
      "whole number");
  expect_says(error_with(R"("decoder": {"type": "Replace", "pattern": {"Regex": "a"},
      "content": ""})"),
              "only a String");
  expect_says(error_with(R"("decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "ByteFallback"}]})"),
              "decoder.decoders[1] comes after Fuse");
}

// Replacements that multiply: refused when read (decoders) or when they act (normalisers).
TEST(TokenizerParse, GrowthIsBounded) {
  const std::string by(200, 'a');
  const std::string step =
      fmt::format(R"({{"type": "Replace", "pattern": {{"String": "a"}}, "content": "{}"}})", by);
  const std::string three = fmt::format("[{0}, {0}, {0}]", step);
  expect_says(error_with(R"("decoder": {"type": "Sequence", "decoders": )" + three + "}"),
              "times longer");
  const auto tokenizer = Tokenizer::parse(
      fmt::format(R"({{"model": {}, "normalizer": {{"type": "Sequence", "normalizers": {}}}}})",
                  kModel, three),
      "t.json");
  ASSERT_TRUE(tokenizer.ok());
  const auto ids = tokenizer->encode("a", false);
  ASSERT_FALSE(ids.ok());
  EXPECT_NE(ids.error().message.find("grows a text"), std::string::npos);
  std::string many = "[" + step;
  for (int i = 0; i < 100; ++i) many += ", " + step;
  expect_says(error_with(R"("normalizer": {"type": "Sequence", "normalizers": )" + many + "]}"),
              "more than 64 steps");
}

TEST(TokenizerParse, WrongAddedTokens) {
  const auto added = [](const std::string& tokens) {
    return error_with(R"("added_tokens": [)" + tokens + "]");
  };
  expect_says(added(R"({"content": "x"})"), "added_tokens[0].id must be a whole number");
  expect_says(added(R"({"id": 3})"), "added_tokens[0].content must be a string");
  expect_says(added(R"({"id": 999999999999, "content": "x"})"), "whole number from 0 to");
  expect_says(added(R"({"id": 0, "content": "x"})"), "'x' the id 0, but there that id is 'a'");
  expect_says(added(R"({"id": 3, "content": "a"})"), "'a' the id 3, but there its id is '0'");
  expect_says(added(R"({"id": 3, "content": "x"}, {"id": 3, "content": "y"})"), "'y' the id 3");
  expect_says(added(R"({"id": 3, "content": "x"}, {"id": 4, "content": "x"})"), "under two ids");
  expect_says(added(fmt::format(R"({{"id": 3, "content": "{}"}})", std::string(2000, 'x'))),
              "longer than 1024");
}

TEST(TokenizerParse, WrongTemplates) {
  const auto post = [](const std::string& single, const std::string& special) {
    return error_with(fmt::format(
        R"("post_processor": {{"type": "TemplateProcessing", "single": {}, "special_tokens": {}}})",
        single, special));
  };
  const std::string sequence = R"({"Sequence": {"id": "A"}})";
  const std::string token = R"({"SpecialToken": {"id": "s"}})";
  expect_says(post("[]", "{}"), "has no Sequence A");
  expect_says(post("[" + sequence + "," + sequence + "]", "{}"), "the one Sequence");
  expect_says(post(R"([{"Sequence": {"id": "B"}}])", "{}"), "the one Sequence");
  expect_says(post("[" + token + "," + sequence + "]", "{}"), "special_tokens.s.ids must be");
  expect_says(post("[" + token + "," + sequence + "]", R"({"s": {"ids": [77]}})"),
              "ids[0] is not the id of a token");
}

TEST(TokenizerParse, MissingFilesAreIoErrors) {
  const auto tokenizer = Tokenizer::load("/nonexistent");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.error().code, ErrorCode::Io);
}

}  // namespace
}  // namespace pentafold
