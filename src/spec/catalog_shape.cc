// The catalog's YAML (docs/model-format.md) -> ModelShape and what its author says about it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <filesystem>
#include <map>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "spec/catalog_layers.h"
#include "spec/layer_pattern.h"
#include "spec/load_shape.h"
#include "spec/param_count.h"

namespace pentafold {
namespace {

constexpr std::array<std::string_view, 25> kKeys = {"kind",
                                                    "name",
                                                    "family",
                                                    "source",
                                                    "official_total_params",
                                                    "official_active_params",
                                                    "official_also_counts",
                                                    "official_also_active",
                                                    "official_active_excludes",
                                                    "official_note",
                                                    "d",
                                                    "vocab",
                                                    "max_positions",
                                                    "tied_embeddings",
                                                    "head_bias",
                                                    "norm_bias",
                                                    "norms_per_part",
                                                    "residual_streams",
                                                    "relative_buckets",
                                                    "stored",
                                                    "mixers",
                                                    "ffns",
                                                    "layers",
                                                    "not_counted",
                                                    "aliases"};
constexpr std::array<std::string_view, 4> kStoredKeys = {"experts", "linear", "other", "kv"};
constexpr std::size_t kMaxParts = 64;

using Parts = std::map<std::string, LayerDims, std::less<>>;

Status read_outline(const YamlMap& map, ModelDims& out) {
  PF_ASSIGN(out.d, map.integer("d", std::nullopt, 1, kMaxShapeWidth));
  PF_ASSIGN(out.vocab, map.integer("vocab", std::nullopt, 1, kMaxShapeWidth));
  PF_ASSIGN(out.max_positions, map.integer("max_positions", 0, 0, kMaxShapePositions));
  PF_ASSIGN(out.tied_embeddings, map.boolean("tied_embeddings", false));
  PF_ASSIGN(out.head_bias, map.boolean("head_bias", false));
  PF_ASSIGN(out.norm_bias, map.boolean("norm_bias", false));
  PF_ASSIGN(out.norms_per_part, map.integer("norms_per_part", 1, 0, 2));
  PF_ASSIGN(out.residual_streams, map.integer("residual_streams", 0, 0, kMaxShapeExperts));
  PF_ASSIGN(out.relative_buckets, map.integer("relative_buckets", 0, 0, kMaxShapeHeads));
  if (!map.has("not_counted")) return ok_status();
  PF_ASSIGN(const auto notes, map.sequence("not_counted"));
  for (const YAML::Node& note : notes) {
    if (!note.IsScalar()) return map.error_at("not_counted", "not_counted must be a list of texts");
    out.not_counted.push_back(note.Scalar());
  }
  return ok_status();
}

Status read_stored(const YamlMap& map, Precision& out) {
  if (!map.has("stored")) return ok_status();
  PF_ASSIGN(const YamlMap stored, map.map("stored"));
  PF_TRY(stored.refuse_unknown(kStoredKeys));
  const std::array to = {&out.experts, &out.linear, &out.other, &out.kv};
  for (std::size_t i = 0; i < to.size(); ++i) {
    PF_ASSIGN(const std::string name, stored.text(kStoredKeys[i], to_string(*to[i])));
    const auto format = parse_number_format(name);
    if (!format.ok()) return stored.error_at(kStoredKeys[i], format.error().message);
    *to[i] = *format;
  }
  return ok_status();
}

// Adds the named parts of `key` (mixers or ffns) to `parts`.
Status read_parts(const YamlMap& map, std::string_view key, Parts& parts) {
  if (!map.has(key)) return ok_status();
  PF_ASSIGN(const YamlMap named, map.map(key));
  for (const std::string& name : named.keys()) {
    if (parts.size() == kMaxParts) {
      return named.error_at(name, fmt::format("more than {} mixers and FFNs", kMaxParts));
    }
    PF_ASSIGN(const YamlMap part, named.map(name));
    LayerDims layer;
    if (key == "mixers") {
      PF_ASSIGN(layer.mixer, read_catalog_mixer(part));
    } else {
      PF_ASSIGN(layer.ffn, read_catalog_ffn(part));
    }
    if (!parts.emplace(name, layer).second) {
      return named.error_at(
          name, fmt::format("{} names both a mixer and an FFN; rename one", quote_text(name)));
    }
  }
  return ok_status();
}

Result<LayerDims> find_part(const YamlMap& map, std::string_view name, const Parts& parts) {
  const auto found = parts.find(name);
  if (found != parts.end()) return found->second;
  std::vector<std::string_view> known;
  for (const auto& [key, part] : parts) known.push_back(key);
  const std::string meant = nearest(name, known);
  return map.error_at(
      "layers",
      meant.empty()
          ? fmt::format("layers names {}, which is neither a mixer nor an FFN; there are {}",
                        quote_text(name), fmt::join(known, ", "))
          : fmt::format("layers names {}, which is neither a mixer nor an FFN; did you mean {}?",
                        quote_text(name), quote_text(meant)));
}

// "mla+dense", "mla" or "dense".
Result<LayerDims> find_layer(const YamlMap& map, std::string_view text, const Parts& parts) {
  const std::size_t plus = text.find('+');
  PF_ASSIGN(LayerDims layer, find_part(map, text.substr(0, plus), parts));
  if (plus == std::string_view::npos) return layer;
  PF_ASSIGN(const LayerDims second, find_part(map, text.substr(plus + 1), parts));
  const bool mixes = !std::holds_alternative<NoMixer>(layer.mixer);
  if (!mixes || !std::holds_alternative<NoMixer>(second.mixer)) {
    return map.error_at("layers", fmt::format("{} must be a mixer + an FFN", quote_text(text)));
  }
  layer.ffn = second.ffn;
  return layer;
}

Status read_layers(const YamlMap& map, ModelDims& out) {
  Parts parts;
  PF_TRY(read_parts(map, "mixers", parts));
  PF_TRY(read_parts(map, "ffns", parts));
  PF_ASSIGN(const std::string text, map.text("layers", std::nullopt));
  const LayerPattern pattern = parse_layer_pattern(text, kMaxShapeLayers);
  if (!pattern.problem.empty()) return map.error_at("layers", "layers " + pattern.problem);
  for (const std::string& layer : pattern.layers) {
    PF_ASSIGN(const LayerDims dims, find_layer(map, layer, parts));
    out.add_layer(dims);
  }
  return ok_status();
}

Status read_official(const YamlMap& map, CatalogModel& out) {
  const std::array to = {&out.official_total_params, &out.official_active_params,
                         &out.official_also_counts, &out.official_also_active};
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (!map.has(kKeys[4 + i])) continue;
    PF_ASSIGN(*to[i], read_param_count(map, kKeys[4 + i]));
  }
  constexpr std::array<std::string_view, 3> kExcludes = {"none", "embedding", "embedding_and_head"};
  PF_ASSIGN(const std::size_t excludes, map.choice("official_active_excludes", kExcludes, 0));
  out.active_excludes = std::array{ActiveExcludes::None, ActiveExcludes::Embedding,
                                   ActiveExcludes::EmbeddingAndHead}[excludes];
  PF_ASSIGN(out.source, map.text("source", ""));
  PF_ASSIGN(out.official_note, map.text("official_note", ""));
  return ok_status();
}

}  // namespace

