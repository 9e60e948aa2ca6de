// Shape spec (YAML) -> ModelSpec: the dimensions of a model whose weights are drawn from a seed.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "spec/load_model.h"
#include "spec/param_count.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxExperts = 4096;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;
constexpr std::int64_t kMaxTokenId = std::numeric_limits<std::int32_t>::max();

constexpr std::array<std::string_view, 32> kKeys = {"name",
                                                    "layers",
                                                    "d",
                                                    "heads",
                                                    "kv_heads",
                                                    "head_dim",
                                                    "vocab",
                                                    "experts",
                                                    "top_k",
                                                    "expert_hidden",
                                                    "dense_hidden",
                                                    "shared_hidden",
                                                    "shared_gate",
                                                    "dense_layers",
                                                    "matrices",
                                                    "activation",
                                                    "router",
                                                    "norm_topk",
                                                    "qk_norm",
                                                    "qkv_bias",
                                                    "o_bias",
                                                    "sliding_window",
                                                    "rope",
                                                    "norm_eps",
                                                    "tied_embeddings",
                                                    "dtype",
                                                    "weights",
                                                    "seed",
                                                    "declared_total_params",
                                                    "max_positions",
                                                    "bos",
                                                    "eos"};
constexpr std::array<std::string_view, 10> kRopeKeys = {
    "theta",     "scaling",   "factor",           "low_freq_factor", "high_freq_factor",
    "beta_fast", "beta_slow", "attention_factor", "truncate",        "original_max_position"};

