// Hugging Face config.json -> ModelSpec. Defaults of absent keys are those of the families'
// configuration classes in transformers; where versions differ, of the current one.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/quote.h"
#include "spec/hf_rope.h"
#include "spec/json_reader.h"
#include "spec/load_model.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxExperts = 4096;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;
constexpr std::int64_t kMaxTokenId = std::numeric_limits<std::int32_t>::max();

struct FamilyDefaults {
  const char* model_type;
  Family family;
  double theta;
  double norm_eps;
  std::int64_t max_positions;
  std::int64_t kv_heads;  // when the key is absent; 0: as many as heads
  std::int64_t head_dim;  // when the key is absent; 0: hidden_size / heads
  std::int64_t bos;       // -1: none
  std::int64_t eos;
};
constexpr std::array kFamilies = {
    FamilyDefaults{"mixtral", Family::Mixtral, 1e6, 1e-5, 131072, 8, 0, 1, 2},
    FamilyDefaults{"qwen2_moe", Family::Qwen2Moe, 1e4, 1e-6, 32768, 16, 0, -1, -1},
    FamilyDefaults{"qwen3_moe", Family::Qwen3Moe, 1e4, 1e-6, 32768, 4, 0, -1, -1},
    FamilyDefaults{"olmoe", Family::Olmoe, 1e4, 1e-5, 4096, 0, 0, -1, 50279},
    FamilyDefaults{"llama", Family::Llama, 1e4, 1e-6, 2048, 0, 0, 1, 2},
    FamilyDefaults{"qwen3", Family::Qwen3, 1e4, 1e-6, 32768, 32, 128, -1, -1},
};

Result<FamilyDefaults> find_family(const JsonMap& config) {
  PF_ASSIGN(const std::string type, config.text("model_type", std::nullopt));
  std::string names;
  for (const FamilyDefaults& f : kFamilies) {
    if (type == f.model_type) return f;
    names += (names.empty() ? "" : ", ") + std::string(f.model_type);
  }
  return config.unsupported("model_type",
                            fmt::format("is {}; supported are {}", quote_text(type), names));
}

