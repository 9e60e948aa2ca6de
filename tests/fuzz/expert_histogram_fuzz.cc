// Counts of experts from strangers: a table that adds up or a sentence, never a crash.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "spec/expert_histogram.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pentafold;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto histogram = parse_expert_histogram(text, "fuzz");
  if (!histogram.ok()) {
    CHECK(!histogram.error().message.empty() && histogram.error().file == "fuzz");
    return 0;
  }
  CHECK(histogram->experts >= 1 && !histogram->layers.empty());
  CHECK(std::ranges::is_sorted(histogram->layers));
  CHECK(histogram->counts.size() ==
        histogram->layers.size() * static_cast<std::size_t>(histogram->experts));
  for (std::size_t i = 0; i < histogram->layers.size(); ++i) {
    CHECK(std::ranges::all_of(histogram->row(i), [](std::int64_t n) { return n >= 0; }));
    CHECK(std::ranges::any_of(histogram->row(i), [](std::int64_t n) { return n > 0; }));
  }
  return 0;
}
