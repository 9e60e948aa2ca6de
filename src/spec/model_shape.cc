#include "spec/model_shape.h"

#include <fmt/format.h>

#include <algorithm>

namespace pentafold {
namespace {

double real(std::int64_t value) {
  return static_cast<double>(value);
}

// Of a group, what one token uses.
std::int64_t active_params(const WeightGroup& group, const FfnShape& ffn) {
  if (group.part != WeightPart::Expert) return group.params;
  return group.params / ffn.experts * ffn.top_k;
}

std::vector<std::int64_t> layers_by_kind(const ModelShape& model) {
  std::vector<std::int64_t> out(model.kinds.size(), 0);
  for (const std::int32_t kind : model.layers) ++out[static_cast<std::size_t>(kind)];
  return out;
}

// Sum over layers of a number that depends on the kind only.
template <class F>
double sum_over_layers(const ModelShape& model, const F& of_kind) {
  const std::vector<std::int64_t> times = layers_by_kind(model);
  double sum = 0;
  for (std::size_t i = 0; i < model.kinds.size(); ++i)
    sum += real(times[i]) * of_kind(model.kinds[i]);
  return sum;
}

double mixer_flops(const MixerShape& m, std::int64_t context, bool prefill) {
  const std::int64_t kept = m.window > 0 ? std::min(context, m.window) : context;
  const std::int64_t attended = m.selected > 0 ? std::min(kept, m.selected) : kept;
  return real(attended) * (prefill ? m.prefill_pair_flops : m.decode_pair_flops) +
         real(kept) * m.index_pair_flops + m.token_flops;
}

const LayerShape* widest_moe(const ModelShape& model) {
  const LayerShape* widest = nullptr;
  for (const LayerShape& kind : model.kinds) {
    if (kind.ffn.experts > (widest == nullptr ? 0 : widest->ffn.experts)) widest = &kind;
  }
  return widest;
}

}  // namespace

const char* to_string(WeightPart part) {
  switch (part) {
    case WeightPart::Embedding:
      return "embedding";
    case WeightPart::Head:
      return "head";
    case WeightPart::Attention:
      return "attention";
    case WeightPart::DenseMlp:
      return "dense MLP";
    case WeightPart::SharedExpert:
      return "shared expert";
    case WeightPart::Expert:
      return "expert";
    case WeightPart::Router:
      return "router";
    case WeightPart::Norm:
      return "norm";
  }
  return "?";
}

const char* to_string(MixerKind kind) {
  switch (kind) {
    case MixerKind::Attention:
      return "attention";
    case MixerKind::Latent:
      return "latent attention";
    case MixerKind::Linear:
      return "linear attention";
    case MixerKind::StateSpace:
      return "state space";
    case MixerKind::None:
      return "none";
  }
  return "?";
}

NumberFormat Precision::of(WeightPart part) const {
  switch (part) {
    case WeightPart::Expert:
      return experts;
    case WeightPart::Attention:
    case WeightPart::DenseMlp:
    case WeightPart::SharedExpert:
      return linear;
    case WeightPart::Embedding:
    case WeightPart::Head:
    case WeightPart::Router:
    case WeightPart::Norm:
      return other;
  }
  return other;
}

std::string to_string(const Precision& precision) {
  std::string out = to_string(precision.linear);
  if (precision.experts != precision.linear) {
    out = fmt::format("{} experts, {}", to_string(precision.experts), out);
  }
  if (precision.kv != NumberFormat::BF16) out += fmt::format(", kv {}", to_string(precision.kv));
  return out;
}

std::int64_t ModelShape::experts() const {
  const LayerShape* widest = widest_moe(*this);
  return widest == nullptr ? 0 : widest->ffn.experts;
}

std::int64_t ModelShape::top_k() const {
  const LayerShape* widest = widest_moe(*this);
  return widest == nullptr ? 0 : widest->ffn.top_k;
}

ParamCounts count_params(const ModelShape& model) {
  ParamCounts counts;
  for (const WeightGroup& group : model.outer) {
    counts.total += group.params;
    counts.active += group.params;
  }
  const std::vector<std::int64_t> times = layers_by_kind(model);
  for (std::size_t i = 0; i < model.kinds.size(); ++i) {
    for (const WeightGroup& group : model.kinds[i].weights) {
      counts.total += times[i] * group.params;
      counts.active += times[i] * active_params(group, model.kinds[i].ffn);
    }
  }
  return counts;
}

double weight_bytes(const ModelShape& model, const Precision& precision) {
  const auto bytes = [&](const std::vector<WeightGroup>& groups) {
    double sum = 0;
    for (const WeightGroup& g : groups) {
      sum += real(g.params) * bytes_per_value(precision.of(g.part));
    }
    return sum;
  };
  return bytes(model.outer) +
         sum_over_layers(model, [&](const LayerShape& kind) { return bytes(kind.weights); });
}

double kv_bytes_per_token(const ModelShape& model, NumberFormat kv) {
  return bytes_per_value(kv) *
         sum_over_layers(model, [](const LayerShape& kind) { return real(kind.mixer.kv_values); });
}

double kv_bytes_of_sequence(const ModelShape& model, NumberFormat kv, std::int64_t tokens) {
  return sum_over_layers(model, [&](const LayerShape& kind) {
    const MixerShape& m = kind.mixer;
    const std::int64_t kept = m.window > 0 ? std::min(tokens, m.window) : tokens;
    return real(kept) * real(m.kv_values) * bytes_per_value(kv) +
           real(m.state_values) * bytes_per_value(m.state_format);
  });
}

double weight_flops_per_token(const ModelShape& model) {
  const auto flops = [](const std::vector<WeightGroup>& groups, const FfnShape& ffn) {
    double sum = 0;
    for (const WeightGroup& g : groups) {
      if (g.gemm) sum += 2.0 * real(active_params(g, ffn));
    }
    return sum;
  };
  return flops(model.outer, {}) + sum_over_layers(model, [&](const LayerShape& kind) {
           return flops(kind.weights, kind.ffn);
         });
}

double attention_flops(const ModelShape& model, std::int64_t context, bool prefill) {
  return sum_over_layers(
      model, [&](const LayerShape& kind) { return mixer_flops(kind.mixer, context, prefill); });
}

}  // namespace pentafold
