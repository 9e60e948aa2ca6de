#include "spec/layer_dims.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "spec/layer_parts.h"

namespace pentafold {
namespace {

constexpr double kMaxParams = 2e18;  // twice what ModelSpec may have, so that shape_of cannot fail

void add_dense(const FfnDims& f, LayerParts& parts) {
  parts.add("mlp.up", {f.matrices - 1, parts.d, f.dense_hidden}, Split::Tensor,
            WeightPart::DenseMlp);
  parts.add("mlp.down", {parts.d, f.dense_hidden}, Split::Tensor, WeightPart::DenseMlp);
  if (!f.dense_bias) return;
  parts.add_vector("mlp.up_bias", {f.matrices - 1, f.dense_hidden}, Split::Tensor,
                   WeightPart::DenseMlp);
  parts.add_vector("mlp.down_bias", {parts.d}, Split::None, WeightPart::DenseMlp);
}

void add_experts(const FfnDims& f, LayerParts& parts) {
  const std::int64_t d = parts.d;
  parts.add("router", {f.experts, d}, Split::None, WeightPart::Router);
  if (f.router_bias) {
    parts.add_vector("router_bias", {f.experts}, Split::None, WeightPart::Router);
  }
  parts.add("experts.up", {f.experts, f.matrices - 1, d, f.expert_hidden}, Split::Experts,
            WeightPart::Expert);
  parts.add("experts.down", {f.experts, d, f.expert_hidden}, Split::Experts, WeightPart::Expert);
  if (f.expert_bias) {
    parts.add_vector("experts.up_bias", {f.experts, f.matrices - 1, f.expert_hidden},
                     Split::Experts, WeightPart::Expert);
    parts.add_vector("experts.down_bias", {f.experts, d}, Split::Experts, WeightPart::Expert);
  }
  if (f.shared_hidden > 0) {
    parts.add("shared.up", {f.matrices - 1, d, f.shared_hidden}, Split::Tensor,
              WeightPart::SharedExpert);
    parts.add("shared.down", {d, f.shared_hidden}, Split::Tensor, WeightPart::SharedExpert);
  }
  if (f.shared_gate) parts.add("shared.gate", {d}, Split::None, WeightPart::Router);
}

void add_ffn(const FfnDims& f, LayerParts& parts) {
  parts.layer.ffn = {f.experts,      f.top_k,         f.expert_hidden,
                     f.dense_hidden, f.shared_hidden, f.matrices};
  if (f.dense_hidden > 0) add_dense(f, parts);
  if (f.experts > 0) add_experts(f, parts);
}

LayerShape build_layer(const ModelDims& m, const LayerDims& dims) {
  LayerParts parts;
  parts.d = m.d;
  std::int64_t blocks = 0;
  if (!std::holds_alternative<NoMixer>(dims.mixer)) ++blocks;
  const auto* attention = std::get_if<AttentionDims>(&dims.mixer);
  if (attention != nullptr && attention->cross) ++blocks;
  if (dims.ffn.dense_hidden > 0 || dims.ffn.experts > 0) ++blocks;
  parts.add_vector("norms", {blocks, m.norms_per_part, m.norm_bias ? 2 : 1, m.d}, Split::None,
                   WeightPart::Norm);
  if (m.residual_streams > 0) {
    const std::int64_t mixes = (2 + m.residual_streams) * m.residual_streams;
    parts.add("hyper_connections", {blocks, mixes, m.residual_streams, m.d}, Split::None,
              WeightPart::Norm);
    parts.add_vector("hyper_connections.shift", {blocks, mixes + 3}, Split::None, WeightPart::Norm);
  }
  add_mixer(dims.mixer, parts);
  add_ffn(dims.ffn, parts);
  return std::move(parts.layer);
}

std::vector<WeightGroup> build_outer(const ModelDims& m) {
  LayerParts parts;
  parts.d = m.d;
  if (!m.tied_embeddings) {
    parts.add_vector("embedding", {m.vocab, m.d}, Split::Vocab, WeightPart::Embedding);
  }
  parts.add("head", {m.vocab, m.d}, Split::Vocab, WeightPart::Head);
  if (m.head_bias) parts.add_vector("head_bias", {m.vocab}, Split::Vocab, WeightPart::Head);
  parts.add_vector("final_norm", {m.norm_bias ? 2 : 1, m.d}, Split::None, WeightPart::Norm);
  if (m.residual_streams > 0) {
    parts.add("hyper_head", {m.residual_streams, m.residual_streams, m.d}, Split::None,
              WeightPart::Norm);
    parts.add_vector("hyper_head.shift", {m.residual_streams + 1}, Split::None, WeightPart::Norm);
  }
  if (m.relative_buckets > 0) {
    std::int64_t heads = 0;
    for (const LayerDims& kind : m.kinds) {
      if (const auto* a = std::get_if<AttentionDims>(&kind.mixer))
        heads = std::max(heads, a->heads);
    }
    parts.add_vector("relative_positions", {m.relative_buckets, heads}, Split::None,
                     WeightPart::Attention);
  }
  return std::move(parts.layer.weights);
}

double rough_params(const std::vector<WeightGroup>& groups) {
  double sum = 0;
  for (const WeightGroup& group : groups) sum += static_cast<double>(group.params);
  return sum;
}

double rough_params(const ModelShape& shape) {
  double sum = rough_params(shape.outer);
  for (const std::int32_t kind : shape.layers) {
    sum += rough_params(shape.kinds[static_cast<std::size_t>(kind)].weights);
  }
  return sum;
}

std::optional<std::string> ffn_problem(const FfnDims& f) {
  if (f.top_k > f.experts) {
    return fmt::format("takes {} experts per token, but has only {}", f.top_k, f.experts);
  }
  if (f.experts > 0 && (f.top_k < 1 || f.expert_hidden < 1)) {
    return "has experts, but no number of experts per token or no width for them";
  }
  if (f.experts == 0 && f.shared_hidden > 0) return "has shared experts, but no routed ones";
  if (f.shared_gate && f.shared_hidden == 0) {
    return "has a gate for a shared expert, but the shared expert has width 0";
  }
  return std::nullopt;
}

std::optional<std::string> problem_of(const ModelDims& m) {
  if (m.layers.empty()) return "has no layers";
  if (static_cast<std::int64_t>(m.layers.size()) > kMaxShapeLayers) {
    return fmt::format("has {} layers, more than {}", m.layers.size(), kMaxShapeLayers);
  }
  for (const LayerDims& kind : m.kinds) {
    if (auto problem = mixer_problem(kind.mixer)) return problem;
    if (auto problem = ffn_problem(kind.ffn)) return problem;
    const bool idle = kind.ffn.dense_hidden == 0 && kind.ffn.experts == 0;
    if (idle && std::holds_alternative<NoMixer>(kind.mixer)) return "has a layer of nothing";
  }
  return std::nullopt;
}

}  // namespace

void ModelDims::add_layer(const LayerDims& layer) {
  const auto at = std::find(kinds.begin(), kinds.end(), layer) - kinds.begin();
  if (at == static_cast<std::ptrdiff_t>(kinds.size())) kinds.push_back(layer);
  layers.push_back(static_cast<std::int32_t>(at));
}

Result<ModelShape> build_shape(const ModelDims& model, const std::string& file) {
  if (auto problem = problem_of(model)) {
    return make_error(ErrorCode::InvalidSpec, *std::move(problem), file);
  }
  ModelShape out;
  out.name = model.name;
  out.family = model.family;
  out.vocab = model.vocab;
  out.d = model.d;
  out.max_positions = model.max_positions;
  for (const LayerDims& kind : model.kinds) out.kinds.push_back(build_layer(model, kind));
  out.layers = model.layers;
  out.outer = build_outer(model);
  out.stored = model.stored;
  out.not_counted = model.not_counted;
  if (!(rough_params(out) <= kMaxParams)) {
    return make_error(ErrorCode::InvalidSpec,
                      "has more than 2e18 parameters; check its widths and experts", file);
  }
  return out;
}

}  // namespace pentafold
