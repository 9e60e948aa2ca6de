#include "spec/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/units.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxHeads = 65536;
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxExperts = 4096;
constexpr std::int64_t kMaxLayersTimesExperts = std::int64_t{1} << 20;
constexpr double kMaxParams = 1e18;
constexpr double kDeclarationTolerance = 0.01;

struct Bound {
  const char* name;
  std::int64_t value;
  std::int64_t min;
  std::int64_t max;
};

std::optional<std::string> bounds_problem(const ModelSpec& m) {
  const std::int64_t moe = m.has_experts() ? 1 : 0;
  const bool dense = std::any_of(m.layers.begin(), m.layers.end(),
                                 [](const LayerSpec& layer) { return !layer.moe; });
  const Bound bounds[] = {
      {"the vocabulary", m.vocab, 1, kMaxWidth},
      {"the hidden width (d)", m.d, 1, kMaxWidth},
      {"the number of attention heads", m.heads, 1, kMaxHeads},
      {"the number of KV heads", m.kv_heads, 1, m.heads},
      {"head_dim", m.head_dim, 2, kMaxHeads},
      {"heads x head_dim", m.q_width(), 2, kMaxWidth},
      {"the number of layers", m.num_layers(), 1, kMaxLayers},
      {"the number of experts", m.experts, 0, kMaxExperts},
      {"the hidden width of an expert", m.expert_hidden, moe, kMaxWidth},
      {"experts per token (top_k)", m.top_k, moe, m.experts},
      {"the hidden width of the dense layers", m.dense_hidden, dense ? 1 : 0, kMaxWidth},
      {"the hidden width of the shared expert", m.shared_hidden, 0, moe * kMaxWidth},
      {"layers x experts", m.num_layers() * m.experts, 0, kMaxLayersTimesExperts},
      {"the number of positions", m.max_positions, 0, std::int64_t{1} << 40},
  };
  for (const Bound& b : bounds) {
    if (b.value < b.min || b.value > b.max) {
      return fmt::format("{} is {}, which is not between {} and {}", b.name, b.value, b.min, b.max);
    }
  }
  return std::nullopt;
}

std::optional<std::string> shape_problem(const ModelSpec& m) {
  if (m.heads % m.kv_heads != 0) {
    return fmt::format("{} attention heads cannot share {} KV heads evenly; choose a divisor of {}",
                       m.heads, m.kv_heads, m.heads);
  }
  if (m.head_dim % 2 != 0) {
    return fmt::format("head_dim is {}, but rotary embeddings turn pairs; it must be even",
                       m.head_dim);
  }
  const auto moe_layers = std::count_if(m.layers.begin(), m.layers.end(),
                                        [](const LayerSpec& layer) { return layer.moe; });
  if (m.has_experts() && moe_layers == 0) {
    return fmt::format("declares {} experts, but none of its {} layers holds experts", m.experts,
                       m.num_layers());
  }
  if (!m.has_experts() && moe_layers > 0) {
    return fmt::format("{} layers hold experts, but the number of experts is 0", moe_layers);
  }
  if (m.shared_gate && m.shared_hidden == 0) {
    return "has a gate for a shared expert, but the shared expert has width 0";
  }
  for (std::size_t i = 0; i < m.layers.size(); ++i) {
    if (m.layers[i].sliding_window < 0) {
      return fmt::format("the sliding window of layer {} is {}; it must be positive, or 0 for none",
                         i, m.layers[i].sliding_window);
    }
  }
  return std::nullopt;
}

// NaN fails every comparison, so it is refused too.
bool within(double value, double min, double max) {
  return value >= min && value <= max;
}

std::optional<std::string> number_problem(const ModelSpec& m) {
  const RopeSpec& r = m.rope;
  const auto problem = [](const char* name, double value, const char* wanted) {
    return fmt::format("{} is {}; it must be {}", name, value, wanted);
  };
  if (!within(m.norm_eps, 1e-30, 1.0)) {
    return problem("the norm's epsilon", m.norm_eps, "above 0 and at most 1");
  }
  if (m.clip_qkv && !within(*m.clip_qkv, 1e-30, 1e30)) {
    return problem("clip_qkv", *m.clip_qkv, "a positive number");
  }
  if (!within(r.theta, 1.0, 1e18)) return problem("rope theta", r.theta, "between 1 and 1e18");
  if (r.scaling == RopeScaling::None) return std::nullopt;
  if (!within(r.factor, 1.0, 1e6)) {
    return problem("the rope scaling factor", r.factor, "between 1 and 1e6");
  }
  if (r.scaling == RopeScaling::Linear) return std::nullopt;
  if (r.original_max_position <= 0) {
    return "rope scaling needs original_max_position_embeddings above 0";
  }
  if (r.scaling == RopeScaling::Llama3 &&
      !(within(r.low_freq_factor, 1e-6, 1e6) && within(r.high_freq_factor, 1e-6, 1e6) &&
        r.low_freq_factor < r.high_freq_factor)) {
    return fmt::format("rope low_freq_factor {} must be below high_freq_factor {}, both positive",
                       r.low_freq_factor, r.high_freq_factor);
  }
  if (r.scaling == RopeScaling::Yarn) {
    if (!(within(r.beta_slow, 1e-6, 1e6) && within(r.beta_fast, 1e-6, 1e6) &&
          r.beta_slow < r.beta_fast)) {
      return fmt::format("rope beta_slow {} must be below beta_fast {}, both positive", r.beta_slow,
                         r.beta_fast);
    }
    if (!within(r.attention_factor, 1e-6, 1e6)) {
      return problem("rope attention_factor", r.attention_factor, "a positive number");
    }
  }
  return std::nullopt;
}

