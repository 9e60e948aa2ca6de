#include "spec/yaml_reader.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <string>
#include <string_view>
#include <vector>

namespace pentafold {
namespace {

YamlMap read(const std::string& text) {
  auto node = load_yaml(text, "f.yaml");
  EXPECT_TRUE(node.ok()) << node.error().to_string();
  auto map = YamlMap::of(*node, "f.yaml");
  EXPECT_TRUE(map.ok()) << map.error().to_string();
  return *map;
}

std::string refusal(const std::string& text) {
  auto node = load_yaml(text, "f.yaml");
  if (!node.ok()) return node.error().to_string();
  auto map = YamlMap::of(*node, "f.yaml");
  return map.ok() ? "" : map.error().to_string();
}

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().to_string();
}

TEST(YamlReader, ReadsEachType) {
  const YamlMap map =
      read("n: 12\nx: 2.5e3\non: true\nword: hello\nlist: [3, 1, 2]\none: 7\nm:\n  k: v\n");
  EXPECT_EQ(map.integer("n", std::nullopt).value(), 12);
  EXPECT_EQ(map.number("x", std::nullopt).value(), 2500.0);
  EXPECT_EQ(map.number("n", std::nullopt).value(), 12.0);
  EXPECT_TRUE(map.boolean("on", std::nullopt).value());
  EXPECT_EQ(map.text("word", std::nullopt).value(), "hello");
  EXPECT_EQ(map.integers("list", 0, 9).value(), (std::vector<std::int64_t>{3, 1, 2}));
  EXPECT_EQ(map.integers("one", 0, 9).value(), (std::vector<std::int64_t>{7}));
  EXPECT_EQ(map.map("m").value().text("k", std::nullopt).value(), "v");
  EXPECT_EQ(map.sequence("list").value().size(), 3U);
  const std::vector<std::string_view> words = {"bye", "hello"};
  EXPECT_EQ(map.choice("word", words, std::nullopt).value(), 1U);
}

TEST(YamlReader, DefaultsApplyOnlyWhenTheKeyIsAbsent) {
  const YamlMap map = read("n: 12\nempty:\n");
  EXPECT_EQ(map.integer("absent", 5).value(), 5);
  EXPECT_EQ(map.number("absent", 0.5).value(), 0.5);
  EXPECT_EQ(map.text("absent", "t").value(), "t");
  EXPECT_FALSE(map.boolean("absent", false).value());
  EXPECT_TRUE(map.integers("absent", 0, 1).value().empty());
  EXPECT_EQ(message(map.integer("empty", 5)),
            "f.yaml:2: empty must be a whole number, not a list, a mapping or nothing");
}

TEST(YamlReader, WrongValuesNameTheLine) {
  const YamlMap map =
      read("a: 1\nn: twelve\nbig: 99999999999999999999\nneg: -4\nx: .nan\nb: yes\nl: [1, z]\n");
  EXPECT_EQ(message(map.integer("n", 1)), "f.yaml:2: n must be a whole number, not \"twelve\"");
  EXPECT_EQ(message(map.integer("big", 1)).substr(0, 9), "f.yaml:3:");
  EXPECT_EQ(message(map.integer("neg", 1)), "f.yaml:4: neg = -4 is below 0, the least allowed");
  EXPECT_EQ(message(map.integer("a", 1, 2, 8)), "f.yaml:1: a = 1 is outside 2 to 8");
  EXPECT_EQ(message(map.number("x", 1.0)), "f.yaml:5: x must be a number, not \".nan\"");
  EXPECT_EQ(message(map.boolean("b", true)), "f.yaml:6: b must be true or false, not \"yes\"");
  EXPECT_EQ(message(map.integers("l", 0, 9)),
            "f.yaml:7: l must be a list of whole numbers, but holds \"z\"");
  EXPECT_EQ(message(map.text("gone", std::nullopt)),
            "f.yaml:1: key \"gone\" is missing; add it with a word or text");
  EXPECT_EQ(message(map.map("a")), "f.yaml:1: a must be a mapping of keys to values");
}

TEST(YamlReader, UnknownKeysGetTheNearestKnown) {
  const YamlMap map = read("heads: 1\nzzzzzz: 3\nhaeds: 2\n");
  const std::vector<std::string_view> all = {"heads", "zzzzzz", "haeds"};
  EXPECT_TRUE(map.refuse_unknown(all).ok());
  const std::vector<std::string_view> some = {"heads", "zzzzzz"};
  EXPECT_EQ(map.refuse_unknown(some).error().to_string(),
            "f.yaml:3: unknown key \"haeds\"; did you mean \"heads\"?");
  const std::vector<std::string_view> one = {"heads"};
  EXPECT_EQ(map.refuse_unknown(one).error().to_string(),
            "f.yaml:2: unknown key \"zzzzzz\"; known are heads");
}

TEST(YamlReader, HostileDocumentsAreRefusedInASentence) {
  EXPECT_EQ(refusal(""), "f.yaml: is empty; expected a mapping of keys to values");
  EXPECT_NE(refusal("a: &x [1]\nb: *x\n").find("f.yaml:1: uses a YAML anchor"), std::string::npos);
  EXPECT_NE(refusal("a: *x\n").find("f.yaml:1:"), std::string::npos);
  EXPECT_NE(refusal("a: " + std::string(100, '[') + std::string(100, ']')).find("32 levels"),
            std::string::npos);
  EXPECT_NE(refusal("a: " + std::string(900000, '[')).find("32 levels"), std::string::npos);
  EXPECT_EQ(refusal("a: " + std::string(28, '[') + std::string(28, ']')), "");
  EXPECT_NE(refusal(std::string(1000001, 'a')).find("limit"), std::string::npos);
  EXPECT_NE(
      refusal("a: 1\nb: 2\na: 3\n").find("f.yaml:3: key \"a\" appears twice (first in line 1)"),
      std::string::npos);
  EXPECT_NE(refusal("a: [1, 2\nb: 3\n").find("is not valid YAML"), std::string::npos);
  EXPECT_NE(refusal("a: 1\n---\nb: 2\n").find("more than one YAML document"), std::string::npos);
  EXPECT_NE(refusal("- 1\n- 2\n").find("expected a mapping"), std::string::npos);
  EXPECT_NE(refusal("? [a]\n: 1\n").find("a key must be a plain word"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
