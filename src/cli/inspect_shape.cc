#include "cli/inspect_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace pentafold {
namespace {

constexpr std::int64_t kSequence = 8192;  // long enough for windows and states to show

std::int64_t layers_of(const ModelShape& model, std::size_t kind) {
  return std::ranges::count(model.layers, static_cast<std::int32_t>(kind));
}

std::string ffn_text(const FfnShape& ffn) {
  std::string out;
  if (ffn.experts > 0) {
    out = fmt::format("{} experts x {} wide, top-{}", ffn.experts, ffn.expert_hidden, ffn.top_k);
    if (ffn.shared_hidden > 0) out += fmt::format(", shared {} wide", ffn.shared_hidden);
  }
  if (ffn.dense_hidden > 0) {
    out += fmt::format("{}dense MLP {} wide", out.empty() ? "" : ", ", ffn.dense_hidden);
  }
  return out.empty() ? "no MLP" : out;
}

std::string mixer_text(const MixerShape& m) {
  if (m.kind == MixerKind::None) return "no attention";
  std::string out = fmt::format("{}, {} heads", to_string(m.kind), m.heads);
  if (m.kind == MixerKind::Attention) out += fmt::format(", {} KV heads", m.kv_heads);
  if (m.kv_values > 0) out += fmt::format(", {} cached values a token", m.kv_values);
  if (m.window > 0) out += fmt::format(" in a window of {}", m.window);
  if (m.selected > 0) out += fmt::format(", {} of them attended", m.selected);
  if (m.state_values > 0) out += fmt::format(", a state of {} values", m.state_values);
  return out;
}

void print_text(const ModelShape& m) {
  const ParamCounts params = count_params(m);
  fmt::print("{} ({}), published in {}\n", m.name, m.family, to_string(m.stored));
  fmt::print("  layers        {}, d {}, vocabulary {}\n", m.num_layers(), m.d, m.vocab);
  for (std::size_t kind = 0; kind < m.kinds.size(); ++kind) {
    fmt::print("  {:>4} layers   {}; {}\n", layers_of(m, kind), mixer_text(m.kinds[kind].mixer),
               ffn_text(m.kinds[kind].ffn));
  }
  fmt::print("  parameters    {} total, {} active for one token\n",
             format_count(static_cast<double>(params.total)),
             format_count(static_cast<double>(params.active)));
  fmt::print("  weights       {} as {}\n", format_bytes(weight_bytes(m, m.stored)),
             to_string(m.stored));
  fmt::print("  KV cache      {} a token as bf16, {} as fp8; {} for a sequence of {} as bf16\n",
             format_bytes(kv_bytes_per_token(m, NumberFormat::BF16)),
             format_bytes(kv_bytes_per_token(m, NumberFormat::FP8)),
             format_bytes(kv_bytes_of_sequence(m, NumberFormat::BF16, kSequence)), kSequence);
  for (const std::string& what : m.not_counted) fmt::print("  not counted   {}\n", what);
}

void print_json(const ModelShape& m) {
  const ParamCounts params = count_params(m);
  const nlohmann::json out = {
      {"name", m.name},
      {"family", m.family},
      {"runnable", false},
      {"layers", m.num_layers()},
      {"d", m.d},
      {"vocab", m.vocab},
      {"experts", m.experts()},
      {"top_k", m.top_k()},
      {"stored", to_string(m.stored)},
      {"params_total", params.total},
      {"params_active", params.active},
      {"weight_bytes", weight_bytes(m, m.stored)},
      {"kv_bytes_per_token_bf16", kv_bytes_per_token(m, NumberFormat::BF16)},
      {"kv_bytes_per_token_fp8", kv_bytes_per_token(m, NumberFormat::FP8)},
      {"not_counted", m.not_counted}};
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

int inspect_shape(const AnyModel& any, const InspectOptions& options) {
  const ModelShape& model = any.shape;
  if (options.tensors) {
    return report_error(make_error(ErrorCode::Unsupported,
                                   "--tensors lists a checkpoint's tensors, and this is a shape "
                                   "without names for them; leave it out",
                                   model.name));
  }
  if (options.json) {
    print_json(model);
  } else {
    print_text(model);
    if (any.obstacle) fmt::print("  run           refused: {}\n", any.obstacle->to_string());
  }
  return 0;
}

}  // namespace pentafold