// What changes arithmetic in ways this program does not do.
Status refuse_unsupported(const JsonMap& config) {
  PF_ASSIGN(const std::string activation, config.text("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish") {
    return config.unsupported(
        "hidden_act", fmt::format("is {}; supported are silu, swish", quote_text(activation)));
  }
  if (config.has("quantization_config")) {
    return config.unsupported("quantization_config",
                              "asks for quantised weights; supported are "
                              "bfloat16, float16 and float32 checkpoints");
  }
  return ok_status();
}

Status read_dtype(const JsonMap& config, ModelSpec& out) {
  const char* key = config.has("dtype") ? "dtype" : "torch_dtype";
  PF_ASSIGN(const std::string name, config.text(key, "bfloat16"));
  if (name == "bfloat16") {
    out.dtype = DType::BF16;
  } else if (name == "float16") {
    out.dtype = DType::F16;
  } else if (name == "float32") {
    out.dtype = DType::F32;
  } else {
    return config.unsupported(
        key, fmt::format("is {}; supported are bfloat16, float16, float32", quote_text(name)));
  }
  return ok_status();
}

Result<std::vector<std::int32_t>> read_ids(const JsonMap& config, const char* key,
                                           std::int64_t default_id) {
  std::vector<std::int32_t> out;
  if (!config.mentions(key)) {
    if (default_id >= 0) out.push_back(static_cast<std::int32_t>(default_id));
    return out;
  }
  PF_ASSIGN(const auto ids, config.integers(key, 0, kMaxTokenId));
  for (const std::int64_t id : ids) out.push_back(static_cast<std::int32_t>(id));
  return out;
}

Status read_widths(const JsonMap& config, const FamilyDefaults& family, ModelSpec& out) {
  PF_ASSIGN(out.vocab, config.integer("vocab_size", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(out.d, config.integer("hidden_size", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(out.heads, config.integer("num_attention_heads", std::nullopt, 1, kMaxWidth));
  PF_ASSIGN(const std::int64_t layers,
            config.integer("num_hidden_layers", std::nullopt, 1, kMaxLayers));
  out.layers.resize(static_cast<std::size_t>(layers));

  const bool kv_absent = !config.mentions("num_key_value_heads") && family.kv_heads > 0;
  PF_ASSIGN(out.kv_heads, config.integer("num_key_value_heads",
                                         kv_absent ? family.kv_heads : out.heads, 1, out.heads));
  const bool head_dim_absent = !config.mentions("head_dim") && family.head_dim > 0;
  if (!config.has("head_dim") && !head_dim_absent && out.d % out.heads != 0) {
    return config.invalid("hidden_size",
                          fmt::format("{} is not a multiple of the {} attention heads, "
                                      "and no head_dim is given",
                                      out.d, out.heads));
  }
  PF_ASSIGN(out.head_dim,
            config.integer("head_dim", head_dim_absent ? family.head_dim : out.d / out.heads, 1,
                           kMaxWidth));
  PF_ASSIGN(out.max_positions,
            config.integer("max_position_embeddings", family.max_positions, 1, kMaxPositions));
  return ok_status();
}

// transformers 5 saves some families' expert count under the other name.
Result<std::int64_t> read_experts(const JsonMap& config, std::int64_t least) {
  const bool both = config.has("num_experts") && config.has("num_local_experts");
  const char* key = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  PF_ASSIGN(const std::int64_t experts, config.integer(key, std::nullopt, least, kMaxExperts));
  if (both) {
    PF_ASSIGN(const std::int64_t other,
              config.integer("num_experts", std::nullopt, least, kMaxExperts));
    if (other != experts) {
      return config.invalid(
          "num_experts",
          fmt::format("is {}, but num_local_experts is {}; keep one", other, experts));
    }
  }
  return experts;
}

// Which layers of a Qwen MoE hold experts.
Status read_qwen_layers(const JsonMap& config, ModelSpec& out) {
  PF_ASSIGN(const std::int64_t step, config.integer("decoder_sparse_step", 1, 1, kMaxLayers));
  PF_ASSIGN(const auto dense, config.integers("mlp_only_layers", 0, out.num_layers() - 1));
  for (std::int64_t i = 0; i < out.num_layers(); ++i) {
    const bool named = std::find(dense.begin(), dense.end(), i) != dense.end();
    out.layers[static_cast<std::size_t>(i)].moe = out.experts > 0 && !named && (i + 1) % step == 0;
  }
  const auto is_moe = [](const LayerSpec& layer) { return layer.moe; };
  if (std::none_of(out.layers.begin(), out.layers.end(), is_moe)) out.experts = 0;
  return ok_status();
}

Status read_mlp(const JsonMap& config, ModelSpec& out) {
  const bool qwen_moe = out.family == Family::Qwen2Moe || out.family == Family::Qwen3Moe;
  const bool moe = qwen_moe || out.family == Family::Mixtral || out.family == Family::Olmoe;
  const auto width = [&](const char* key, std::int64_t min) {
    return config.integer(key, std::nullopt, min, kMaxWidth);
  };
  if (!moe) {
    PF_ASSIGN(out.dense_hidden, width("intermediate_size", 1));
    if (out.family == Family::Llama) {
      PF_ASSIGN(out.mlp_bias, config.boolean("mlp_bias", false));
    }
    return ok_status();
  }
  PF_ASSIGN(out.experts, read_experts(config, qwen_moe ? 0 : 1));
  if (qwen_moe) {
    PF_TRY(read_qwen_layers(config, out));
  } else {
    for (LayerSpec& layer : out.layers) layer.moe = true;
  }
  const bool all_moe = std::all_of(out.layers.begin(), out.layers.end(),
                                   [](const LayerSpec& layer) { return layer.moe; });
  if (!all_moe) {
    PF_ASSIGN(out.dense_hidden, width("intermediate_size", 1));
  }
  if (out.experts == 0) return ok_status();
  PF_ASSIGN(out.top_k, config.integer("num_experts_per_tok", std::nullopt, 1, out.experts));
  PF_ASSIGN(out.expert_hidden, width(qwen_moe ? "moe_intermediate_size" : "intermediate_size", 1));
  if (out.family == Family::Qwen2Moe) {
    PF_ASSIGN(out.shared_hidden, width("shared_expert_intermediate_size", 0));
    out.shared_gate = out.shared_hidden > 0;
  }
  if (out.family != Family::Mixtral) {  // Mixtral always renormalises
    PF_ASSIGN(out.norm_topk, config.boolean("norm_topk_prob", false));
  }
  return ok_status();
}

Status read_attention(const JsonMap& config, ModelSpec& out) {
  switch (out.family) {
    case Family::Qwen2Moe: {
      PF_ASSIGN(out.qkv_bias, config.boolean("qkv_bias", true));
      break;
    }
    case Family::Qwen3Moe:
    case Family::Qwen3:
    case Family::Olmoe:
    case Family::Llama: {
      PF_ASSIGN(out.qkv_bias, config.boolean("attention_bias", false));
      out.o_bias = out.qkv_bias;
      break;
    }
    case Family::Mixtral:
    case Family::Synthetic:
      break;
  }
  if (out.family == Family::Qwen3 || out.family == Family::Qwen3Moe) out.qk_norm = QkNorm::PerHead;
  if (out.family == Family::Olmoe) {
    out.qk_norm = QkNorm::FullWidth;
    if (config.has("clip_qkv")) {
      PF_ASSIGN(out.clip_qkv, config.number("clip_qkv", std::nullopt));
    }
    if (config.has("sliding_window")) {
      return config.unsupported("sliding_window", "is set, but OLMoE has no window; remove it");
    }
  }
  return ok_status();
}

// Whether layer `i` of a Qwen model uses the window, when the config does not list layer_types.
bool qwen_default_window(Family family, std::int64_t i, std::int64_t max_window_layers) {
  if (family == Family::Qwen2Moe) return i % 2 == 0 && i < max_window_layers;
  if (family == Family::Qwen3) return i >= max_window_layers;
  return true;  // Qwen3-MoE: every layer
}

Status read_windows(const JsonMap& config, ModelSpec& out) {
  const bool mixtral = out.family == Family::Mixtral;
  const bool qwen = out.family == Family::Qwen2Moe || out.family == Family::Qwen3Moe ||
                    out.family == Family::Qwen3;
  if (!mixtral && !qwen) return ok_status();
  bool used = config.has("sliding_window");
  if (qwen) {
    PF_ASSIGN(const bool wanted, config.boolean("use_sliding_window", false));
    const bool absent = !config.mentions("sliding_window");  // the default is 4096; null is none
    used = wanted && (used || absent);
  }
  std::int64_t window = 0;
  if (used) {
    PF_ASSIGN(window, config.integer("sliding_window", 4096, 1, kMaxPositions));
  }
  PF_ASSIGN(const std::int64_t max_window_layers,
            config.integer("max_window_layers", 28, 0, kMaxPositions));
  const bool typed = out.family == Family::Qwen2Moe || out.family == Family::Qwen3;
  std::vector<std::string> types;
  if (typed) {
    PF_ASSIGN(types, config.texts("layer_types"));
  }
  if (!types.empty() && types.size() != out.layers.size()) {
    return config.invalid("layer_types", fmt::format("has {} entries for {} layers", types.size(),
                                                     out.layers.size()));
  }
  for (std::int64_t i = 0; i < out.num_layers(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    bool slides = used && (mixtral || qwen_default_window(out.family, i, max_window_layers));
    if (!types.empty()) {
      slides = types[at] == "sliding_attention";
      if (!slides && types[at] != "full_attention") {
        return config.unsupported(
            "layer_types", fmt::format("holds {}; supported are full_attention, sliding_attention",
                                       quote_text(types[at])));
      }
      if (slides && !used) {
        return config.invalid("layer_types",
                              "names sliding_attention, but no sliding_window is in use");
      }
    }
    out.layers[at].sliding_window = slides ? window : 0;
  }
  return ok_status();
}

}  // namespace

Result<ModelSpec> parse_hf_config(const std::string& json_text, const std::string& file) {
  PF_ASSIGN(const nlohmann::json document, parse_json(json_text, file));
  PF_ASSIGN(const JsonMap config, JsonMap::of(document, file));
  PF_ASSIGN(const FamilyDefaults family, find_family(config));
  PF_TRY(refuse_unsupported(config));

  ModelSpec out;
  out.name = family.model_type;
  out.family = family.family;
  PF_TRY(read_dtype(config, out));
  PF_TRY(read_widths(config, family, out));
  PF_TRY(read_mlp(config, out));
  PF_TRY(read_attention(config, out));
  PF_TRY(read_windows(config, out));
  PF_ASSIGN(out.rope, read_rope(config, family.theta, out.max_positions));
  PF_ASSIGN(out.norm_eps, config.number("rms_norm_eps", family.norm_eps));
  PF_ASSIGN(out.tied_embeddings, config.boolean("tie_word_embeddings", false));
  PF_ASSIGN(out.bos_ids, read_ids(config, "bos_token_id", family.bos));
  PF_ASSIGN(out.eos_ids, read_ids(config, "eos_token_id", family.eos));
  PF_TRY(validate(out, file));
  return out;
}

}  // namespace pentafold