std::optional<std::string> token_problem(const ModelSpec& m) {
  for (const std::int32_t id : m.bos_ids) {
    if (id < 0 || id >= m.vocab) {
      return fmt::format("the begin-of-text id {} is outside the vocabulary of {}", id, m.vocab);
    }
  }
  for (const std::int32_t id : m.eos_ids) {
    if (id < 0) return fmt::format("the end-of-text id {} is negative", id);
  }
  return std::nullopt;
}

// Of one MLP: 2 or 3 matrices.
std::int64_t mlp_params(const ModelSpec& m, std::int64_t hidden) {
  return (m.gated_mlp ? 3 : 2) * m.d * hidden;
}

std::int64_t attention_params(const ModelSpec& m) {
  std::int64_t n = 2 * m.d * m.q_width() + 2 * m.d * m.kv_width();
  if (m.qkv_bias) n += m.q_width() + 2 * m.kv_width();
  if (m.o_bias) n += m.d;
  if (m.qk_norm == QkNorm::PerHead) n += 2 * m.head_dim;
  if (m.qk_norm == QkNorm::FullWidth) n += m.q_width() + m.kv_width();
  return n;
}

// Of one layer, with `experts` of its experts counted.
std::int64_t layer_params(const ModelSpec& m, const LayerSpec& layer, std::int64_t experts) {
  std::int64_t n = attention_params(m) + 2 * m.d;  // and the two norms
  if (!layer.moe) {
    n += mlp_params(m, m.dense_hidden);
    if (m.mlp_bias) n += (m.gated_mlp ? 2 : 1) * m.dense_hidden + m.d;
    return n;
  }
  n += m.experts * m.d + experts * mlp_params(m, m.expert_hidden);
  if (m.shared_hidden > 0) n += mlp_params(m, m.shared_hidden);
  if (m.shared_gate) n += m.d;
  return n;
}

// An upper bound in floating point, to refuse what would overflow before it is counted.
double rough_params(const ModelSpec& m) {
  const auto f = [](std::int64_t v) { return static_cast<double>(v); };
  const double hidden = f(m.experts) * f(m.expert_hidden) + f(m.shared_hidden) + f(m.dense_hidden);
  const double layer = 4.0 * f(m.d) * f(m.q_width()) + 3.0 * f(m.d) * hidden +
                       f(m.d) * f(m.experts + 8) + 8.0 * f(m.q_width());
  return 2.0 * f(m.vocab) * f(m.d) + f(m.num_layers()) * layer;
}

}  // namespace

const char* to_string(Family family) {
  switch (family) {
    case Family::Mixtral:
      return "mixtral";
    case Family::Qwen2Moe:
      return "qwen2_moe";
    case Family::Qwen3Moe:
      return "qwen3_moe";
    case Family::Olmoe:
      return "olmoe";
    case Family::Llama:
      return "llama";
    case Family::Qwen3:
      return "qwen3";
    case Family::Synthetic:
      return "synthetic";
  }
  return "?";
}

std::int64_t ModelSpec::mlp_leaves(std::int64_t hidden) {
  return std::gcd(hidden, std::int64_t{48});
}

Status validate(const ModelSpec& model, const std::string& file) {
  std::optional<std::string> problem = bounds_problem(model);
  if (!problem) problem = shape_problem(model);
  if (!problem) problem = number_problem(model);
  if (!problem) problem = token_problem(model);
  if (!problem && rough_params(model) > kMaxParams) {
    problem = "has more than 1e18 parameters; check its widths";
  }
  if (!problem) return ok_status();
  return make_error(ErrorCode::InvalidSpec, *std::move(problem), file);
}

ParamCounts count_params(const ModelSpec& model) {
  ParamCounts counts;
  for (const LayerSpec& layer : model.layers) {
    counts.total += layer_params(model, layer, model.experts);
    counts.active += layer_params(model, layer, model.top_k);
  }
  const std::int64_t outside =
      (model.tied_embeddings ? 1 : 2) * model.vocab * model.d + model.d;  // and the final norm
  counts.total += outside;
  counts.active += outside;
  return counts;
}

std::optional<std::string> declaration_contradiction(const ModelSpec& model) {
  if (!model.declared_total_params) return std::nullopt;
  const double declared = *model.declared_total_params;
  const auto counted = static_cast<double>(count_params(model).total);
  if (std::abs(declared - counted) <= kDeclarationTolerance * counted) return std::nullopt;
  const double ratio = std::max(declared, counted) / std::min(declared, counted);
  const std::string how_much =
      ratio < 1.5 ? fmt::format("{:.1f} %", (ratio - 1.0) * 100.0) : fmt::format("{:.1f}x", ratio);
  return fmt::format("declares {} parameters, its dimensions give {} ({} {})",
                     format_count(declared), format_count(counted), how_much,
                     counted < declared ? "less" : "more");
}

std::int64_t kv_bytes_per_token(const ModelSpec& model, DType dtype) {
  return 2 * model.num_layers() * model.kv_width() * static_cast<std::int64_t>(size_of(dtype));
}

}  // namespace pentafold
