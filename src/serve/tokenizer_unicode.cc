#include "serve/tokenizer_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace pentafold {
namespace {

// The legal range of the second byte depends on the first: it excludes overlong forms, surrogates
// and what lies beyond U+10FFFF.
struct LeadByte {
  std::size_t length;  // 0: not a lead byte
  unsigned char second_low, second_high;
};

LeadByte lead_byte(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

int combining_class(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

std::vector<utf8proc_int32_t> decompose(std::string_view valid, bool compatibility) {
  const int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatibility ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> out;
  out.reserve(valid.size());
  constexpr int kLongest = 32;  // U+FDFA decomposes into 18
  for (std::size_t position = 0; position < valid.size();) {
    const char32_t character = read_utf8(valid, position);
    utf8proc_int32_t buffer[kLongest];
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(character), buffer, kLongest,
                                static_cast<utf8proc_option_t>(options), &boundary);
    CHECK(count >= 0 && count <= kLongest, "decomposition longer than Unicode allows");
    out.insert(out.end(), buffer, buffer + count);
  }
  return out;
}

// Marks in the order of their classes, equals as they came (the place is part of the key).
void sort_marks(utf8proc_int32_t* first, utf8proc_int32_t* last) {
  struct Mark {
    int combining;
    std::ptrdiff_t place;
    utf8proc_int32_t character;
    bool operator<(const Mark& other) const {
      return combining != other.combining ? combining < other.combining : place < other.place;
    }
  };
  if (last - first < 2) return;
  std::vector<Mark> marks;
  marks.reserve(static_cast<std::size_t>(last - first));
  for (auto* at = first; at != last; ++at) marks.push_back({combining_class(*at), at - first, *at});
  std::sort(marks.begin(), marks.end());
  for (const Mark& mark : marks) *first++ = mark.character;
}

// Canonical ordering. utf8proc's own is an insertion sort: quadratic in a hostile run of marks.
void order_marks(std::vector<utf8proc_int32_t>& text) {
  for (std::size_t i = 0; i < text.size();) {
    if (combining_class(text[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    sort_marks(text.data() + i, text.data() + end);
    i = end;
  }
}

void append_normal_form(std::string_view valid, NormalForm form, std::string& out) {
  std::vector<utf8proc_int32_t> text = decompose(valid, form.compatibility);
  order_marks(text);
  if (form.compose) {
    const auto length = utf8proc_normalize_utf32(
        text.data(), static_cast<utf8proc_ssize_t>(text.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    CHECK(length >= 0, "composition of valid code points cannot fail");
    text.resize(static_cast<std::size_t>(length));
  }
  for (const utf8proc_int32_t character : text) append_utf8(out, static_cast<char32_t>(character));
}

}  // namespace

Utf8Step next_utf8(std::string_view bytes) {
  CHECK(!bytes.empty());
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (at(0) < 0x80) return {Utf8Kind::Whole, 1};
  const LeadByte lead = lead_byte(at(0));
  if (lead.length == 0) return {Utf8Kind::Invalid, 1};
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Kind::Incomplete, i};
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xBF;
    if (at(i) < low || at(i) > high) return {Utf8Kind::Invalid, i};
  }
  return {Utf8Kind::Whole, lead.length};
}

std::optional<std::size_t> first_invalid_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const Utf8Step step = next_utf8(bytes.substr(i));
    if (step.kind != Utf8Kind::Whole) return i;
    i += step.length;
  }
  return std::nullopt;
}

char32_t read_utf8(std::string_view valid, std::size_t& position) {
  const auto byte = [&] { return static_cast<unsigned char>(valid[position++]); };
  const char32_t first = byte();
  if (first < 0x80) return first;
  const int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  char32_t character = first & (0x3FU >> more);
  for (int i = 0; i < more && position < valid.size(); ++i) {
    character = character << 6 | (byte() & 0x3FU);
  }
  return character;
}

void append_utf8(std::string& out, char32_t character) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (character < 0x80) return put(character);
  if (character < 0x800) {
    put(0xC0 | character >> 6);
  } else {
    if (character < 0x10000) {
      put(0xE0 | character >> 12);
    } else {
      put(0xF0 | character >> 18);
      put(0x80 | (character >> 12 & 0x3F));
    }
    put(0x80 | (character >> 6 & 0x3F));
  }
  put(0x80 | (character & 0x3F));
}

bool is_white_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string to_normal_form(std::string_view valid, NormalForm form) {
  if (is_ascii(valid)) return std::string(valid);
  std::string out;
  out.reserve(valid.size());
  // An unnormalised character neither moves nor combines, so what it parts can be done apart.
  std::size_t begin = 0;
  for (std::size_t position = 0; position < valid.size();) {
    const std::size_t at = position;
    if (!is_unnormalized(read_utf8(valid, position))) continue;
    append_normal_form(valid.substr(begin, at - begin), form, out);
    out.append(valid.substr(at, position - at));
    begin = position;
  }
  append_normal_form(valid.substr(begin), form, out);
  return out;
}

std::string to_lower_case(std::string_view valid) {
  std::string out;
  out.reserve(valid.size());
  for (std::size_t position = 0; position < valid.size();) {
    const char32_t character = read_utf8(valid, position);
    if (character == 0x130) {  // the one letter whose lower case is two characters
      out += "i\xCC\x87";
    } else {
      append_utf8(
          out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
    }
  }
  return out;
}

}  // namespace pentafold
