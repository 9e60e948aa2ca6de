// config.json of any known family -> ModelShape.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"
#include "spec/hf_precision.h"
#include "spec/hf_shape_families.h"
#include "spec/load_model.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

constexpr std::array<std::string_view, 6> kEngineFamilies = {"llama", "mixtral",   "olmoe",
                                                             "qwen3", "qwen2_moe", "qwen3_moe"};

const HfFamily* find_family(std::string_view model_type) {
  for (const auto families : {grouped_families(), latent_families(), hybrid_families()}) {
    for (const HfFamily& family : families) {
      if (family.model_type == model_type) return &family;
    }
  }
  return nullptr;
}

Error unknown_family(const JsonMap& config, const std::string& model_type) {
  std::vector<std::string_view> known(kEngineFamilies.begin(), kEngineFamilies.end());
  for (const auto families : {grouped_families(), latent_families(), hybrid_families()}) {
    for (const HfFamily& family : families) known.push_back(family.model_type);
  }
  std::sort(known.begin(), known.end());
  const std::string meant = nearest(model_type, known);
  return config.unsupported(
      "model_type", fmt::format("is {}{}; known are {}", quote_text(model_type),
                                meant.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", meant),
                                fmt::join(known, ", ")));
}

// What changes arithmetic but not the shape is not asked for: the engine's reader would refuse it.
Result<ModelShape> read_engine_family(nlohmann::json config, const std::string& file) {
  for (const char* key : {"quantization_config", "rope_scaling", "rope_parameters", "hidden_act"}) {
    config.erase(key);
  }
  const std::string text = config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  PF_ASSIGN(const ModelSpec spec, parse_hf_config(text, file));
  return shape_of(spec);
}

Result<ModelShape> read_family(const HfFamily& family, const JsonMap& config, bool tied,
                               const std::string& file) {
  ModelDims dims;
  dims.tied_embeddings = tied;
  PF_TRY(family.read(config, dims));
  return build_shape(dims, file);
}

}  // namespace

Result<ModelShape> parse_hf_shape(const std::string& json_text, const std::string& file) {
  PF_ASSIGN(const nlohmann::json document, parse_json(json_text, file));
  PF_ASSIGN(const JsonMap whole, JsonMap::of(document, file));
  const bool wrapped = whole.has("text_config");
  PF_ASSIGN(const JsonMap config, wrapped ? whole.map("text_config") : Result<JsonMap>(whole));
  PF_ASSIGN(const std::string outer, whole.text("model_type", std::nullopt));
  PF_ASSIGN(const std::string type, config.text("model_type", outer));
  PF_ASSIGN(const bool tied, whole.boolean("tie_word_embeddings", false));

  const bool engine =
      std::find(kEngineFamilies.begin(), kEngineFamilies.end(), type) != kEngineFamilies.end();
  const HfFamily* family = find_family(type);
  if (!engine && family == nullptr) return unknown_family(config, type);
  PF_ASSIGN(ModelShape shape,
            engine ? read_engine_family(wrapped ? document["text_config"] : document, file)
                   : read_family(*family, config, tied, file));
  shape.name = shape.family = outer;
  PF_ASSIGN(shape.stored,
            read_precision(config, config.has("quantization_config") ? config : whole));
  if (whole.has("vision_config") || (wrapped && !whole.has("audio_config"))) {
    shape.not_counted.emplace_back("vision tower and its projector: text only");
  }
  if (whole.has("audio_config")) {
    shape.not_counted.emplace_back("audio tower and its projector: text only");
  }
  return shape;
}

}  // namespace pentafold