double CatalogModel::comparable_total() const {
  return static_cast<double>(count_params(shape).total) + official_also_counts;
}

double CatalogModel::comparable_active() const {
  double active = static_cast<double>(count_params(shape).active) + official_also_active;
  for (const WeightGroup& group : shape.outer) {
    const bool embedding = group.part == WeightPart::Embedding;
    const bool head = group.part == WeightPart::Head;
    if ((embedding && active_excludes != ActiveExcludes::None) ||
        (head && active_excludes == ActiveExcludes::EmbeddingAndHead)) {
      active -= static_cast<double>(group.params);
    }
  }
  return active;
}

namespace {

Status read_aliases(const YamlMap& map, std::vector<std::string>& out) {
  if (!map.has("aliases")) return ok_status();
  PF_ASSIGN(const auto names, map.sequence("aliases"));
  for (const YAML::Node& name : names) {
    if (!name.IsScalar()) return map.error_at("aliases", "aliases must be a list of names");
    out.push_back(name.Scalar());
  }
  return ok_status();
}

}  // namespace

Result<CatalogModel> parse_catalog_model(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node document, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(document, file));
  PF_TRY(map.refuse_unknown(kKeys));
  constexpr std::array<std::string_view, 1> kKinds = {"catalog"};
  PF_TRY(map.choice("kind", kKinds, std::nullopt));
  ModelDims dims;
  PF_ASSIGN(dims.name, map.text("name", std::filesystem::path(file).stem().string()));
  PF_ASSIGN(dims.family, map.text("family", "custom"));
  PF_TRY(read_outline(map, dims));
  PF_TRY(read_stored(map, dims.stored));
  PF_TRY(read_layers(map, dims));
  CatalogModel out;
  PF_TRY(read_official(map, out));
  PF_TRY(read_aliases(map, out.aliases));
  PF_ASSIGN(out.shape, build_shape(dims, file));
  out.name = out.shape.name;
  if (out.official_total_params > 0) {
    out.shape.declared_total_params = out.official_total_params - out.official_also_counts;
  }
  if (out.official_active_params > 0) {
    out.shape.declared_active_params = out.official_active_params - out.official_also_active;
  }
  return out;
}

Result<ModelShape> parse_catalog_shape(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(CatalogModel model, parse_catalog_model(yaml_text, file));
  return std::move(model.shape);
}

}  // namespace pentafold
