// Byte-pair encoding of one word.
//
// Idea: a word starts as characters; of all neighbouring pairs that the vocabulary can merge, the
// one of lowest rank (leftmost among equals) is merged, until none is left. A heap of candidate
// merges over a linked list of symbols does this in O(n log n); entries that a merge made stale are
// recognised when they surface. Characters that the vocabulary lacks become byte tokens
// ("<0x0A>", byte_fallback), else the unknown token (one for a run with fuse_unk), else nothing.
// Source: Sennrich et al. 2016; the heap as in SentencePiece and huggingface/tokenizers.
// Cost: one hash look-up a candidate pair. Held by serve/tokenizer_bpe_test.cc against a quadratic
// oracle that rescans the word at every merge.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace pentafold {

inline constexpr std::int32_t kMaxTokenId = (1 << 22) - 1;  // bounds the tables a file can ask for

struct BpeConfig {
  std::vector<std::pair<std::string, std::int32_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // in rank order
  std::optional<std::string> unk_token;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a word that is a token as a whole is that token
};

struct BpeSymbol {
  std::int32_t id;
  std::int32_t previous, next;  // neighbours; -1 at the ends
  bool alive;
};

struct BpeCandidate {
  std::uint32_t rank;
  std::int32_t position;  // of the left symbol
  std::int32_t merged_id;
};

struct BpeScratch {  // reused from word to word; one per call
  std::vector<BpeSymbol> symbols;
  std::vector<BpeCandidate> heap;
};

class BpeModel {  // immutable, thread-safe
 public:
  static Result<BpeModel> build(BpeConfig config);
  BpeModel(BpeModel&&) = default;
  BpeModel(const BpeModel&) = delete;  // ids_ points into vocab_
  BpeModel& operator=(const BpeModel&) = delete;

  // Appends the ids of `word` (valid UTF-8, at most 2^31 - 1 bytes) to `out`.
  void encode_word(std::string_view word, BpeScratch& scratch,
                   std::vector<std::int32_t>& out) const;

  std::optional<std::int32_t> find(std::string_view token) const;
  const std::vector<std::pair<std::string, std::int32_t>>& vocab() const { return vocab_; }

 private:
  struct Merge {
    std::uint64_t pair;  // left << 32 | right; kNoPair where the slot is free
    std::uint32_t rank;
    std::int32_t merged_id;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};

  BpeModel() = default;
  Status index_vocab();
  Status index_merges(const std::vector<std::pair<std::string, std::string>>& merges);
  void index_single_characters();
  Merge& slot_of(std::uint64_t pair);
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;

  void split_characters(std::string_view word, std::vector<BpeSymbol>& symbols) const;
  bool append_bytes(std::string_view character, std::vector<BpeSymbol>& symbols) const;
  void consider(std::int32_t left, BpeScratch& scratch) const;
  void merge_all(BpeScratch& scratch) const;

  std::vector<std::pair<std::string, std::int32_t>> vocab_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  // views into vocab_
  std::vector<Merge> merges_;                               // open addressing, a power of two slots
  std::vector<std::int32_t> short_characters_;              // id by code point below 0x800, or -1
  std::vector<std::int32_t> byte_tokens_;                   // id of "<0xNN>", or -1
  std::int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace pentafold
