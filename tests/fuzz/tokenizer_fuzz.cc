// tokenizer.json from strangers: a tokenizer or a sentence; what is accepted encodes and decodes.
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "serve/tokenizer.h"

namespace {

using namespace pentafold;

void exercise(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text, true);
  if (!ids.ok()) {
    CHECK(!ids.error().message.empty());
    return;
  }
  for (const std::int32_t id : *ids) {
    CHECK(id >= 0 && id < tokenizer.vocab_size());
    CHECK(tokenizer.id_to_token(id).has_value());
  }
  StreamDecoder stream(tokenizer, false);
  for (const std::int32_t id : *ids) stream.push(id);
  stream.flush();
  tokenizer.decode(*ids, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::parse(json, "fuzz.json");
  if (!tokenizer.ok()) {
    CHECK(!tokenizer.error().message.empty() && tokenizer.error().file == "fuzz.json");
    return 0;
  }
  exercise(*tokenizer, json.substr(0, 512));  // holds every token and pattern of the file
  exercise(*tokenizer, "  Hello, w\xC3\xB6rld 123\n\n \xE4\xBD\xA0\xE5\xA5\xBD\xF0\x9F\x98\x80");
  return 0;
}
