#include "plan/plan_file.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "plan/plan_paths.h"
#include "plan/plan_settings.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

// A table of homes for all experts of the largest published models (23,000) takes half of this; a
// hostile file of this size costs 600 MB and 4 s, nearly all inside yaml-cpp.
constexpr std::size_t kMaxPlanBytes = 2'000'000;

constexpr std::array<std::string_view, 23> kPlanKeys = {"model",
                                                        "replicas",
                                                        "pp",
                                                        "stages",
                                                        "dp",
                                                        "sp",
                                                        "tp",
                                                        "ep",
                                                        "etp",
                                                        "placement",
                                                        "requests",
                                                        "microbatches",
                                                        "prefill_chunk",
                                                        "max_batch",
                                                        "kv_blocks",
                                                        "capacity_factor",
                                                        "overflow",
                                                        "weights",
                                                        "kv",
                                                        "device_memory",
                                                        "precision",
                                                        "device",
                                                        "prefill_pool"};
constexpr std::array<std::string_view, 9> kStageKeys = {
    "layers", "dp", "sp", "tp", "ep", "etp", "placement", "experts", "repeat"};
constexpr std::array<std::string_view, 4> kPrecisionKeys = {"experts", "linear", "other", "kv"};
constexpr std::array<std::string_view, 4> kExpertKeys = {"layer", "expert", "copies", "backups"};
constexpr std::array<std::string_view, 4> kRequestKeys = {"count", "prompt_tokens", "max_tokens",
                                                          "seed"};

// A key whose value is a word that `parse` understands; nothing happens when the key is absent.
template <class Parse, class Target>
Status read_word(const YamlMap& map, std::string_view key, Parse parse, Target& target) {
  if (!map.has(key)) return ok_status();
  PF_ASSIGN(const std::string text, map.text(key, std::nullopt));
  auto parsed = parse(text);
  if (!parsed.ok()) return map.error_at(key, parsed.error().message);
  target = *parsed;
  return ok_status();
}

Result<StageSettings> read_settings(const YamlMap& map) {
  StageSettings settings;
  for (const DegreeKey& key : kDegreeKeys) {
    if (!map.has(key.name)) continue;
    PF_ASSIGN(settings.*key.field, map.integer(key.name, std::nullopt, 1, kMaxDegree));
  }
  PF_TRY(read_word(map, "placement", parse_placement, settings.placement));
  return settings;
}

Result<std::int32_t> read_rank(const YAML::Node& node, const std::string& file) {
  auto rank =
      parse_integer("rank", node.IsScalar() ? node.Scalar() : std::string(), 0, kMaxWorld - 1);
  if (!rank.ok()) {
    return make_error(ErrorCode::InvalidSpec,
                      "a copy lists ranks of its stage: " + rank.error().message, file,
                      yaml_line(node));
  }
  return static_cast<std::int32_t>(*rank);
}

// [[0, 1], [4, 5]]: a list of homes, each a list of ranks, one for each shard of etp; a home of one
// rank may be written as the rank alone.
Status read_copies(const YamlMap& entry, std::string_view key, bool backup,
                   std::vector<ExpertCopy>& copies) {
  PF_ASSIGN(const auto homes, entry.sequence(key));
  for (const YAML::Node& home : homes) {
    ExpertCopy copy;
    copy.backup = backup;
    if (home.IsSequence()) {
      for (const auto& node : home) {
        PF_ASSIGN(const std::int32_t rank, read_rank(node, entry.file()));
        copy.ranks.push_back(rank);
      }
    } else {
      PF_ASSIGN(const std::int32_t rank, read_rank(home, entry.file()));
      copy.ranks.push_back(rank);
    }
    if (copy.ranks.empty()) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("an entry of {} lists no rank; name at least one", key),
                        entry.file(), yaml_line(home));
    }
    copies.push_back(std::move(copy));
  }
  return ok_status();
}

Result<ExplicitPlacement> read_expert(const YAML::Node& node, const std::string& file) {
  PF_ASSIGN(const YamlMap map, YamlMap::of(node, file));
  PF_TRY(map.refuse_unknown(kExpertKeys));
  ExplicitPlacement entry;
  entry.line = map.line();
  PF_ASSIGN(const std::string layer, map.text("layer", "all"));
  if (layer != "all") {
    PF_ASSIGN(entry.layer, map.integer("layer", std::nullopt, 0, kMaxStageLayers - 1));
  }
  PF_ASSIGN(entry.expert, map.integer("expert", std::nullopt, 0, kMaxWorld - 1));
  PF_TRY(read_copies(map, "copies", false, entry.copies));
  if (entry.copies.empty()) return map.error_at("copies", "copies is empty; name a rank");
  if (map.has("backups")) PF_TRY(read_copies(map, "backups", true, entry.copies));
  return entry;
}

