#include "predict/engine_profile.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/quote.h"
#include "spec/cluster_parts.h"
#include "spec/embedded.h"
#include "spec/quantity.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

constexpr std::string_view kFile = "specs/engines.yaml";
constexpr double kMostSeconds = 10;
constexpr double kMostFactor = 100;

constexpr std::array<ProfileConstant, 14> kConstants = {{
    {"step", &EngineProfile::step_s, true, "scheduling, sampling and launch of a step"},
    {"layer", &EngineProfile::layer_s, true, "launches and small kernels of a layer"},
    {"request", &EngineProfile::request_s, true, "each sequence in a step"},
    {"prompt_step", &EngineProfile::prompt_step_s, true, "beside, of a step with prompts"},
    {"prompt_layer", &EngineProfile::prompt_layer_s, true, "beside, of a layer in such a step"},
    {"expert_layer", &EngineProfile::expert_layer_s, true, "beside, of a layer with experts"},
    {"admission", &EngineProfile::admission_s, true, "a request's way to the scheduler"},
    {"prompt_token", &EngineProfile::prompt_token_s, true, "each prompt token on that way"},
    {"weights", &EngineProfile::weights, false, "times what products of dense weights take alone"},
    {"experts", &EngineProfile::experts, false, "times what experts' products take alone"},
    {"fp4", &EngineProfile::fp4, false, "times what products of 4-bit floats take, beside"},
    {"attention", &EngineProfile::attention, false, "times what attention takes alone"},
    {"links", &EngineProfile::links, false, "times what collectives take alone"},
    {"hidden_exchange", &EngineProfile::hidden_exchange, false,
     "part of dispatch and combine that overlaps with computing"},
}};

// Whole numbers of a profile.
struct ProfileCount {
  std::string_view key;
  std::int64_t EngineProfile::* value;
  std::int64_t least;
};
constexpr std::array<ProfileCount, 5> kCounts = {{
    {"step_tokens", &EngineProfile::step_tokens, 1},
    {"max_sequences", &EngineProfile::max_sequences, 1},
    {"poll_steps", &EngineProfile::poll_steps, 1},
    {"poll_steps_few", &EngineProfile::poll_steps_few, 1},
    {"balance_steps", &EngineProfile::balance_steps, 0},
}};
constexpr std::int64_t kMostCount = 1 << 24;

std::vector<std::string_view> keys_with(std::vector<std::string_view> keys) {
  for (const ProfileCount& count : kCounts) keys.push_back(count.key);
  for (const ProfileConstant& constant : profile_constants()) keys.push_back(constant.key);
  return keys;
}

Status read_constants(const YamlMap& map, EngineProfile& out) {
  for (const ProfileCount& count : kCounts) {
    PF_ASSIGN(out.*count.value, map.integer(count.key, out.*count.value, count.least, kMostCount));
  }
  for (const ProfileConstant& constant : profile_constants()) {
    if (!map.has(constant.key)) continue;
    if (!constant.seconds) {
      PF_ASSIGN(out.*constant.value, map.number(constant.key, std::nullopt, 0, kMostFactor));
      continue;
    }
    PF_ASSIGN(const std::string text, map.text(constant.key, std::nullopt));
    const auto seconds = parse_seconds(text, std::string(constant.key));
    if (!seconds.ok()) return map.error_at(constant.key, seconds.error().message);
    if (*seconds > kMostSeconds) {
      return map.error_at(constant.key, fmt::format("{} = {} is more than {} s", constant.key,
                                                    quote_text(text), kMostSeconds));
    }
    out.*constant.value = *seconds;
  }
  return ok_status();
}

Result<std::vector<std::string>> words(const YamlMap& map, std::string_view key) {
  std::vector<std::string> out;
  if (!map.has(key)) return out;
  PF_ASSIGN(const std::vector<YAML::Node> nodes, map.sequence(key));
  for (const YAML::Node& node : nodes) {
    if (!node.IsScalar()) return map.error_at(key, fmt::format("{} is a list of names", key));
    out.push_back(node.Scalar());
  }
  return out;
}

// "2025-11"
bool is_month(std::string_view text) {
  const auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9'; };
  constexpr std::size_t kDash = 4;
  if (text.size() != 7 || text[kDash] != '-') return false;
  for (const std::size_t i : {0, 1, 2, 3, 5, 6}) {
    if (!digit(i)) return false;
  }
  const std::string_view number = text.substr(kDash + 1);
  return number >= "01" && number <= "12";
}

