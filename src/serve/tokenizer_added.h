// Added tokens: texts that become one id wherever they stand, before anything else is done.
//
// Idea: a trie over the contents gives the longest token at the leftmost place; the flags then
// widen the match over white space (lstrip, rstrip) or drop it (single_word). Source:
// huggingface/tokenizers, AddedVocabulary::find_matches, whose order of checks this keeps. Cost:
// one array look-up a byte where no token starts; at most the longest token where one does. Held by
// serve/tokenizer_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pentafold {

inline constexpr std::size_t kLongestAddedToken = 1024;  // bytes

struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = true;    // matched in the normalised text, not in the raw one
};

struct TextSegment {
  std::size_t begin, end;
  std::int32_t id;  // of the added token; -1 for text between
};

class AddedTokenFinder {
 public:
  // `match` is what to look for: the content, or its normalised form.
  void add(const AddedToken& token, std::string_view match);
  bool empty() const { return tokens_.empty(); }

  // Segments of `text` (valid UTF-8) in order, empty ones left out.
  std::vector<TextSegment> find(std::string_view text) const;

 private:
  struct Node {
    std::int32_t token = -1;  // index into tokens_
  };
  // Length and token of the longest match at `position`; token -1 if there is none.
  std::pair<std::size_t, std::int32_t> longest_at(std::string_view text,
                                                  std::size_t position) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // node << 8 | byte
  std::array<std::uint32_t, 256> first_{};                  // edges of the root; 0: none
};

bool is_word_character(char32_t character);  // letters, marks, decimal digits, connectors, joiners

}  // namespace pentafold