Status read_experts(const YamlMap& map, StagePlan& stage) {
  const bool wanted = stage.placement == PlacementStyle::Explicit;
  if (wanted != map.has("experts")) {
    return wanted ? make_error(ErrorCode::InvalidSpec,
                               "placement: explicit needs the key experts in the stage, a list of "
                               "{layer, expert, copies}",
                               map.file(), stage.line)
                  : map.error_at("experts",
                                 "experts is read only with placement: explicit; add "
                                 "that or remove the table");
  }
  if (!wanted) return ok_status();
  PF_ASSIGN(const auto nodes, map.sequence("experts"));
  for (const YAML::Node& node : nodes) {
    PF_ASSIGN(ExplicitPlacement entry, read_expert(node, map.file()));
    stage.explicit_placement.push_back(std::move(entry));
  }
  return ok_status();
}

// One entry of `stages`, appended as often as `repeat` says.
Status read_stage(const YAML::Node& node, const StageSettings& defaults, Plan& plan) {
  PF_ASSIGN(const YamlMap map, YamlMap::of(node, plan.file));
  PF_TRY(map.refuse_unknown(kStageKeys));
  PF_ASSIGN(const StageSettings own, read_settings(map));
  StagePlan stage = make_stage(overlay(own, defaults));
  stage.line = map.line();
  if (!map.has("layers")) {
    return map.error_at("layers",
                        "the stage does not say how many layers it holds; add layers: n, or use "
                        "pp: n in place of stages for an even split");
  }
  PF_ASSIGN(stage.layers, map.integer("layers", std::nullopt, 1, kMaxStageLayers));
  PF_ASSIGN(const std::int64_t repeat, map.integer("repeat", 1, 1, kMaxStages));
  PF_TRY(read_experts(map, stage));
  const auto entries = static_cast<std::int64_t>(stage.explicit_placement.size());
  if (entries * repeat > kMaxExplicitEntries) {
    return map.error_at("repeat", fmt::format("{} entries of experts repeated {} times exceed {}",
                                              entries, repeat, kMaxExplicitEntries));
  }
  if (static_cast<std::int64_t>(plan.stages.size()) + repeat > kMaxStages) {
    return map.error_at("repeat", fmt::format("the plan has more than {} stages", kMaxStages));
  }
  plan.stages.insert(plan.stages.end(), static_cast<std::size_t>(repeat), stage);
  return ok_status();
}

Status read_stages(const YamlMap& map, Plan& plan) {
  PF_ASSIGN(const StageSettings settings, read_settings(map));
  if (map.has("stages") && map.has("pp")) {
    return map.error_at("pp", "pp and stages both say how many stages there are; keep one");
  }
  if (map.has("stages")) {
    PF_ASSIGN(const auto nodes, map.sequence("stages"));
    if (nodes.empty()) return map.error_at("stages", "stages is empty; list at least one stage");
    for (const YAML::Node& node : nodes) PF_TRY(read_stage(node, settings, plan));
    return ok_status();
  }
  PF_ASSIGN(const std::int64_t pp, map.integer("pp", 1, 1, kMaxStages));
  StagePlan stage = make_stage(settings);
  stage.line = map.line(map.has("pp") ? "pp" : "dp");
  if (stage.placement == PlacementStyle::Explicit) {
    return map.error_at("placement",
                        "placement: explicit needs a table of experts for each stage; list the "
                        "stages under stages");
  }
  plan.stages.assign(static_cast<std::size_t>(pp), stage);
  return ok_status();
}

Status read_requests(const YamlMap& plan_map, SyntheticRequests& requests) {
  if (!plan_map.has("requests")) return ok_status();
  PF_ASSIGN(const YamlMap map, plan_map.map("requests"));
  PF_TRY(map.refuse_unknown(kRequestKeys));
  PF_ASSIGN(requests.requests, map.integer("count", std::nullopt, 1, 1'000'000));
  PF_ASSIGN(requests.prompt_tokens, map.integer("prompt_tokens", std::nullopt, 1, 10'000'000));
  PF_ASSIGN(requests.max_tokens, map.integer("max_tokens", std::nullopt, 1, 10'000'000));
  PF_ASSIGN(const std::int64_t seed, map.integer("seed", 0, 0));
  requests.seed = static_cast<std::uint64_t>(seed);
  const std::int64_t tokens = requests.requests * (requests.prompt_tokens + requests.max_tokens);
  if (tokens > kMaxSyntheticTokens) {
    return plan_map.error_at("requests", fmt::format("requests ask for {} tokens in all, above {}",
                                                     tokens, kMaxSyntheticTokens));
  }
  return ok_status();
}

