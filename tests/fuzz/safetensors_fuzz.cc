// Any bytes are either an index whose every range lies inside the file, or a refusal with a
// sentence.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "spec/safetensors.h"

namespace {

void check(const std::vector<std::byte>& file) {
  const auto result = pentafold::parse_safetensors(file, "fuzz.safetensors");
  if (!result.ok()) {
    CHECK(!result.error().message.empty());
    return;
  }
  std::uint64_t last = 8;
  for (const auto& entry : *result) {
    CHECK(entry.begin >= last && entry.end >= entry.begin && entry.end <= file.size());
    last = entry.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> file(size);
  if (size > 0) std::memcpy(file.data(), data, size);
  check(file);
  // The same bytes as header and data of a file whose length field is right, so that the JSON is
  // reached: the first byte says how much is data.
  if (size == 0) return 0;
  const std::uint64_t header = size - 1;
  std::vector<std::byte> framed(8 + header + data[0]);
  std::memcpy(framed.data(), &header, sizeof header);
  if (header > 0) std::memcpy(framed.data() + 8, data + 1, header);
  check(framed);
  return 0;
}
