// Text from strangers: a byte-level tokenizer gives every valid text back, whole and streamed.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "serve/tokenizer.h"

namespace {

using namespace pentafold;

// The 256 byte characters, a few merges, and the split pattern of Qwen.
Tokenizer byte_level() {
  const auto quoted = [](std::string text) {
    return text == "\"" || text == "\\" ? "\"\\" + text + "\"" : "\"" + text + "\"";
  };
  std::string vocab;
  int id = 0;
  const auto add = [&](const std::string& token) {
    vocab += (id == 0 ? "" : ",") + quoted(token) + ":" + std::to_string(id);
    ++id;
  };
  const auto character = [](int code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  };
  for (int code = '!'; code <= '~'; ++code) add(character(code));
  for (int code = 0xA1; code <= 0x143; ++code) {
    if (code != 0xAD) add(character(code));
  }
  for (const char* token : {"th", "the", "\xC4\xA0t", "\xC4\xA0the", "aa", "aaaa"}) add(token);
  const std::string json =
      R"({"added_tokens": [{"id": 300, "content": "<|end|>", "special": true, "rstrip": false}],
"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex":
"(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|)"
      R"(\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
"behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
"decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {)" +
      vocab +
      "},\"merges\": [\"t h\", \"th e\", \"\xC4\xA0 t\", \"\xC4\xA0 the\", "
      "\"a a\", \"aa aa\"]}}";
  auto tokenizer = Tokenizer::parse(json, "byte_level");
  if (!tokenizer.ok()) check_failed(__FILE__, __LINE__, "parse", tokenizer.error().to_string());
  return std::move(tokenizer).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer kTokenizer = byte_level();
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto ids = kTokenizer.encode(text, false);
  if (!ids.ok()) {
    CHECK(ids.error().message.find("UTF-8") != std::string::npos);
    return 0;
  }
  CHECK(kTokenizer.decode(*ids, false) == text);
  StreamDecoder stream(kTokenizer, false);
  std::string streamed;
  for (const std::int32_t id : *ids) streamed += stream.push(id);
  CHECK(streamed == text && stream.flush().empty());
  return 0;
}
