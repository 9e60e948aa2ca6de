#include "spec/tensors.h"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "base/check.h"

namespace pentafold {
namespace {

constexpr std::array kLayerRoles = {
    TensorRole::InputNorm,   TensorRole::Q,          TensorRole::K,        TensorRole::V,
    TensorRole::QBias,       TensorRole::KBias,      TensorRole::VBias,    TensorRole::QNorm,
    TensorRole::KNorm,       TensorRole::O,          TensorRole::OBias,    TensorRole::PostNorm,
    TensorRole::Router,      TensorRole::SharedGate, TensorRole::SharedUp, TensorRole::SharedDown,
    TensorRole::SharedRouter};
constexpr std::array kMlpRoles = {TensorRole::Gate, TensorRole::Up, TensorRole::Down};
constexpr std::array kMlpBiasRoles = {TensorRole::GateBias, TensorRole::UpBias,
                                      TensorRole::DownBias};

std::optional<TensorInfo> shape_if(bool present, TensorId id, std::int64_t rows,
                                   std::int64_t cols = 1) {
  if (!present) return std::nullopt;
  return TensorInfo{id, rows, cols};
}

std::optional<TensorInfo> attention_tensor(const ModelSpec& m, TensorId id) {
  const bool norm = m.qk_norm != QkNorm::None;
  const bool full = m.qk_norm == QkNorm::FullWidth;
  switch (id.role) {
    case TensorRole::InputNorm:
    case TensorRole::PostNorm:
      return shape_if(true, id, m.d);
    case TensorRole::Q:
      return shape_if(true, id, m.q_width(), m.d);
    case TensorRole::K:
    case TensorRole::V:
      return shape_if(true, id, m.kv_width(), m.d);
    case TensorRole::O:
      return shape_if(true, id, m.d, m.q_width());
    case TensorRole::QBias:
      return shape_if(m.qkv_bias, id, m.q_width());
    case TensorRole::KBias:
    case TensorRole::VBias:
      return shape_if(m.qkv_bias, id, m.kv_width());
    case TensorRole::OBias:
      return shape_if(m.o_bias, id, m.d);
    case TensorRole::QNorm:
      return shape_if(norm, id, full ? m.q_width() : m.head_dim);
    case TensorRole::KNorm:
      return shape_if(norm, id, full ? m.kv_width() : m.head_dim);
    default:
      return std::nullopt;
  }
}

// The dense MLP of a layer, or one routed expert of it.
std::optional<TensorInfo> mlp_tensor(const ModelSpec& m, TensorId id) {
  const bool moe = m.layers[static_cast<std::size_t>(id.layer)].moe;
  const bool here = moe ? id.expert >= 0 && id.expert < m.experts : id.expert == -1;
  const bool bias = here && !moe && m.mlp_bias;
  const std::int64_t hidden = moe ? m.expert_hidden : m.dense_hidden;
  switch (id.role) {
    case TensorRole::Gate:
      return shape_if(here && m.gated_mlp, id, hidden, m.d);
    case TensorRole::Up:
      return shape_if(here, id, hidden, m.d);
    case TensorRole::Down:
      return shape_if(here, id, m.d, hidden);
    case TensorRole::GateBias:
      return shape_if(bias && m.gated_mlp, id, hidden);
    case TensorRole::UpBias:
      return shape_if(bias, id, hidden);
    case TensorRole::DownBias:
      return shape_if(bias, id, m.d);
    default:
      return std::nullopt;
  }
}

// What an MoE layer has beside its routed experts.
std::optional<TensorInfo> moe_tensor(const ModelSpec& m, TensorId id) {
  const bool moe = m.layers[static_cast<std::size_t>(id.layer)].moe;
  const bool shared = moe && m.shared_hidden > 0;
  switch (id.role) {
    case TensorRole::Router:
      return shape_if(moe, id, m.experts, m.d);
    case TensorRole::SharedGate:
      return shape_if(shared && m.gated_mlp, id, m.shared_hidden, m.d);
    case TensorRole::SharedUp:
      return shape_if(shared, id, m.shared_hidden, m.d);
    case TensorRole::SharedDown:
      return shape_if(shared, id, m.d, m.shared_hidden);
    case TensorRole::SharedRouter:
      return shape_if(shared && m.shared_gate, id, 1, m.d);
    default:
      return std::nullopt;
  }
}

std::optional<TensorInfo> find_tensor(const ModelSpec& m, TensorId id) {
  if (id.layer == -1) {
    const bool here = id.expert == -1;
    switch (id.role) {
      case TensorRole::Embedding:
        return shape_if(here, id, m.vocab, m.d);
      case TensorRole::FinalNorm:
        return shape_if(here, id, m.d);
      case TensorRole::LmHead:
        return shape_if(here && !m.tied_embeddings, id, m.vocab, m.d);
      default:
        return std::nullopt;
    }
  }
  if (id.layer < 0 || id.layer >= m.num_layers()) return std::nullopt;
  if (auto found = mlp_tensor(m, id)) return found;
  if (id.expert != -1) return std::nullopt;
  if (auto found = attention_tensor(m, id)) return found;
  return moe_tensor(m, id);
}

void append_if_found(const ModelSpec& m, TensorId id, std::vector<TensorInfo>& out) {
  if (const auto found = find_tensor(m, id)) out.push_back(*found);
}

void append_layer(const ModelSpec& m, std::int32_t layer, std::vector<TensorInfo>& out) {
  for (const TensorRole role : kLayerRoles) append_if_found(m, {role, layer, -1}, out);
  if (!m.layers[static_cast<std::size_t>(layer)].moe) {
    for (const TensorRole role : kMlpRoles) append_if_found(m, {role, layer, -1}, out);
    for (const TensorRole role : kMlpBiasRoles) append_if_found(m, {role, layer, -1}, out);
    return;
  }
  for (std::int32_t e = 0; e < m.experts; ++e) {
    for (const TensorRole role : kMlpRoles) append_if_found(m, {role, layer, e}, out);
  }
}

bool mixtral_names(const ModelSpec& m) {
  return m.family == Family::Mixtral || m.family == Family::Synthetic;
}

std::string mlp_name(const ModelSpec& m, TensorId id, const char* projection,
                     const char* mixtral_matrix, const char* kind) {
  if (id.expert < 0) return fmt::format("mlp.{}.{}", projection, kind);
  if (mixtral_names(m)) {
    return fmt::format("block_sparse_moe.experts.{}.{}.{}", id.expert, mixtral_matrix, kind);
  }
  return fmt::format("mlp.experts.{}.{}.{}", id.expert, projection, kind);
}

// The part of a name after "model.layers.N.".
std::string name_in_layer(const ModelSpec& m, TensorId id) {
  switch (id.role) {
    case TensorRole::InputNorm:
      return "input_layernorm.weight";
    case TensorRole::PostNorm:
      return "post_attention_layernorm.weight";
    case TensorRole::Q:
      return "self_attn.q_proj.weight";
    case TensorRole::K:
      return "self_attn.k_proj.weight";
    case TensorRole::V:
      return "self_attn.v_proj.weight";
    case TensorRole::O:
      return "self_attn.o_proj.weight";
    case TensorRole::QBias:
      return "self_attn.q_proj.bias";
    case TensorRole::KBias:
      return "self_attn.k_proj.bias";
    case TensorRole::VBias:
      return "self_attn.v_proj.bias";
    case TensorRole::OBias:
      return "self_attn.o_proj.bias";
    case TensorRole::QNorm:
      return "self_attn.q_norm.weight";
    case TensorRole::KNorm:
      return "self_attn.k_norm.weight";
    case TensorRole::Router:
      return mixtral_names(m) ? "block_sparse_moe.gate.weight" : "mlp.gate.weight";
    case TensorRole::Gate:
      return mlp_name(m, id, "gate_proj", "w1", "weight");
    case TensorRole::Up:
      return mlp_name(m, id, "up_proj", "w3", "weight");
    case TensorRole::Down:
      return mlp_name(m, id, "down_proj", "w2", "weight");
    case TensorRole::GateBias:
      return "mlp.gate_proj.bias";
    case TensorRole::UpBias:
      return "mlp.up_proj.bias";
    case TensorRole::DownBias:
      return "mlp.down_proj.bias";
    case TensorRole::SharedGate:
      return "mlp.shared_expert.gate_proj.weight";
    case TensorRole::SharedUp:
      return "mlp.shared_expert.up_proj.weight";
    case TensorRole::SharedDown:
      return "mlp.shared_expert.down_proj.weight";
    case TensorRole::SharedRouter:
      return "mlp.shared_expert_gate.weight";
    case TensorRole::Embedding:
    case TensorRole::FinalNorm:
    case TensorRole::LmHead:
      break;
  }
  CHECK(false, "this role is not in a layer");
  return {};
}

}  // namespace

const char* to_string(TensorRole role) {
  switch (role) {
    case TensorRole::Embedding:
      return "Embedding";
    case TensorRole::InputNorm:
      return "InputNorm";
    case TensorRole::Q:
      return "Q";
    case TensorRole::K:
      return "K";
    case TensorRole::V:
      return "V";
    case TensorRole::QBias:
      return "QBias";
    case TensorRole::KBias:
      return "KBias";
    case TensorRole::VBias:
      return "VBias";
    case TensorRole::OBias:
      return "OBias";
    case TensorRole::QNorm:
      return "QNorm";
    case TensorRole::KNorm:
      return "KNorm";
    case TensorRole::O:
      return "O";
    case TensorRole::PostNorm:
      return "PostNorm";
    case TensorRole::Router:
      return "Router";
    case TensorRole::Gate:
      return "Gate";
    case TensorRole::Up:
      return "Up";
    case TensorRole::Down:
      return "Down";
    case TensorRole::GateBias:
      return "GateBias";
    case TensorRole::UpBias:
      return "UpBias";
    case TensorRole::DownBias:
      return "DownBias";
    case TensorRole::SharedGate:
      return "SharedGate";
    case TensorRole::SharedUp:
      return "SharedUp";
    case TensorRole::SharedDown:
      return "SharedDown";
    case TensorRole::SharedRouter:
      return "SharedRouter";
    case TensorRole::FinalNorm:
      return "FinalNorm";
    case TensorRole::LmHead:
      return "LmHead";
  }
  return "?";
}

std::vector<TensorInfo> model_tensors(const ModelSpec& model) {
  std::vector<TensorInfo> out;
  append_if_found(model, {TensorRole::Embedding, -1, -1}, out);
  for (std::int32_t layer = 0; layer < model.num_layers(); ++layer) append_layer(model, layer, out);
  append_if_found(model, {TensorRole::FinalNorm, -1, -1}, out);
  append_if_found(model, {TensorRole::LmHead, -1, -1}, out);
  return out;
}

TensorInfo tensor_info(const ModelSpec& model, TensorId id) {
  const auto found = find_tensor(model, id);
  CHECK(found.has_value(), "tensor_info: the model has no such tensor");
  return *found;
}

std::string checkpoint_name(const ModelSpec& model, TensorId id) {
  if (id.role == TensorRole::Embedding) return "model.embed_tokens.weight";
  if (id.role == TensorRole::FinalNorm) return "model.norm.weight";
  if (id.role == TensorRole::LmHead) return "lm_head.weight";
  return fmt::format("model.layers.{}.{}", id.layer, name_in_layer(model, id));
}

}  // namespace pentafold
