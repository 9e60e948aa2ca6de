#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/inspect_shape.h"
#include "cli/verbs.h"
#include "spec/tensors.h"
#include "spec/weight_source.h"

namespace pentafold {
namespace {

std::string attention_kind(const ModelSpec& m) {
  if (m.kv_heads == m.heads) return "multi-head";
  return m.kv_heads == 1 ? "multi-query" : "grouped-query";
}

std::string moe_line(const ModelSpec& m) {
  std::int64_t moe_layers = 0;
  for (const LayerSpec& layer : m.layers) moe_layers += layer.moe ? 1 : 0;
  std::string line = fmt::format(
      "{} experts, top-{}, {} layers of {}; expert {} x {} wide, {} matrices", m.experts, m.top_k,
      moe_layers, m.num_layers(), m.d, m.expert_hidden, m.gated_mlp ? 3 : 2);
  if (m.shared_hidden > 0) {
    line +=
        fmt::format("; shared expert {} wide{}", m.shared_hidden, m.shared_gate ? ", gated" : "");
  }
  line += m.router_order == RouterOrder::SoftmaxTopk ? "; softmax, then top-k"
                                                     : "; top-k, then softmax";
  if (m.router_order == RouterOrder::SoftmaxTopk && m.norm_topk) line += ", renormalised";
  return line;
}

std::string weights_kind(const ModelInput& input) {
  const ModelSpec& m = input.model;
  if (m.family == Family::Synthetic) return fmt::format("weights synthetic, seed {}", m.seed);
  if (input.checkpoint_dir.empty()) return "no weights, config.json only";
  return fmt::format("weights {}", to_string(m.dtype));
}

void print_text(const ModelInput& input, bool tensors) {
  const ModelSpec& m = input.model;
  const ParamCounts params = count_params(m);
  const double kv = static_cast<double>(kv_bytes_per_token(m, DType::F32));
  fmt::print("{} ({}), {}\n", m.name, to_string(m.family), weights_kind(input));
  fmt::print("  layers        {}, d {}, vocabulary {}{}\n", m.num_layers(), m.d, m.vocab,
             m.tied_embeddings ? ", embeddings tied" : "");
  fmt::print("  attention     {}: {} heads x {}, {} KV heads\n", attention_kind(m), m.heads,
             m.head_dim, m.kv_heads);
  if (m.has_experts()) fmt::print("  experts       {}\n", moe_line(m));
  if (m.dense_hidden > 0) fmt::print("  dense MLP     {} wide\n", m.dense_hidden);
  fmt::print("  parameters    {} total, {} active for one token\n",
             format_count(static_cast<double>(params.total)),
             format_count(static_cast<double>(params.active)));
  fmt::print(
      "  weights       {} as {}\n",
      format_bytes(static_cast<double>(params.total) * static_cast<double>(size_of(m.dtype))),
      to_string(m.dtype));
  fmt::print("  KV cache      {} a token (F32, as run here), {} as BF16\n", format_bytes(kv),
             format_bytes(kv / 2));
  if (const auto contradiction = declaration_contradiction(m)) {
    fmt::print("  declared      {}\n", *contradiction);
  }
  if (!tensors) return;
  for (const TensorInfo& t : model_tensors(m)) {
    fmt::print("  {:<60} ({}, {})\n", checkpoint_name(m, t.id), t.rows, t.cols);
  }
}

void print_json(const ModelInput& input) {
  const ModelSpec& m = input.model;
  const ParamCounts params = count_params(m);
  nlohmann::json out = {{"name", m.name},
                        {"family", to_string(m.family)},
                        {"layers", m.num_layers()},
                        {"d", m.d},
                        {"vocab", m.vocab},
                        {"heads", m.heads},
                        {"kv_heads", m.kv_heads},
                        {"head_dim", m.head_dim},
                        {"experts", m.experts},
                        {"top_k", m.top_k},
                        {"expert_hidden", m.expert_hidden},
                        {"shared_hidden", m.shared_hidden},
                        {"dense_hidden", m.dense_hidden},
                        {"dtype", to_string(m.dtype)},
                        {"params_total", params.total},
                        {"params_active", params.active},
                        {"kv_bytes_per_token_f32", kv_bytes_per_token(m, DType::F32)},
                        {"kv_bytes_per_token_bf16", kv_bytes_per_token(m, DType::BF16)}};
  if (m.declared_total_params) out["declared_total_params"] = *m.declared_total_params;
  if (const auto contradiction = declaration_contradiction(m)) {
    out["declaration_contradiction"] = *contradiction;
  }
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

int inspect_verb(const InspectOptions& options) {
  const auto any = load_any_model(options.model);
  if (!any.ok()) return report_error(any.error());
  if (!any->input) return inspect_shape(*any, options);
  const std::optional<ModelInput>& input = any->input;
  if (!input->checkpoint_dir.empty()) {
    // Opening checks that every tensor is there with the right shape and a type that can be run.
    const auto source = WeightSource::open_checkpoint(input->checkpoint_dir, input->model);
    if (!source.ok()) return report_error(source.error());
  }
  if (options.json) {
    print_json(*input);
  } else {
    print_text(*input, options.tensors);
  }
  return 0;
}

}  // namespace pentafold
