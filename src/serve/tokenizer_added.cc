#include "serve/tokenizer_added.h"

#include <algorithm>

#include "serve/tokenizer_regex.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

char32_t first_character(std::string_view text) {
  std::size_t position = 0;
  return read_utf8(text, position);
}

std::size_t start_of_last_character(std::string_view text) {
  std::size_t position = text.size() - 1;
  while (position > 0 && (text[position] & 0xC0) == 0x80) --position;
  return position;
}

bool touches_word(std::string_view before, std::string_view after) {
  if (!before.empty() &&
      is_word_character(first_character(before.substr(start_of_last_character(before))))) {
    return true;
  }
  return !after.empty() && is_word_character(first_character(after));
}

std::size_t trailing_space_begin(std::string_view text) {
  while (!text.empty()) {
    const std::size_t last = start_of_last_character(text);
    if (!is_white_space(first_character(text.substr(last)))) break;
    text = text.substr(0, last);
  }
  return text.size();
}

std::size_t leading_space_length(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    std::size_t next = length;
    if (!is_white_space(read_utf8(text, next))) break;
    length = next;
  }
  return length;
}

}  // namespace

bool is_word_character(char32_t character) {
  static const Regex kWord =
      Regex::from_trusted("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]");
  std::string text;
  append_utf8(text, character);
  RegexScratch scratch;
  std::vector<RegexSpan> spans;
  return kWord.cut(text, scratch, spans).ok() && !spans.empty() && spans[0].matched;
}

void AddedTokenFinder::add(const AddedToken& token, std::string_view match) {
  if (match.empty()) return;
  std::uint32_t node = 0;
  for (const char c : match) {
    const auto byte = static_cast<unsigned char>(c);
    const auto next = static_cast<std::uint32_t>(nodes_.size());
    const auto [edge, fresh] = edges_.try_emplace(std::uint64_t{node} << 8 | byte, next);
    if (fresh) nodes_.emplace_back();
    if (node == 0) first_[byte] = edge->second;
    node = edge->second;
  }
  if (nodes_[node].token < 0) {
    nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back(token);
  }
}

std::pair<std::size_t, std::int32_t> AddedTokenFinder::longest_at(std::string_view text,
                                                                  std::size_t position) const {
  std::pair<std::size_t, std::int32_t> best{0, -1};
  std::uint32_t node = first_[static_cast<unsigned char>(text[position])];
  for (std::size_t end = position + 1; node != 0; ++end) {
    if (nodes_[node].token >= 0) best = {end - position, nodes_[node].token};
    if (end == text.size()) break;
    const auto edge = edges_.find(std::uint64_t{node} << 8 | static_cast<unsigned char>(text[end]));
    if (edge == edges_.end()) break;
    node = edge->second;
  }
  return best;
}

std::vector<TextSegment> AddedTokenFinder::find(std::string_view text) const {
  std::vector<TextSegment> segments;
  std::size_t covered = 0;
  for (std::size_t position = 0; position < text.size();) {
    const auto [length, index] = longest_at(text, position);
    if (index < 0) {
      ++position;
      continue;
    }
    std::size_t begin = position, end = position + length;
    position = end;  // matches never overlap, even where one is dropped below
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    if (token.single_word && touches_word(text.substr(0, begin), text.substr(end))) continue;
    // A match may lie in white space that an earlier rstrip took: that run ends at `covered`, and
    // measuring it again at every match would be quadratic. With lstrip nothing is left of it.
    if (token.lstrip) {
      const std::size_t from = std::max(begin, covered) - covered;
      begin = covered + trailing_space_begin(text.substr(covered, from));
    }
    if (token.rstrip) {
      end = end < covered ? covered : end + leading_space_length(text.substr(end));
    }
    if (end <= begin) continue;
    if (covered < begin) segments.push_back({covered, begin, -1});
    segments.push_back({begin, end, token.id});
    covered = end;
  }
  if (covered < text.size()) segments.push_back({covered, text.size(), -1});
  return segments;
}

}  // namespace pentafold
