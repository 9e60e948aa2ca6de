#include "spec/lowerable.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace pentafold {
namespace {

bool has_group(const std::vector<WeightGroup>& groups, std::string_view name) {
  return std::ranges::any_of(groups, [&](const WeightGroup& g) { return g.name == name; });
}

std::int64_t params_of(const std::vector<WeightGroup>& groups, std::string_view name) {
  std::int64_t params = 0;
  for (const WeightGroup& group : groups) params += group.name == name ? group.params : 0;
  return params;
}

std::optional<std::string> mixer_obstacle(const LayerShape& kind, std::int64_t d) {
  const MixerShape& m = kind.mixer;
  if (m.kind == MixerKind::None) return "with layers that have no attention";
  if (m.kind == MixerKind::StateSpace) return "of state space layers";
  if (m.kind != MixerKind::Attention) return fmt::format("of {}", to_string(m.kind));
  if (m.selected > 0 || m.index_pair_flops > 0) return "of sparse attention";
  if (has_group(kind.weights, "cross.q_proj")) return "of cross attention";
  const std::int64_t queries = params_of(kind.weights, "q_proj");
  if (queries != d * m.heads * (m.kv_values / 2 / m.kv_heads)) return "of gated attention";
  return std::nullopt;
}

std::optional<std::string> ffn_obstacle(const FfnShape& ffn) {
  if (ffn.experts > 0 && ffn.dense_hidden > 0) return "with a dense MLP beside the experts";
  if (ffn.experts == 0 && ffn.dense_hidden == 0) return "with layers that have no MLP";
  return std::nullopt;
}

// Takes `value` into `target`, which several layers must agree on; false if they do not.
template <class T>
bool agree(std::optional<T>& target, const T& value) {
  if (!target) target = value;
  return *target == value;
}

struct Attention {
  std::int64_t heads, kv_heads, head_dim;
  bool qkv_bias, o_bias;
  QkNorm qk_norm;
  bool operator==(const Attention&) const = default;
};
struct Experts {
  std::int64_t experts, top_k, hidden, shared;
  bool shared_gate;
  bool operator==(const Experts&) const = default;
};
struct Dense {
  std::int64_t hidden;
  bool bias;
  bool operator==(const Dense&) const = default;
};

Attention attention_of(const LayerShape& kind) {
  const MixerShape& m = kind.mixer;
  const QkNorm norm = has_group(kind.weights, "qk_norm")  ? QkNorm::PerHead
                      : has_group(kind.weights, "q_norm") ? QkNorm::FullWidth
                                                          : QkNorm::None;
  return {m.heads,
          m.kv_heads,
          m.kv_values / 2 / m.kv_heads,
          has_group(kind.weights, "q_bias"),
          has_group(kind.weights, "o_bias"),
          norm};
}

// The dimensions that a ModelSpec has once and a ModelShape has by kind.
struct UniformDims {
  std::optional<Attention> attention;
  std::optional<Experts> experts;
  std::optional<Dense> dense;
  std::optional<std::int64_t> matrices;

  // "with layers of different ..." where `kind` has others.
  std::optional<std::string> take(const LayerShape& kind) {
    const FfnShape& f = kind.ffn;
    if (!agree(attention, attention_of(kind))) return "with different heads by layer";
    if (!agree(matrices, f.matrices)) return "with different MLPs by layer";
    if (f.experts > 0) {
      const bool gate = has_group(kind.weights, "shared.gate");
      if (!agree(experts, {f.experts, f.top_k, f.expert_hidden, f.shared_hidden, gate})) {
        return "with different experts by layer";
      }
    } else if (!agree(dense, {f.dense_hidden, has_group(kind.weights, "mlp.down_bias")})) {
      return "with different dense MLPs by layer";
    }
    return std::nullopt;
  }

  void give(ModelSpec& spec) const {
    spec.heads = attention->heads;
    spec.kv_heads = attention->kv_heads;
    spec.head_dim = attention->head_dim;
    spec.qkv_bias = attention->qkv_bias;
    spec.o_bias = attention->o_bias;
    spec.qk_norm = attention->qk_norm;
    spec.gated_mlp = *matrices == 3;
    if (experts) {
      spec.experts = experts->experts;
      spec.top_k = experts->top_k;
      spec.expert_hidden = experts->hidden;
      spec.shared_hidden = experts->shared;
      spec.shared_gate = experts->shared_gate;
    }
    if (dense) {
      spec.dense_hidden = dense->hidden;
      spec.mlp_bias = dense->bias;
    }
  }
};

DType nearest_dtype(NumberFormat format) {
  switch (format) {
    case NumberFormat::F32:
      return DType::F32;
    case NumberFormat::F16:
      return DType::F16;
    default:
      return DType::BF16;  // what formats of fewer bits are computed in
  }
}

}  // namespace

Result<ModelSpec> lowerable(const ModelShape& shape) {
  const auto none = [&](std::string reason) {
    return make_error(ErrorCode::Unsupported, std::move(reason), shape.name);
  };
  UniformDims dims;
  for (const LayerShape& kind : shape.kinds) {
    if (auto obstacle = mixer_obstacle(kind, shape.d)) return none(*std::move(obstacle));
    if (auto obstacle = ffn_obstacle(kind.ffn)) return none(*std::move(obstacle));
    if (auto obstacle = dims.take(kind)) return none(*std::move(obstacle));
  }
  ModelSpec spec;
  spec.name = shape.name;
  spec.vocab = shape.vocab;
  spec.d = shape.d;
  spec.max_positions = shape.max_positions;
  spec.tied_embeddings = !has_group(shape.outer, "embedding");
  spec.dtype = nearest_dtype(shape.stored.linear);
  dims.give(spec);
  for (std::int64_t l = 0; l < shape.num_layers(); ++l) {
    const LayerShape& layer = shape.layer(l);
    spec.layers.push_back({layer.ffn.experts > 0, layer.mixer.window});
  }
  if (const Status valid = validate(spec, shape.name); !valid.ok()) {
    return none(fmt::format("of this shape ({})", valid.error().message));
  }
  return spec;
}

}  // namespace pentafold
