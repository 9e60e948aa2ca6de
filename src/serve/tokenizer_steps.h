// Normalisers and pre-tokenizers: what happens to text before BPE sees words.
//
// Idea: both are flat lists of small steps (the file's Sequences unrolled, its composite types
// taken apart). A normaliser rewrites a string. A pre-tokenizer step rewrites or cuts a text that
// is kept as one buffer with pieces marked in it, so that cutting moves no bytes. Source:
// huggingface/tokenizers (NormalizedString::split for the five behaviours). Cost: linear in the
// text for every step. Held by serve/tokenizer_test.cc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "serve/tokenizer_regex.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {

// ---- Normalisers

struct PrependText {
  std::string text;
};
struct ReplaceText {
  Regex pattern;
  std::string by;
};
struct LowerCase {};
struct StripSpace {
  bool left = true, right = true;
};
using NormalizeStep = std::variant<NormalForm, PrependText, ReplaceText, LowerCase, StripSpace>;

// Rewrites `text` in place. Fails when a regex gives up, or when the text grows beyond 64 times its
// length and 64 KiB: replacements multiply, and a few hostile ones would fill any memory.
Status normalize(const std::vector<NormalizeStep>& steps, RegexScratch& scratch, std::string& text);

// ---- Pre-tokenizers

enum class SplitBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

struct SplitText {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false;  // what lies between matches is the delimiter
};
struct ReplaceSpaces {
  std::string by;
};
struct PrefixPieces {  // unless a piece already starts with it
  std::string prefix;
  bool only_at_start = false;  // only the piece that opens the input
};
struct ByteAlphabet {};  // bytes become the printable characters that GPT-2 gave them
using SplitStep = std::variant<SplitText, ReplaceSpaces, PrefixPieces, ByteAlphabet>;

struct TextPiece {
  std::size_t begin, end;  // in PieceList::text; never empty
  bool opens_input;
};
struct PieceList {
  std::string text;
  std::vector<TextPiece> pieces;
};

Status split(const std::vector<SplitStep>& steps, RegexScratch& scratch, PieceList& list);

// The GPT-2 byte alphabet, both ways: the character of a byte, and the byte of a character or -1.
char32_t character_of_byte(unsigned char byte);
int byte_of_character(char32_t character);

}  // namespace pentafold
