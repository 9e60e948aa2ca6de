// UTF-8 and Unicode for the tokenizer: validation, stepping, normal forms, lower case.
//
// Idea: text is validated once at the border, and code behind it may step without checks. Malformed
// bytes are measured in maximal subparts (Unicode 15, section 3.9), which is how both Rust and the
// web replace them by U+FFFD. Normal forms come from utf8proc.
// Cost: linear, normal forms included (runs of combining marks are sorted in n log n).
// Held by serve/tokenizer_unicode_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pentafold {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8Kind { Whole, Incomplete, Invalid };

struct Utf8Step {
  Utf8Kind kind;
  std::size_t length;  // of the character, of the incomplete tail, or of the maximal subpart
};

// What stands at the front of `bytes`, which is not empty.
Utf8Step next_utf8(std::string_view bytes);

// Offset of the first byte that is not part of valid UTF-8; nothing if all is valid.
std::optional<std::size_t> first_invalid_utf8(std::string_view bytes);

// The character at `position` of valid UTF-8; `position` moves behind it.
char32_t read_utf8(std::string_view valid, std::size_t& position);
void append_utf8(std::string& out, char32_t character);

bool is_white_space(char32_t character);  // the Unicode property White_Space

struct NormalForm {
  bool compose = false;        // NFC, NFKC
  bool compatibility = false;  // NFKC, NFKD
};
// As the reference has it: characters younger than Unicode 9 stay as and where they are.
std::string to_normal_form(std::string_view valid, NormalForm form);
bool is_unnormalized(char32_t character);  // one of those characters

// The members that Unicode 15 to 16 added to a general category ("Lo", or "L" for all letters), as
// ranges of a PCRE2 character class; empty for a name that is no category.
std::string recent_characters(std::string_view category);

// Character by character, without the context rule for a final sigma, as the reference does.
std::string to_lower_case(std::string_view valid);

}  // namespace pentafold