Status read_attention(const YamlMap& map, ModelSpec& out) {
  PF_ASSIGN(out.d, map.integer("d", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(out.vocab, map.integer("vocab", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(out.heads, map.integer("heads", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(out.kv_heads, map.integer("kv_heads", out.heads, 1, out.heads));
  if (!map.has("head_dim") && out.d % out.heads != 0) {
    return map.error_at(
        "heads",
        fmt::format("d = {} is not a multiple of heads = {}; give head_dim", out.d, out.heads));
  }
  PF_ASSIGN(out.head_dim, map.integer("head_dim", out.d / out.heads, 1, kMaxWidth));
  constexpr std::array<std::string_view, 3> kNorms = {"none", "per_head", "full_width"};
  PF_ASSIGN(const std::size_t norm, map.choice("qk_norm", kNorms, 0));
  out.qk_norm = std::array{QkNorm::None, QkNorm::PerHead, QkNorm::FullWidth}[norm];
  PF_ASSIGN(out.qkv_bias, map.boolean("qkv_bias", false));
  PF_ASSIGN(out.o_bias, map.boolean("o_bias", false));
  PF_ASSIGN(out.max_positions, map.integer("max_positions", 0, 0, kMaxPositions));
  return ok_status();
}

Status read_layers(const YamlMap& map, ModelSpec& out) {
  PF_ASSIGN(const std::int64_t layers, map.integer("layers", std::nullopt, 1, kMaxLayers));
  PF_ASSIGN(const std::int64_t window, map.integer("sliding_window", 0, 0, kMaxPositions));
  PF_ASSIGN(const auto dense, map.integers("dense_layers", 0, layers - 1));
  PF_ASSIGN(out.experts, map.integer("experts", 0, 0, kMaxExperts));
  out.layers.assign(static_cast<std::size_t>(layers), LayerSpec{out.experts > 0, window});
  for (const std::int64_t i : dense) out.layers[static_cast<std::size_t>(i)].moe = false;
  return ok_status();
}

Status read_mlp(const YamlMap& map, ModelSpec& out) {
  const bool any_dense = std::any_of(out.layers.begin(), out.layers.end(),
                                     [](const LayerSpec& layer) { return !layer.moe; });
  // nullopt makes a key required.
  const auto zero_unless = [](bool required) {
    return required ? std::nullopt : std::optional<std::int64_t>(0);
  };
  const bool moe = out.experts > 0;
  PF_ASSIGN(out.dense_hidden, map.integer("dense_hidden", zero_unless(any_dense), 0, kMaxWidth));
  PF_ASSIGN(out.top_k, map.integer("top_k", zero_unless(moe), 0, kMaxExperts));
  PF_ASSIGN(out.expert_hidden, map.integer("expert_hidden", zero_unless(moe), 0, kMaxWidth));
  PF_ASSIGN(out.shared_hidden, map.integer("shared_hidden", 0, 0, kMaxWidth));
  PF_ASSIGN(out.shared_gate, map.boolean("shared_gate", false));
  PF_ASSIGN(out.norm_topk, map.boolean("norm_topk", true));
  PF_ASSIGN(const std::int64_t matrices, map.integer("matrices", 3, 2, 3));
  out.gated_mlp = matrices == 3;
  constexpr std::array<std::string_view, 2> kActivations = {"silu", "relu"};
  PF_ASSIGN(const std::size_t activation, map.choice("activation", kActivations, 0));
  out.activation = activation == 0 ? Activation::Silu : Activation::Relu;
  constexpr std::array<std::string_view, 2> kRouters = {"softmax_topk", "topk_softmax"};
  PF_ASSIGN(const std::size_t router, map.choice("router", kRouters, 0));
  out.router_order = router == 0 ? RouterOrder::SoftmaxTopk : RouterOrder::TopkSoftmax;
  return ok_status();
}

Status read_rope(const YamlMap& map, ModelSpec& out) {
  if (!map.has("rope")) return ok_status();
  PF_ASSIGN(const YamlMap rope, map.map("rope"));
  PF_TRY(rope.refuse_unknown(kRopeKeys));
  RopeSpec& r = out.rope;
  constexpr std::array<std::string_view, 4> kScalings = {"none", "linear", "llama3", "yarn"};
  PF_ASSIGN(r.theta, rope.number("theta", r.theta));
  PF_ASSIGN(const std::size_t scaling, rope.choice("scaling", kScalings, 0));
  r.scaling = std::array{RopeScaling::None, RopeScaling::Linear, RopeScaling::Llama3,
                         RopeScaling::Yarn}[scaling];
  if (r.scaling == RopeScaling::None) return ok_status();
  PF_ASSIGN(r.factor, rope.number("factor", std::nullopt, 1.0, 1e6));
  PF_ASSIGN(r.low_freq_factor, rope.number("low_freq_factor", r.low_freq_factor));
  PF_ASSIGN(r.high_freq_factor, rope.number("high_freq_factor", r.high_freq_factor));
  PF_ASSIGN(r.beta_fast, rope.number("beta_fast", r.beta_fast));
  PF_ASSIGN(r.beta_slow, rope.number("beta_slow", r.beta_slow));
  const double yarn_factor = r.scaling == RopeScaling::Yarn ? 0.1 * std::log(r.factor) + 1.0 : 1.0;
  PF_ASSIGN(r.attention_factor, rope.number("attention_factor", yarn_factor));
  PF_ASSIGN(r.truncate, rope.boolean("truncate", true));
  PF_ASSIGN(r.original_max_position,
            rope.integer("original_max_position", out.max_positions, 0, kMaxPositions));
  return ok_status();
}

Result<std::vector<std::int32_t>> read_ids(const YamlMap& map, std::string_view key) {
  PF_ASSIGN(const auto ids, map.integers(key, 0, kMaxTokenId));
  std::vector<std::int32_t> out;
  for (const std::int64_t id : ids) out.push_back(static_cast<std::int32_t>(id));
  return out;
}

}  // namespace

Result<ModelSpec> parse_shape_spec(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node document, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(document, file));
  PF_TRY(map.refuse_unknown(kKeys));
  ModelSpec out;
  out.family = Family::Synthetic;
  PF_ASSIGN(out.name, map.text("name", std::filesystem::path(file).stem().string()));
  PF_TRY(read_attention(map, out));
  PF_TRY(read_layers(map, out));
  PF_TRY(read_mlp(map, out));
  PF_TRY(read_rope(map, out));
  if (map.has("declared_total_params")) {
    PF_ASSIGN(out.declared_total_params, read_param_count(map, "declared_total_params"));
  }
  PF_ASSIGN(out.norm_eps, map.number("norm_eps", out.norm_eps));
  PF_ASSIGN(out.tied_embeddings, map.boolean("tied_embeddings", false));
  constexpr std::array<std::string_view, 3> kTypes = {"bf16", "f16", "f32"};
  PF_ASSIGN(const std::size_t type, map.choice("dtype", kTypes, 0));
  out.dtype = std::array{DType::BF16, DType::F16, DType::F32}[type];
  constexpr std::array<std::string_view, 1> kWeights = {"synthetic"};
  PF_TRY(map.choice("weights", kWeights, 0));
  PF_ASSIGN(const std::int64_t seed, map.integer("seed", 0));
  out.seed = static_cast<std::uint64_t>(seed);
  PF_ASSIGN(out.bos_ids, read_ids(map, "bos"));
  PF_ASSIGN(out.eos_ids, read_ids(map, "eos"));
  PF_TRY(validate(out, file));
  return out;
}

}  // namespace pentafold
