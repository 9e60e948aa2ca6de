#include "cli/models.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/units.h"
#include "cli/verbs.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

double real(std::int64_t value) {
  return static_cast<double>(value);
}

std::string heads_text(const ModelShape& model) {
  for (const LayerShape& kind : model.kinds) {
    const MixerShape& m = kind.mixer;
    if (m.kind == MixerKind::Latent) return fmt::format("{}/latent", m.heads);
    if (m.kind == MixerKind::Attention) return fmt::format("{}/{}", m.heads, m.kv_heads);
  }
  return "-";
}

std::string experts_text(const ModelShape& model) {
  return model.experts() == 0 ? "-" : fmt::format("{}/{}", model.experts(), model.top_k());
}

std::string difference_text(const CatalogModel& m) {
  if (m.official_total_params == 0) return "-";
  return fmt::format("{:+.2f} %", (m.comparable_total() / m.official_total_params - 1) * 100);
}

nlohmann::json summary_json(const CatalogModel& m) {
  const ModelShape& s = m.shape;
  const ParamCounts counts = count_params(s);
  nlohmann::json out = {{"name", m.name},
                        {"family", s.family},
                        {"layers", s.num_layers()},
                        {"d", s.d},
                        {"vocab", s.vocab},
                        {"experts", s.experts()},
                        {"top_k", s.top_k()},
                        {"params_total", counts.total},
                        {"params_active", counts.active},
                        {"stored", to_string(s.stored)},
                        {"weight_bytes", weight_bytes(s, s.stored)},
                        {"kv_bytes_per_token", kv_bytes_per_token(s, s.stored.kv)},
                        {"not_counted", s.not_counted}};
  if (m.official_total_params > 0) {
    out["official_total_params"] = m.official_total_params;
    out["official_active_params"] = m.official_active_params;
    out["comparable_total_params"] = m.comparable_total();
    out["comparable_active_params"] = m.comparable_active();
    out["source"] = m.source;
  }
  if (!m.official_note.empty()) out["official_note"] = m.official_note;
  return out;
}

nlohmann::json layers_json(const ModelShape& model) {
  nlohmann::json kinds = nlohmann::json::array();
  for (const LayerShape& kind : model.kinds) {
    nlohmann::json weights = nlohmann::json::array();
    for (const WeightGroup& g : kind.weights) {
      weights.push_back({{"name", g.name}, {"params", g.params}, {"part", to_string(g.part)}});
    }
    kinds.push_back({{"mixer", to_string(kind.mixer.kind)},
                     {"heads", kind.mixer.heads},
                     {"kv_heads", kind.mixer.kv_heads},
                     {"window", kind.mixer.window},
                     {"kv_values", kind.mixer.kv_values},
                     {"state_values", kind.mixer.state_values},
                     {"weights", std::move(weights)}});
  }
  return kinds;
}

