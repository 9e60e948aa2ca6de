#include "spec/hf_rope.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;

Result<std::optional<double>> optional_number(const JsonMap& map, const char* key) {
  if (!map.has(key)) return std::optional<double>();
  PF_ASSIGN(const double value, map.number(key, std::nullopt));
  return std::optional<double>(value);
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

Result<double> yarn_attention_factor(const JsonMap& rope, double factor) {
  PF_ASSIGN(const auto given, optional_number(rope, "attention_factor"));
  if (given) return *given;
  PF_ASSIGN(const double mscale, rope.number("mscale", 0.0));
  PF_ASSIGN(const double mscale_all, rope.number("mscale_all_dim", 0.0));
  if (mscale != 0.0 && mscale_all != 0.0) {
    return yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all);
  }
  return yarn_mscale(factor, 1.0);
}

// Zero counts as absent for the betas, as it does in the reference ("or 32").
Result<double> beta(const JsonMap& rope, const char* key, double default_value) {
  PF_ASSIGN(const double value, rope.number(key, default_value));
  return value == 0.0 ? default_value : value;
}

Status read_yarn(const JsonMap& rope, std::int64_t max_positions, RopeSpec& out) {
  PF_ASSIGN(const auto factor, optional_number(rope, "factor"));
  out.factor = factor.value_or(static_cast<double>(max_positions) /
                               static_cast<double>(out.original_max_position));
  PF_ASSIGN(out.attention_factor, yarn_attention_factor(rope, out.factor));
  PF_ASSIGN(out.beta_fast, beta(rope, "beta_fast", out.beta_fast));
  PF_ASSIGN(out.beta_slow, beta(rope, "beta_slow", out.beta_slow));
  PF_ASSIGN(out.truncate, rope.boolean("truncate", true));
  return ok_status();
}

Status read_scaling(const JsonMap& config, const JsonMap& rope, std::int64_t max_positions,
                    RopeSpec& out) {
  PF_ASSIGN(const std::string old_key, rope.text("type", "default"));
  PF_ASSIGN(const std::string kind, rope.text("rope_type", old_key));
  if (rope.has("factor") && !rope.has("type") && !rope.has("rope_type")) {
    return rope.invalid("rope_type", "is missing beside a factor; say which scaling it is for");
  }
  if (kind == "default") return ok_status();
  if (kind == "linear") {
    out.scaling = RopeScaling::Linear;
    PF_ASSIGN(out.factor, rope.number("factor", std::nullopt));
    return ok_status();
  }
  if (kind != "llama3" && kind != "yarn") {
    return rope.unsupported(
        "rope_type",
        fmt::format("is {}; supported are default, linear, llama3, yarn", quote_text(kind)));
  }
  // A value beside the rope parameters wins over one inside them.
  PF_ASSIGN(const std::int64_t inside,
            rope.integer("original_max_position_embeddings", max_positions, 1, kMaxPositions));
  PF_ASSIGN(out.original_max_position,
            config.integer("original_max_position_embeddings", inside, 1, kMaxPositions));
  if (kind == "yarn") {
    out.scaling = RopeScaling::Yarn;
    return read_yarn(rope, max_positions, out);
  }
  out.scaling = RopeScaling::Llama3;
  PF_ASSIGN(out.factor, rope.number("factor", std::nullopt));
  PF_ASSIGN(out.low_freq_factor, rope.number("low_freq_factor", std::nullopt));
  PF_ASSIGN(out.high_freq_factor, rope.number("high_freq_factor", std::nullopt));
  return ok_status();
}

Status refuse_partial(const JsonMap& map) {
  PF_ASSIGN(const double part, map.number("partial_rotary_factor", 1.0));
  if (part == 1.0) return ok_status();
  return map.unsupported(
      "partial_rotary_factor",
      fmt::format("is {}; only 1 is supported (all of a head is rotated)", part));
}

}  // namespace

Result<RopeSpec> read_rope(const JsonMap& config, double default_theta,
                           std::int64_t max_positions) {
  RopeSpec out;
  PF_TRY(refuse_partial(config));
  PF_ASSIGN(out.theta, config.number("rope_theta", default_theta));
  const char* where = config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!config.has(where)) return out;
  PF_ASSIGN(const JsonMap rope, config.map(where));
  for (const char* layer_type : {"full_attention", "sliding_attention"}) {
    if (rope.has(layer_type)) {
      return rope.unsupported(layer_type,
                              "gives rotary parameters per kind of layer; "
                              "supported is one set for all layers");
    }
  }
  PF_TRY(refuse_partial(rope));
  PF_ASSIGN(out.theta, rope.number("rope_theta", out.theta));
  PF_TRY(read_scaling(config, rope, max_positions, out));
  return out;
}

}  // namespace pentafold