// Whether an entry under `on` holds for what ran in `month`.
Result<bool> holds_in(const YamlMap& entry, const std::string& month) {
  if (!entry.has("before")) return true;
  PF_ASSIGN(const std::string before, entry.text("before", std::nullopt));
  if (!is_month(before)) {
    return entry.error_at("before", fmt::format("before = {} is no month: write it like 2025-11",
                                                quote_text(before)));
  }
  return !month.empty() && month < before;
}

// Constants of the entries under `on` whose lists name the device, later ones over earlier ones.
Status read_device(const YamlMap& map, const std::string& gpu, const std::string& month,
                   EngineProfile& out) {
  if (!map.has("on")) return ok_status();
  PF_ASSIGN(const std::vector<YAML::Node> entries, map.sequence("on"));
  for (const YAML::Node& node : entries) {
    PF_ASSIGN(const YamlMap entry, YamlMap::of(node, map.file()));
    PF_TRY(entry.refuse_unknown(keys_with({"gpus", "before"})));
    PF_ASSIGN(const std::vector<std::string> gpus, words(entry, "gpus"));
    PF_ASSIGN(const bool holds, holds_in(entry, month));
    if (holds && std::ranges::find(gpus, gpu) != gpus.end()) PF_TRY(read_constants(entry, out));
  }
  return ok_status();
}

Result<EngineProfile> read_profile(const YamlMap& map, const std::string& gpu,
                                   const std::string& month) {
  constexpr std::array<std::string_view, 2> kExchanges = {"routed", "gathered"};
  PF_TRY(map.refuse_unknown(keys_with({"name", "aliases", "mixed_steps", "exchange", "on"})));
  EngineProfile out;
  PF_ASSIGN(out.name, read_name(map, std::nullopt));
  PF_ASSIGN(out.mixed_steps, map.boolean("mixed_steps", out.mixed_steps));
  PF_ASSIGN(const std::size_t exchange, map.choice("exchange", kExchanges, 0));
  out.exchange = exchange == 0 ? RowExchange::Routed : RowExchange::Gathered;
  PF_TRY(read_constants(map, out));
  PF_TRY(read_device(map, gpu, month, out));
  return out;
}

Result<std::vector<YamlMap>> entries(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node root, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap top, YamlMap::of(root, file));
  constexpr std::array<std::string_view, 1> kTop = {"engines"};
  PF_TRY(top.refuse_unknown(kTop));
  PF_ASSIGN(const std::vector<YAML::Node> nodes, top.sequence("engines"));
  std::vector<YamlMap> out;
  for (const YAML::Node& node : nodes) {
    PF_ASSIGN(YamlMap map, YamlMap::of(node, file));
    out.push_back(std::move(map));
  }
  return out;
}

std::string catalog_text() {
  for (const EmbeddedFile& file : embedded_files()) {
    if (file.path == kFile) return std::string(file.text);
  }
  CHECK(false, "specs/engines.yaml is built in");
}

}  // namespace

std::span<const ProfileConstant> profile_constants() {
  return kConstants;
}

Result<EngineProfile> parse_engine(const std::string& yaml_text, const std::string& file,
                                   const std::string& name_at_month, const std::string& gpu) {
  const std::size_t at = name_at_month.find('@');
  const std::string name = name_at_month.substr(0, at);
  const std::string month = at == std::string::npos ? "" : name_at_month.substr(at + 1);
  if (at != std::string::npos && !is_month(month)) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("engine {}: {} is no month: write it like {}@2025-11",
                                  quote_text(name_at_month), quote_text(month), name));
  }
  PF_ASSIGN(const std::vector<YamlMap> maps, entries(yaml_text, file));
  std::vector<std::string> known;
  for (const YamlMap& map : maps) {
    PF_ASSIGN(const std::string own, read_name(map, std::nullopt));
    PF_ASSIGN(const std::vector<std::string> aliases, words(map, "aliases"));
    if (own == name || std::ranges::find(aliases, name) != aliases.end()) {
      return read_profile(map, gpu, month);
    }
    known.push_back(own);
  }
  return make_error(ErrorCode::InvalidSpec, fmt::format("unknown engine {}; {}", quote_text(name),
                                                        meant_or_known(name, known)));
}

Result<EngineProfile> find_engine(const std::string& name, const std::string& gpu) {
  return parse_engine(catalog_text(), std::string(kFile), name, gpu);
}

std::vector<std::string> engine_names() {
  std::vector<std::string> out;
  const auto maps = entries(catalog_text(), std::string(kFile));
  CHECK(maps.ok(), "specs/engines.yaml can be read");
  for (const YamlMap& map : *maps) {
    const auto name = read_name(map, std::nullopt);
    CHECK(name.ok());
    out.push_back(*name);
  }
  return out;
}

}  // namespace pentafold
