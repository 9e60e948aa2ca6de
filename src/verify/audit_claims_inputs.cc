#include "verify/audit_claims_inputs.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <filesystem>

#include "base/quote.h"
#include "spec/load_model.h"

namespace pentafold {
namespace {

constexpr double kMaxWidth = 1 << 18;
constexpr double kMaxDegree = 65536;
constexpr double kMaxAmount = 1e30;

struct InputRule {
  InputName name;
  bool whole;
  double low;
  double high;
};

constexpr std::array kRules = {
    InputRule{{"layers", "model"}, true, 1, 1024},
    InputRule{{"d", "model"}, true, 1, kMaxWidth},
    InputRule{{"heads", "model"}, true, 1, 4096},
    InputRule{{"kv_heads", "model"}, true, 1, 4096},
    InputRule{{"head_dim", "model"}, true, 1, 4096},
    InputRule{{"experts", "model"}, true, 0, 4096},
    InputRule{{"top_k", "model"}, true, 0, 4096},
    InputRule{{"expert_hidden", "model"}, true, 0, kMaxWidth},
    InputRule{{"dense_hidden", "model"}, true, 0, kMaxWidth},
    InputRule{{"shared_hidden", "model"}, true, 0, kMaxWidth},
    InputRule{{"matrices", "model"}, true, 2, 3},
    InputRule{{"vocab", "model"}, true, 1, 1 << 24},
    InputRule{{"bytes_per_param", "model"}, false, 0.1, 16},
    InputRule{{"bytes_per_kv", "model"}, false, 0.1, 16},
    InputRule{{"declared_total_params", "model"}, false, 1, kMaxAmount},
    InputRule{{"declared_active_params", "model"}, false, 1, kMaxAmount},
    InputRule{{"gpu_flops", "hardware"}, false, 1, kMaxAmount},
    InputRule{{"mfu", "hardware"}, false, 1e-6, 1},
    InputRule{{"memory", "hardware"}, false, 1, kMaxAmount},
    InputRule{{"bandwidth", "hardware"}, false, 1, kMaxAmount},
    InputRule{{"bandwidth_utilisation", "hardware"}, false, 1e-6, 1},
    InputRule{{"link_bandwidth", "hardware"}, false, 1, kMaxAmount},
    InputRule{{"gpus_available", "hardware"}, true, 1, 1e9},
    InputRule{{"gpus_per_node", "hardware"}, true, 1, 1e6},
    InputRule{{"batch", "workload"}, true, 1, 1e9},
    InputRule{{"min_tokens", "workload"}, true, 1, 1e9},
    InputRule{{"max_tokens", "workload"}, true, 1, 1e9},
    InputRule{{"pp", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"tp", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"sp", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"dp", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"ep", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"etp", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"replicas", "strategy"}, true, 1, kMaxDegree},
    InputRule{{"gpus", "strategy"}, true, 1, 1e9},
    InputRule{{"microbatches", "strategy"}, true, 1, 1e6},
    InputRule{{"ep_spans_stages", "strategy"}, true, 0, 1},
};

const InputRule* rule_of(std::string_view name) {
  for (const InputRule& rule : kRules) {
    if (rule.name.name == name) return &rule;
  }
  return nullptr;
}

Result<double> read_value(const YamlMap& map, const InputRule& rule) {
  const std::string key(rule.name.name);
  PF_ASSIGN(const std::string text, map.text(key, std::nullopt));
  const auto stated = parse_stated(text == "true" ? "1" : text == "false" ? "0" : text);
  if (!stated.ok()) return map.error_at(key, fmt::format("{}: {}", key, stated.error().message));
  const double value = stated->low;
  if (value < rule.low || value > rule.high || (rule.whole && value != std::floor(value))) {
    return map.error_at(key, fmt::format("{} must be {} from {} to {}, not {}", key,
                                         rule.whole ? "a whole number" : "a number", rule.low,
                                         rule.high, quote_text(text)));
  }
  return value;
}

Status read_model_file(const YamlMap& map, AuditClaims& out) {
  PF_ASSIGN(const std::string name, map.text("model", std::nullopt));
  const auto path = std::filesystem::path(out.file).parent_path() / name;
  PF_ASSIGN(const ModelInput input, load_model(path.string()));
  const ModelSpec& m = input.model;
  const auto put = [&](const char* key, std::int64_t value) {
    if (value > 0) out.inputs[key] = static_cast<double>(value);
  };
  put("layers", m.num_layers());
  put("d", m.d);
  put("heads", m.heads);
  put("kv_heads", m.kv_heads);
  put("head_dim", m.head_dim);
  put("experts", m.experts);
  put("top_k", m.top_k);
  put("expert_hidden", m.expert_hidden);
  put("dense_hidden", m.dense_hidden);
  put("shared_hidden", m.shared_hidden);
  put("matrices", m.gated_mlp ? 3 : 2);
  put("vocab", m.vocab);
  put("bytes_per_param", static_cast<std::int64_t>(size_of(m.dtype)));
  if (m.declared_total_params) out.inputs["declared_total_params"] = *m.declared_total_params;
  return ok_status();
}

Status read_section(const YamlMap& map, std::string_view section, AuditClaims& out) {
  if (!map.has(section)) return ok_status();
  PF_ASSIGN(const YamlMap values, map.map(section));
  std::vector<std::string_view> known;
  for (const InputRule& rule : kRules) {
    if (rule.name.section == section) known.push_back(rule.name.name);
  }
  PF_TRY(values.refuse_unknown(known));
  for (const std::string& key : values.keys()) {
    PF_ASSIGN(out.inputs[key], read_value(values, *rule_of(key)));
  }
  return ok_status();
}

// "assumed: {vocab: 1..256000}": the input is between these.
Status read_assumed(const YamlMap& map, AuditClaims& out) {
  if (!map.has("assumed")) return ok_status();
  PF_ASSIGN(const YamlMap ranges, map.map("assumed"));
  constexpr std::size_t kMostRanges = 4;
  if (ranges.keys().size() > kMostRanges) {
    return map.error_at("assumed", "at most four inputs may be assumed; state the others");
  }
  for (const std::string& key : ranges.keys()) {
    const InputRule* rule = rule_of(key);
    if (rule == nullptr) {
      return ranges.error_at(key, fmt::format("{} is not an input (docs/claims-format.md lists "
                                              "them)",
                                              quote_text(key)));
    }
    PF_ASSIGN(const std::string text, ranges.text(key, std::nullopt));
    const auto range = parse_stated(text);
    if (!range.ok()) return ranges.error_at(key, range.error().message);
    if (range->low < rule->low || range->high > rule->high) {
      return ranges.error_at(
          key, fmt::format("{} must stay within {} to {}", key, rule->low, rule->high));
    }
    out.assumed.push_back({key, range->low, range->high});
    out.inputs.try_emplace(key, range->low);
  }
  return ok_status();
}

Status read_requirements(const YamlMap& map, AuditClaims& out) {
  if (!map.has("requirements")) return ok_status();
  PF_ASSIGN(const YamlMap values, map.map("requirements"));
  for (const std::string& key : values.keys()) {
    PF_ASSIGN(const std::string text, values.text(key, std::nullopt));
    auto limit = parse_stated(text);
    if (!limit.ok()) return values.error_at(key, limit.error().message);
    if (key == "all" || limit->is_range()) {
      return values.error_at(key, fmt::format("requirement {} must be one limit such as \"<= 10 "
                                              "s\", and not be called all",
                                              quote_text(key)));
    }
    out.requirements.emplace(key, std::move(limit).value());
  }
  return ok_status();
}

// Inputs that follow from others, or contradict them.
Status complete(const YamlMap& map, AuditClaims& out) {
  auto& in = out.inputs;
  if (!in.contains("head_dim") && in.contains("d") && in.contains("heads") &&
      std::fmod(in["d"], in["heads"]) == 0) {
    in["head_dim"] = in["d"] / in["heads"];
  }
  if (in.contains("heads")) in.try_emplace("kv_heads", in["heads"]);
  if (in.contains("bytes_per_param")) in.try_emplace("bytes_per_kv", in["bytes_per_param"]);
  if (in.contains("top_k") && in["top_k"] > in["experts"]) {
    return map.error_at(
        "model", fmt::format("top_k = {} is more than the {} experts", in["top_k"], in["experts"]));
  }
  if (in.contains("min_tokens") && in.contains("max_tokens") &&
      in["min_tokens"] > in["max_tokens"]) {
    return map.error_at("workload", "min_tokens is more than max_tokens");
  }
  return ok_status();
}

}  // namespace

std::vector<InputName> input_names() {
  std::vector<InputName> out;
  for (const InputRule& rule : kRules) out.push_back(rule.name);
  return out;
}

Status read_inputs(const YamlMap& map, AuditClaims& out) {
  if (map.has("model")) {
    PF_ASSIGN(const YAML::Node model, map.node("model"));
    if (model.IsScalar()) {
      PF_TRY(read_model_file(map, out));
    } else {
      PF_TRY(read_section(map, "model", out));
    }
  }
  for (const char* section : {"hardware", "workload", "strategy"}) {
    PF_TRY(read_section(map, section, out));
  }
  PF_TRY(read_assumed(map, out));
  PF_TRY(read_requirements(map, out));
  return complete(map, out);
}

}  // namespace pentafold
