// Workload files (YAML) -> Workload, and what cannot be meant; docs/workload-format.md.
#include "spec/workload.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <string_view>

#include "base/text_file.h"
#include "spec/quantity.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
constexpr std::int64_t kMaxBatch = std::int64_t{1} << 40;
constexpr double kMaxRate = 1e12;
constexpr double kMaxSkew = 10;  // a Zipf exponent; beyond it all load is on one expert

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

Status check_count(const char* name, std::int64_t value, std::int64_t max) {
  if (value >= 1 && value <= max) return ok_status();
  return refused(fmt::format("{} = {} must be 1 to {}", name, value, max));
}

// nan fails every comparison, and so is refused.
Status check_positive(const char* name, const std::optional<double>& value) {
  if (!value || (*value > 0 && std::isfinite(*value))) return ok_status();
  return refused(fmt::format("{} = {} must be a number above 0", name, *value));
}

Status check_workload(const Workload& workload) {
  PF_TRY(check_count("isl", workload.isl, kMaxTokens));
  PF_TRY(check_count("osl", workload.osl, kMaxTokens));
  if (workload.batch) PF_TRY(check_count("batch", *workload.batch, kMaxBatch));
  PF_TRY(check_positive("rate", workload.rate_per_s));
  if (workload.rate_per_s.value_or(0) > kMaxRate) {
    return refused(fmt::format("rate = {}/s must be at most {}/s", *workload.rate_per_s, kMaxRate));
  }
  if (workload.batch && workload.rate_per_s) {
    return refused(
        "batch and rate are both given, but one follows from the other; keep batch (requests at "
        "once) or rate (requests arriving)");
  }
  if (!(workload.skew >= 0 && workload.skew <= kMaxSkew)) {
    return refused(fmt::format("skew = {} must be 0 (even load) to {}", workload.skew, kMaxSkew));
  }
  if (workload.skew > 0 && workload.expert_load) {
    return refused(
        "skew and expert_load are both given, but each says how uneven the experts' load "
        "is; keep one");
  }
  return ok_status();
}

Status check_targets(const Targets& targets) {
  PF_TRY(check_positive("ttft", targets.ttft_s));
  PF_TRY(check_positive("tpot", targets.tpot_s));
  PF_TRY(check_positive("tokens_per_s_per_gpu", targets.tokens_per_s_per_gpu));
  PF_TRY(check_positive("prefill_tokens_per_s_per_gpu", targets.prefill_tokens_per_s_per_gpu));
  PF_TRY(check_positive("tokens_per_s", targets.tokens_per_s));
  PF_TRY(check_positive("dollars_per_mtok", targets.dollars_per_mtok));
  if (targets.memory_fraction > 0 && targets.memory_fraction <= 1) return ok_status();
  return refused(
      fmt::format("memory_fraction = {} must be above 0 and at most 1", targets.memory_fraction));
}

}  // namespace

Status validate(const Workload& workload, const Targets& targets) {
  PF_TRY(check_workload(workload));
  PF_TRY(check_targets(targets));
  if (workload.osl == 1 && (targets.tpot_s || targets.objective == Objective::Tpot)) {
    return refused(
        "osl = 1 and a tpot target contradict each other: one output token comes with the prefill, "
        "and no time per further token exists; drop tpot or raise osl");
  }
  if (workload.rate_per_s && targets.tokens_per_s) {
    const double arriving = *workload.rate_per_s * static_cast<double>(workload.osl);
    if (*targets.tokens_per_s > arriving) {
      return refused(fmt::format(
          "tokens_per_s = {} and rate contradict each other: {}/s requests of {} output tokens are "
          "only {} tokens/s; lower the target or raise the rate",
          *targets.tokens_per_s, *workload.rate_per_s, workload.osl, arriving));
    }
  }
  return ok_status();
}

Result<Workload> parse_workload(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node root, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(root, file));
  constexpr std::array<std::string_view, 6> kKeys = {"isl",  "osl",  "batch",
                                                     "rate", "skew", "expert_load"};
  PF_TRY(map.refuse_unknown(kKeys));
  Workload out;
  PF_ASSIGN(out.isl, map.integer("isl", std::nullopt, 1, kMaxTokens));
  PF_ASSIGN(out.osl, map.integer("osl", std::nullopt, 1, kMaxTokens));
  PF_ASSIGN(out.skew, map.number("skew", 0, 0, kMaxSkew));
  if (map.has("batch")) {
    PF_ASSIGN(out.batch, map.integer("batch", std::nullopt, 1, kMaxBatch));
  }
  if (map.has("rate")) {
    PF_ASSIGN(const std::string text, map.text("rate", std::nullopt));
    const auto rate = parse_rate(text, "rate");
    if (!rate.ok()) return map.error_at("rate", rate.error().message);
    out.rate_per_s = *rate;
  }
  if (map.has("expert_load")) {
    PF_ASSIGN(const std::string counts, map.text("expert_load", std::nullopt));
    auto histogram = load_expert_histogram(
        (std::filesystem::path(file).parent_path() / counts).lexically_normal().string());
    if (!histogram.ok()) {
      return map.error_at("expert_load", "expert_load: " + histogram.error().to_string());
    }
    out.expert_load = std::make_shared<const ExpertHistogram>(std::move(histogram).value());
  }
  const Status possible = check_workload(out);
  if (!possible.ok()) {
    return map.error_at(out.expert_load ? "expert_load" : "rate", possible.error().message);
  }
  return out;
}

Result<Workload> load_workload(const std::string& path) {
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxYamlBytes));
  return parse_workload(text, path);
}

}  // namespace pentafold