void print_json(const nlohmann::json& value) {
  fmt::print("{}\n", value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_table(const std::vector<CatalogModel>& models) {
  constexpr const char* kRow =
      "{:<24} {:<19} {:>6} {:>6} {:>10} {:>8} {:>8} {:>8} {:<19} {:>9} "
      "{:>9} {:>8} {:>8}\n";
  fmt::print(fmt::runtime(kRow), "model", "family", "layers", "d", "heads/kv", "experts", "total",
             "active", "stored", "weights", "KV/token", "official", "differs");
  for (const CatalogModel& m : models) {
    const ModelShape& s = m.shape;
    const ParamCounts counts = count_params(s);
    fmt::print(fmt::runtime(kRow), m.name, s.family, s.num_layers(), s.d, heads_text(s),
               experts_text(s), format_count(real(counts.total)), format_count(real(counts.active)),
               to_string(s.stored), format_bytes(weight_bytes(s, s.stored)),
               format_bytes(kv_bytes_per_token(s, s.stored.kv)),
               m.official_total_params > 0 ? format_count(m.official_total_params) : "-",
               difference_text(m));
  }
}

std::string mixer_text(const MixerShape& m) {
  std::string out = to_string(m.kind);
  if (m.kind != MixerKind::None) out += fmt::format(", {} heads", m.heads);
  if (m.kind == MixerKind::Attention) out += fmt::format(", {} KV heads", m.kv_heads);
  if (m.window > 0) out += fmt::format(", sees {} keys", m.window);
  if (m.selected > 0) out += fmt::format(", attends to {} selected keys", m.selected);
  if (m.kv_values > 0) out += fmt::format(", caches {} values a token", m.kv_values);
  if (m.state_values > 0) out += fmt::format(", keeps {} values a sequence", m.state_values);
  return out;
}

void print_group(const WeightGroup& group) {
  fmt::print("    {:<26} {:<14} {:>10}\n", group.name, to_string(group.part),
             format_count(real(group.params)));
}

void print_official(const CatalogModel& m) {
  if (m.official_total_params == 0) return;
  fmt::print("  official      {} total, {} active; {}\n", format_count(m.official_total_params),
             format_count(m.official_active_params), m.source);
  fmt::print("                counted the same way: {} ({}), {}\n",
             format_count(m.comparable_total()), difference_text(m),
             format_count(m.comparable_active()));
  if (!m.official_note.empty()) fmt::print("                {}\n", m.official_note);
}

void print_details(const CatalogModel& m) {
  const ModelShape& s = m.shape;
  const ParamCounts counts = count_params(s);
  fmt::print("{} ({}): {} layers, d {}, vocabulary {}\n", m.name, s.family, s.num_layers(), s.d,
             s.vocab);
  fmt::print("  parameters    {} total, {} active for one token\n",
             format_count(real(counts.total)), format_count(real(counts.active)));
  print_official(m);
  fmt::print("  stored as     {}: {}\n", to_string(s.stored),
             format_bytes(weight_bytes(s, s.stored)));
  fmt::print("  KV cache      {} a token; {} for a sequence of 32768\n",
             format_bytes(kv_bytes_per_token(s, s.stored.kv)),
             format_bytes(kv_bytes_of_sequence(s, s.stored.kv, 32768)));
  for (const std::string& note : s.not_counted) fmt::print("  not counted   {}\n", note);
  std::map<std::int32_t, std::int64_t> times;
  for (const std::int32_t kind : s.layers) ++times[kind];
  for (const auto& [kind, count] : times) {
    const LayerShape& layer = s.kinds[static_cast<std::size_t>(kind)];
    fmt::print("  {} layer{}: {}\n", count, count == 1 ? "" : "s", mixer_text(layer.mixer));
    for (const WeightGroup& group : layer.weights) print_group(group);
  }
  fmt::print("  outside the layers\n");
  for (const WeightGroup& group : s.outer) print_group(group);
}

// A name of the catalog comes with its official counts; anything else is a shape alone.
Result<CatalogModel> find_model(const std::string& name) {
  PF_ASSIGN(ShapeInput input, load_shape(name));
  for (CatalogModel& model : catalog_models()) {
    if (model.name == name) return std::move(model);
  }
  CatalogModel out;
  out.name = input.model.name;
  out.shape = std::move(input.model);
  return out;
}

}  // namespace

int models_verb(const ModelsOptions& options) {
  if (options.name.empty()) {
    const auto models = catalog_models();
    if (!options.json) {
      print_table(models);
      return 0;
    }
    nlohmann::json all = nlohmann::json::array();
    for (const CatalogModel& model : models) all.push_back(summary_json(model));
    print_json(all);
    return 0;
  }
  const auto model = find_model(options.name);
  if (!model.ok()) return report_error(model.error());
  if (options.json) {
    nlohmann::json out = summary_json(*model);
    out["layer_kinds"] = layers_json(model->shape);
    out["layer_kind_of"] = model->shape.layers;
    print_json(out);
  } else {
    print_details(*model);
  }
  return 0;
}

}  // namespace pentafold
