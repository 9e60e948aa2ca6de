#include "serve/tokenizer_bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace pentafold {
namespace {

using Pair = std::pair<std::string, std::string>;

// The definition: while some pair can merge, merge the leftmost of the lowest rank.
std::vector<std::string> merge_plainly(std::vector<std::string> symbols,
                                       const std::map<Pair, std::size_t>& ranks) {
  for (;;) {
    std::size_t best_rank = ranks.size(), best = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end() && found->second < best_rank) {
        best_rank = found->second;
        best = i;
      }
    }
    if (best_rank == ranks.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

BpeConfig config_of(const std::vector<std::string>& tokens, std::vector<Pair> merges) {
  BpeConfig config;
  std::int32_t id = 0;
  for (const std::string& token : tokens) config.vocab.emplace_back(token, id++);
  config.merges = std::move(merges);
  return config;
}

std::vector<std::string> tokens_of(const BpeModel& model, std::string_view word) {
  std::map<std::int32_t, std::string> texts;
  for (const auto& [text, id] : model.vocab()) texts[id] = text;
  BpeScratch scratch;
  std::vector<std::int32_t> ids;
  model.encode_word(word, scratch, ids);
  std::vector<std::string> tokens;
  for (const std::int32_t id : ids) tokens.push_back(texts.at(id));
  return tokens;
}

// Random merges over a small alphabet: every merge joins two tokens that exist by then.
TEST(TokenizerBpe, EqualsTheQuadraticOracleUnderRandomMerges) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const int letters = 2 + static_cast<int>(random() % 3);
    std::vector<std::string> tokens;
    for (int i = 0; i < letters; ++i) tokens.emplace_back(1, static_cast<char>('a' + i));
    std::set<std::string> known(tokens.begin(), tokens.end());
    std::vector<Pair> merges;
    std::map<Pair, std::size_t> ranks;
    for (int i = 0; i < 40; ++i) {
      const Pair pair{tokens[random() % tokens.size()], tokens[random() % tokens.size()]};
      if (pair.first.size() + pair.second.size() > 9 || ranks.contains(pair)) continue;
      if (known.insert(pair.first + pair.second).second) tokens.push_back(pair.first + pair.second);
      ranks.emplace(pair, merges.size());
      merges.push_back(pair);
    }
    // Rank order need not be the order in which the tokens arose.
    std::shuffle(merges.begin(), merges.end(), random);
    for (std::size_t rank = 0; rank < merges.size(); ++rank) ranks[merges[rank]] = rank;
    auto model = BpeModel::build(config_of(tokens, merges));
    ASSERT_TRUE(model.ok()) << model.error().to_string();
    for (int i = 0; i < 20; ++i) {
      std::string word;
      std::vector<std::string> symbols;
      for (std::size_t length = random() % 60; length > 0; --length) {
        symbols.emplace_back(1, static_cast<char>('a' + random() % static_cast<unsigned>(letters)));
        word += symbols.back();
      }
      EXPECT_EQ(tokens_of(*model, word), merge_plainly(symbols, ranks)) << word;
    }
  }
}

TEST(TokenizerBpe, LongWordsTakeNoQuadraticTime) {
  std::vector<std::string> tokens{"a"};
  std::vector<Pair> merges;
  for (int i = 0; i < 10; ++i) {
    merges.emplace_back(tokens.back(), tokens.back());
    tokens.push_back(tokens.back() + tokens.back());
  }
  auto model = BpeModel::build(config_of(tokens, merges));
  ASSERT_TRUE(model.ok());
  BpeScratch scratch;
  std::vector<std::int32_t> ids;
  model->encode_word(std::string((1 << 20) + 1, 'a'), scratch, ids);
  ASSERT_EQ(ids.size(), 1025U);
  EXPECT_EQ(ids.front(), 10);
  EXPECT_EQ(ids.back(), 0);
}

TEST(TokenizerBpe, UnknownCharactersFallBack) {
  BpeConfig config = config_of({"<unk>", "a", "<0xC3>", "<0xA9>"}, {});
  config.unk_token = "<unk>";
  const auto ids = [](BpeConfig made, std::string_view word) {
    auto model = BpeModel::build(std::move(made));
    return tokens_of(*model, word);
  };
  using Tokens = std::vector<std::string>;
  EXPECT_EQ(ids(config, "axxa"), (Tokens{"a", "<unk>", "<unk>", "a"}));
  config.fuse_unk = true;
  EXPECT_EQ(ids(config, "axxa"), (Tokens{"a", "<unk>", "a"}));
  config.byte_fallback = true;
  EXPECT_EQ(ids(config, "a\xC3\xA9"), (Tokens{"a", "<0xC3>", "<0xA9>"}));
  // The reference's order: bytes overtake an unknown character that waits to be fused.
  EXPECT_EQ(ids(config, "x\xC3\xA9y"), (Tokens{"<0xC3>", "<0xA9>", "<unk>"}));
  config.unk_token.reset();
  EXPECT_EQ(ids(config, "xay"), (Tokens{"a"}));
}

TEST(TokenizerBpe, IgnoreMergesTakesWholeWords) {
  BpeConfig config = config_of({"a", "b", "ab", "aba"}, {{"a", "b"}});
  const auto with_merges = BpeModel::build(config);
  EXPECT_EQ(tokens_of(*with_merges, "aba"), (std::vector<std::string>{"ab", "a"}));
  config.ignore_merges = true;
  const auto without = BpeModel::build(config);
  EXPECT_EQ(tokens_of(*without, "aba"), (std::vector<std::string>{"aba"}));
  EXPECT_EQ(tokens_of(*without, "abab"), (std::vector<std::string>{"ab", "ab"}));
}

TEST(TokenizerBpe, ContradictionsAreNamed) {
  const auto message = [](BpeConfig config) {
    const auto model = BpeModel::build(std::move(config));
    return model.ok() ? "" : model.error().message;
  };
  EXPECT_NE(message(config_of({"a", "b"}, {{"a", "b"}})).find("'ab' is not in"), std::string::npos);
  EXPECT_NE(message(config_of({"a"}, {{"a", "zz"}})).find("'zz' is not in"), std::string::npos);
  EXPECT_NE(message(config_of({"a", "a"}, {})).find("twice"), std::string::npos);
  BpeConfig twice = config_of({"a", "b"}, {});
  twice.vocab[1].second = 0;
  EXPECT_NE(message(twice).find("uses id 0 twice"), std::string::npos);
  BpeConfig huge = config_of({"a"}, {});
  huge.vocab[0].second = kMaxTokenId + 1;
  EXPECT_NE(message(huge).find("ids run from 0"), std::string::npos);
  BpeConfig unknown = config_of({"a"}, {});
  unknown.unk_token = "<unk>";
  EXPECT_NE(message(unknown).find("unk_token"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
