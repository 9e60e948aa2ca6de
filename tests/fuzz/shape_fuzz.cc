// Any text, read as config.json and as the catalog's YAML, is a model whose counts are positive and
// finite, or a refusal with a sentence.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "spec/layer_pattern.h"
#include "spec/load_shape.h"

namespace {

using namespace pentafold;

void check(const Result<ModelShape>& result) {
  if (!result.ok()) {
    CHECK(!result.error().message.empty() && result.error().file == "fuzz");
    return;
  }
  const ModelShape& model = *result;
  CHECK(model.num_layers() >= 1 && model.num_layers() <= 1024);
  for (const std::int32_t kind : model.layers) {
    CHECK(kind >= 0 && static_cast<std::size_t>(kind) < model.kinds.size());
  }
  const ParamCounts counts = count_params(model);
  CHECK(counts.total > 0 && counts.active > 0 && counts.active <= counts.total);
  CHECK(weight_bytes(model, model.stored) > 0);
  const double flops = attention_flops(model, 1 << 20, true) + weight_flops_per_token(model);
  CHECK(std::isfinite(flops) && flops >= 0);
  const double kv = kv_bytes_of_sequence(model, model.stored.kv, 1 << 20);
  CHECK(std::isfinite(kv) && kv >= 0);
  CHECK(kv_bytes_of_sequence(model, model.stored.kv, 1 << 10) <= kv);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(parse_hf_shape(text, "fuzz"));
  check(parse_catalog_shape(text, "fuzz"));
  const LayerPattern pattern = parse_layer_pattern(text, 1024);
  CHECK(pattern.layers.size() <= 1024 &&
        (pattern.layers.empty() ? !pattern.problem.empty() : true));
  return 0;
}