Status read_run_settings(const YamlMap& map, Plan& plan) {
  for (const IntegerKey& key : kIntegerKeys) {
    PF_ASSIGN(plan.*key.field, map.integer(key.name, plan.*key.field, key.low, key.high));
  }
  PF_TRY(read_word(map, "weights", parse_weights, plan.weights));
  PF_TRY(read_word(map, "kv", parse_kv, plan.kv));
  PF_TRY(read_word(map, "overflow", parse_overflow, plan.overflow));
  PF_TRY(read_word(map, "capacity_factor", parse_capacity_factor, plan.capacity_factor));
  PF_TRY(read_word(map, "device_memory", parse_byte_size, plan.device_memory_bytes));
  return read_requests(map, plan.requests);
}

// One word for all of it, or a mapping that names what differs from bf16.
Status read_precision(const YamlMap& map, Plan& plan) {
  if (!map.has("precision")) return ok_status();
  if (map.has("weights")) {
    return map.error_at("precision",
                        "weights and precision both say how weights are stored; keep one");
  }
  if (map.has("kv")) {
    return map.error_at("precision", "kv and precision both say how the cache is stored; keep one");
  }
  PF_ASSIGN(const YAML::Node node, map.node("precision"));
  if (!node.IsMap()) return read_word(map, "precision", parse_precision, plan.precision);
  PF_ASSIGN(const YamlMap given, map.map("precision"));
  PF_TRY(given.refuse_unknown(kPrecisionKeys));
  Precision precision;
  PF_TRY(read_word(given, "experts", parse_number_format, precision.experts));
  PF_TRY(read_word(given, "linear", parse_number_format, precision.linear));
  PF_TRY(read_word(given, "other", parse_number_format, precision.other));
  PF_TRY(read_word(given, "kv", parse_number_format, precision.kv));
  plan.precision = precision;
  return ok_status();
}

Status read_target(const YamlMap& map, Plan& plan) {
  PF_TRY(read_precision(map, plan));
  PF_TRY(read_word(map, "device", parse_device_name, plan.device));
  if (!map.has("prefill_pool")) return ok_status();
  PF_ASSIGN(const std::string pool, map.text("prefill_pool", std::nullopt));
  if (pool.empty() || pool.find('\0') != std::string::npos) {
    return map.error_at("prefill_pool", "prefill_pool must be the path of a plan file");
  }
  plan.prefill_pool = resolve_path(pool, plan.file);
  return ok_status();
}

Status read_model(const YamlMap& map, Plan& plan) {
  if (!map.has("model")) return ok_status();
  PF_ASSIGN(const std::string model, map.text("model", std::nullopt));
  if (model.empty() || model.find('\0') != std::string::npos) {
    return map.error_at("model",
                        "model must be a model folder, a shape file or a name of the catalog");
  }
  plan.model = resolve_model(model, plan.file);
  return ok_status();
}

}  // namespace

Result<Plan> parse_plan(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node root, load_yaml(yaml_text, file, kMaxPlanBytes));
  PF_ASSIGN(const YamlMap map, YamlMap::of(root, file));
  PF_TRY(map.refuse_unknown(kPlanKeys));
  Plan plan;
  plan.file = file;
  PF_TRY(read_model(map, plan));
  PF_TRY(read_run_settings(map, plan));
  PF_TRY(read_target(map, plan));
  PF_TRY(read_stages(map, plan));
  PF_TRY(check_extent(plan));
  return plan;
}

Result<Plan> read_plan(const std::string& path) {
  std::error_code refused;
  if (std::filesystem::is_directory(path, refused)) {
    return make_error(ErrorCode::Io, "is a folder; give the plan file inside it", path);
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return make_error(ErrorCode::Io, "cannot be opened as a plan; check path and permissions",
                      path);
  }
  // One byte more than the limit is enough to be refused by it, whatever the file's size.
  std::string text(kMaxPlanBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return make_error(ErrorCode::Io, "cannot be read", path);
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return parse_plan(text, path);
}

Status resolve_layers(Plan& plan, std::int64_t model_layers) {
  std::int64_t given = 0;
  std::int64_t open = 0;
  for (const StagePlan& stage : plan.stages) {
    given += stage.layers;
    open += stage.layers == 0 ? 1 : 0;
  }
  const int line = plan.stages.empty() ? 0 : plan.stages.front().line;
  const std::int64_t left = model_layers - given;
  if (open == 0 && left != 0) {
    return make_error(ErrorCode::InfeasiblePlan,
                      fmt::format("the stages hold {} layers, but the model has {}; make the "
                                  "layers of the stages add up to that",
                                  given, model_layers),
                      plan.file, line);
  }
  if (left < open) {
    return make_error(ErrorCode::InfeasiblePlan,
                      fmt::format("{} layers cannot fill {} stages, for each needs one; use fewer "
                                  "stages (pp)",
                                  model_layers, plan.stages.size()),
                      plan.file, line);
  }
  std::int64_t index = 0;
  for (StagePlan& stage : plan.stages) {
    if (stage.layers != 0) continue;
    stage.layers = left / open + (index < left % open ? 1 : 0);
    ++index;
  }
  return ok_status();
}

}  // namespace pentafold
