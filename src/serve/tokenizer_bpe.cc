#include "serve/tokenizer_bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/random.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

constexpr char32_t kShortCharacters = 0x800;  // what UTF-8 writes in one or two bytes

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

// Orders a max-heap so that the lowest rank, then the leftmost position, is on top.
bool comes_later(const BpeCandidate& a, const BpeCandidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

void append_symbol(std::int32_t id, std::vector<BpeSymbol>& symbols) {
  const auto position = static_cast<std::int32_t>(symbols.size());
  if (position > 0) symbols.back().next = position;
  symbols.push_back({id, position - 1, -1, true});
}

}  // namespace

Result<BpeModel> BpeModel::build(BpeConfig config) {
  BpeModel model;
  model.vocab_ = std::move(config.vocab);
  model.fuse_unk_ = config.fuse_unk;
  model.byte_fallback_ = config.byte_fallback;
  model.ignore_merges_ = config.ignore_merges;
  PF_TRY(model.index_vocab());
  PF_TRY(model.index_merges(config.merges));
  model.index_single_characters();
  if (config.unk_token.has_value()) {
    const auto id = model.find(*config.unk_token);
    if (!id.has_value()) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("model.unk_token '{}' is not in model.vocab", *config.unk_token));
    }
    model.unk_id_ = *id;
  }
  return Result<BpeModel>(std::move(model));
}

Status BpeModel::index_vocab() {
  ids_.reserve(vocab_.size());
  std::vector<bool> taken;
  for (const auto& [token, id] : vocab_) {
    if (id < 0 || id > kMaxTokenId) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("model.vocab gives '{}' the id {}; ids run from 0 to {}", token,
                                    id, kMaxTokenId));
    }
    const auto index = static_cast<std::size_t>(id);
    if (index >= taken.size()) taken.resize(index + 1);
    if (taken[index]) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("model.vocab uses id {} twice, the second time for '{}'", id, token));
    }
    taken[index] = true;
    if (!ids_.emplace(token, id).second) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("model.vocab has the token '{}' twice", token));
    }
  }
  return ok_status();
}

Status BpeModel::index_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  merges_.assign(std::bit_ceil(2 * merges.size() + 2), Merge{kNoPair, 0, 0});
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto left_id = find(left), right_id = find(right), merged = find(left + right);
    if (!left_id.has_value() || !right_id.has_value() || !merged.has_value()) {
      const std::string& missing = !left_id.has_value()    ? left
                                   : !right_id.has_value() ? right
                                                           : left + right;
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("model.merges[{}] joins '{}' and '{}', but '{}' is not in "
                                    "model.vocab",
                                    rank, left, right, missing));
    }
    const std::uint64_t pair = pair_of(*left_id, *right_id);
    slot_of(pair) = {pair, static_cast<std::uint32_t>(rank), *merged};  // the last of equals counts
  }
  return ok_status();
}

void BpeModel::index_single_characters() {
  short_characters_.assign(kShortCharacters, -1);
  for (char32_t c = 0; c < kShortCharacters; ++c) {
    std::string text;
    append_utf8(text, c);
    short_characters_[c] = find(text).value_or(-1);
  }
  byte_tokens_.assign(256, -1);
  for (int byte = 0; byte < 256; ++byte) {
    byte_tokens_[static_cast<std::size_t>(byte)] =
        find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

std::optional<std::int32_t> BpeModel::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

BpeModel::Merge& BpeModel::slot_of(std::uint64_t pair) {
  const std::size_t mask = merges_.size() - 1;
  std::size_t slot = mix64(pair) & mask;
  while (merges_[slot].pair != kNoPair && merges_[slot].pair != pair) slot = (slot + 1) & mask;
  return merges_[slot];
}

const BpeModel::Merge* BpeModel::find_merge(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_of(left, right);
  const std::size_t mask = merges_.size() - 1;
  for (std::size_t slot = mix64(pair) & mask;; slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kNoPair) return nullptr;
  }
}

void BpeModel::encode_word(std::string_view word, BpeScratch& scratch,
                           std::vector<std::int32_t>& out) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    if (const auto id = find(word)) return out.push_back(*id);
  }
  split_characters(word, scratch.symbols);
  merge_all(scratch);
  for (const BpeSymbol& symbol : scratch.symbols) {
    if (symbol.alive) out.push_back(symbol.id);
  }
}

// A pending unknown token is written when the next known character comes, but after byte tokens
// that stand between: the reference has this order, and ids must agree with it.
void BpeModel::split_characters(std::string_view word, std::vector<BpeSymbol>& symbols) const {
  symbols.clear();
  bool pending_unknown = false;
  for (std::size_t position = 0; position < word.size();) {
    const std::size_t begin = position;
    const char32_t character = read_utf8(word, position);
    const std::string_view text = word.substr(begin, position - begin);
    const std::int32_t id =
        character < kShortCharacters ? short_characters_[character] : find(text).value_or(-1);
    if (id >= 0) {
      if (pending_unknown) append_symbol(unk_id_, symbols);
      pending_unknown = false;
      append_symbol(id, symbols);
      continue;
    }
    if (byte_fallback_ && append_bytes(text, symbols)) continue;
    if (unk_id_ < 0) continue;
    if (pending_unknown && !fuse_unk_) append_symbol(unk_id_, symbols);
    pending_unknown = true;
  }
  if (pending_unknown) append_symbol(unk_id_, symbols);
}

bool BpeModel::append_bytes(std::string_view character, std::vector<BpeSymbol>& symbols) const {
  const auto token = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  const bool all =
      std::all_of(character.begin(), character.end(), [&](char c) { return token(c) >= 0; });
  if (!all) return false;
  for (const char c : character) append_symbol(token(c), symbols);
  return true;
}

void BpeModel::consider(std::int32_t left, BpeScratch& scratch) const {
  const BpeSymbol& symbol = scratch.symbols[static_cast<std::size_t>(left)];
  if (symbol.next < 0) return;
  const BpeSymbol& right = scratch.symbols[static_cast<std::size_t>(symbol.next)];
  if (const Merge* merge = find_merge(symbol.id, right.id)) {
    scratch.heap.push_back({merge->rank, left, merge->merged_id});
  }
}

void BpeModel::merge_all(BpeScratch& scratch) const {
  auto& [symbols, heap] = scratch;
  heap.clear();
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(static_cast<std::int32_t>(i), scratch);
  std::make_heap(heap.begin(), heap.end(), comes_later);
  const auto push_pair = [&](std::int32_t left) {
    const std::size_t before = heap.size();
    consider(left, scratch);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), comes_later);
  };
  while (!heap.empty()) {
    const BpeCandidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    heap.pop_back();
    BpeSymbol& left = symbols[static_cast<std::size_t>(top.position)];
    if (!left.alive || left.next < 0) continue;
    BpeSymbol& right = symbols[static_cast<std::size_t>(left.next)];
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->merged_id != top.merged_id) continue;  // stale
    left.id = top.merged_id;
    left.next = right.next;
    right.alive = false;
    if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].previous = top.position;
    if (left.previous >= 0) push_pair(left.previous);
    push_pair(top.position);
  }
}

}  // namespace pentafold
