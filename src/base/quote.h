// quote: a stranger's value in an error message, made safe to print.
//
// Long values are cut, anything but printable ASCII becomes '?': a hostile file cannot write to
// the reader's terminal. Cost: O(80). Held by base/nearest_test.cc.
#pragma once

#include <string>
#include <string_view>

namespace pentafold {

// In double quotes: "heads", "a very long val...".
inline std::string quote_text(std::string_view value) {
  constexpr std::size_t kLongest = 80;
  std::string out = "\"";
  for (const char c : value.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7F ? '?' : c;
  }
  return out + (value.size() > kLongest ? "...\"" : "\"");
}

}  // namespace pentafold
