// Any text, read as config.json and as a shape spec, is a model that validates or a refusal with a
// sentence.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "spec/load_model.h"

namespace {

void check(const pentafold::Result<pentafold::ModelSpec>& result) {
  if (!result.ok()) {
    CHECK(!result.error().message.empty() && result.error().file == "fuzz");
    return;
  }
  CHECK(pentafold::validate(*result, "fuzz").ok());
  const auto counts = pentafold::count_params(*result);
  CHECK(counts.total > 0 && counts.active > 0 && counts.active <= counts.total);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(pentafold::parse_hf_config(text, "fuzz"));
  check(pentafold::parse_shape_spec(text, "fuzz"));
  return 0;
}
