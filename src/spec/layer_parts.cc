#include "spec/layer_parts.h"

#include <fmt/format.h>

#include <algorithm>

namespace pentafold {
namespace {

constexpr std::int64_t kOutOfBounds = 4'000'000'000'000'000'000;
constexpr auto kAttention = WeightPart::Attention;

double real(std::int64_t value) {
  return static_cast<double>(value);
}

struct MixerBuilder {
  LayerParts& parts;

  MixerShape& mixer() const { return parts.layer.mixer; }
  std::int64_t d() const { return parts.d; }
  void weight(const char* name, std::initializer_list<std::int64_t> dims, Split split) const {
    parts.add(name, dims, split, kAttention);
  }
  void vector(const char* name, std::initializer_list<std::int64_t> dims, Split split) const {
    parts.add_vector(name, dims, split, kAttention);
  }
  void norm(const char* name, std::initializer_list<std::int64_t> dims, Split split) const {
    parts.add_vector(name, dims, split, WeightPart::Norm);
  }

  void operator()(const NoMixer&) const { mixer().kind = MixerKind::None; }

  void operator()(const AttentionDims& a) const {
    const std::int64_t q = a.heads * a.head_dim;
    const std::int64_t kv = a.kv_heads * a.head_dim;
    weight("q_proj", {a.output_gate ? 2 : 1, d(), q}, Split::Tensor);
    weight("k_proj", {d(), kv}, Split::KvHeads);
    weight("v_proj", {d(), kv}, Split::KvHeads);
    weight("o_proj", {q, d()}, Split::Tensor);
    if (a.qkv_bias) {
      vector("q_bias", {a.output_gate ? 2 : 1, q}, Split::Tensor);
      vector("kv_bias", {2, kv}, Split::KvHeads);
    }
    if (a.o_bias) vector("o_bias", {d()}, Split::None);
    if (a.sinks) vector("sinks", {a.heads}, Split::Tensor);
    if (a.qk_norm == QkNorm::PerHead) norm("qk_norm", {2, a.head_dim}, Split::None);
    if (a.qk_norm == QkNorm::FullWidth) {
      norm("q_norm", {q}, Split::Tensor);
      norm("k_norm", {kv}, Split::KvHeads);
    }
    if (a.cross) {
      weight("cross.q_proj", {d(), q}, Split::Tensor);
      weight("cross.kv_proj", {2, d(), kv}, Split::KvHeads);
      weight("cross.o_proj", {q, d()}, Split::Tensor);
    }
    MixerShape& m = mixer();
    m.heads = a.heads;
    m.kv_heads = a.kv_heads;
    m.kv_values = 2 * kv;
    m.window = a.window;
    m.prefill_pair_flops = m.decode_pair_flops = 4.0 * real(q);
  }

  void indexer(std::int64_t heads, std::int64_t dim, std::int64_t rank) const {
    weight("indexer.q_proj", {rank, heads, dim}, Split::None);
    weight("indexer.weights", {d(), heads}, Split::None);
  }

  void operator()(const LatentDims& a) const {
    if (a.q_rank > 0) {
      weight("q_a_proj", {d(), a.q_rank}, Split::None);
      norm("q_a_norm", {a.q_rank}, Split::None);
    }
    weight(a.q_rank > 0 ? "q_b_proj" : "q_proj",
           {a.q_rank > 0 ? a.q_rank : d(), a.heads, a.nope + a.rope}, Split::Tensor);
    weight("kv_a_proj", {d(), a.kv_rank + a.rope}, Split::None);
    norm("kv_a_norm", {a.kv_rank}, Split::None);
    weight("kv_b_proj", {a.kv_rank, a.heads, a.nope + a.v}, Split::Tensor);
    weight("o_proj", {a.heads, a.v, d()}, Split::Tensor);
    MixerShape& m = mixer();
    m.kind = MixerKind::Latent;
    m.heads = a.heads;
    m.kv_heads = 1;
    m.kv_values = a.kv_rank + a.rope;
    m.prefill_pair_flops = 2.0 * real(a.heads) * real(a.nope + a.rope + a.v);
    m.decode_pair_flops = 2.0 * real(a.heads) * real(2 * a.kv_rank + a.rope);
    if (a.index_heads == 0) return;
    indexer(a.index_heads, a.index_dim, a.q_rank > 0 ? a.q_rank : d());
    weight("indexer.k_proj", {d(), a.index_dim}, Split::None);
    norm("indexer.k_norm", {2, a.index_dim}, Split::None);
    m.kv_values += a.index_dim;
    m.selected = a.index_top_k;
    m.index_pair_flops = 2.0 * real(a.index_heads) * real(a.index_dim);
  }

  // Keys and a gate for each token, pooled over a block with a learned weight per place in it.
  struct CompressorNames {
    const char* kv;
    const char* gate;
    const char* places;
    const char* norm;
  };
  void compressor(const CompressorNames& names, std::int64_t width, const CompressedDims& a) const {
    const std::int64_t latent = a.overlap ? 2 * width : width;
    weight(names.kv, {d(), latent}, Split::None);
    weight(names.gate, {d(), latent}, Split::None);
    vector(names.places, {a.ratio, latent}, Split::None);
    norm(names.norm, {width}, Split::None);
    // Sums of the open block, fp32: counted twice because the state's format is bf16.
    mixer().state_values += bounded_product({2, 2, a.ratio, latent});
  }

  void operator()(const CompressedDims& a) const {
    weight("q_a_proj", {d(), a.q_rank}, Split::None);
    norm("q_a_norm", {a.q_rank}, Split::None);
    weight("q_b_proj", {a.q_rank, a.heads, a.head_dim}, Split::Tensor);
    weight("kv_proj", {d(), a.head_dim}, Split::None);
    norm("kv_norm", {a.head_dim}, Split::None);
    weight("o_a_proj", {a.heads, a.head_dim, a.o_rank}, Split::Tensor);
    weight("o_b_proj", {a.o_groups, a.o_rank, d()}, Split::Tensor);
    vector("sinks", {a.heads}, Split::Tensor);
    MixerShape& m = mixer();
    m.kind = MixerKind::Latent;
    m.heads = a.heads;
    m.kv_heads = 1;
    m.state_format = NumberFormat::BF16;
    m.state_values = bounded_product({a.window, a.head_dim});
    const double latent_flops = 4.0 * real(a.heads) * real(a.head_dim);
    m.token_flops = latent_flops * real(a.window);
    if (a.ratio == 0) return;
    const std::int64_t kept = a.head_dim + (a.index_heads > 0 ? a.index_dim : 0);
    m.kv_values = (kept + a.ratio - 1) / a.ratio;
    m.prefill_pair_flops = m.decode_pair_flops = latent_flops / real(a.ratio);
    compressor({"compressor.kv", "compressor.gate", "compressor.places", "compressor.norm"},
               a.head_dim, a);
    if (a.index_heads == 0) return;
    indexer(a.index_heads, a.index_dim, a.q_rank);
    compressor({"indexer.kv", "indexer.gate", "indexer.places", "indexer.norm"}, a.index_dim, a);
    m.selected = bounded_product({a.index_top_k, a.ratio});
    m.index_pair_flops = 2.0 * real(a.index_heads) * real(a.index_dim) / real(a.ratio);
  }

  void operator()(const LightningDims& a) const {
    const std::int64_t width = a.heads * a.head_dim;
    weight("qkv_proj", {3, d(), width}, Split::Tensor);
    weight("output_gate", {d(), width}, Split::Tensor);
    weight("o_proj", {width, d()}, Split::Tensor);
    norm("output_norm", {width}, Split::Tensor);
    MixerShape& m = mixer();
    m.kind = MixerKind::Linear;
    m.heads = m.kv_heads = a.heads;
    m.state_values = bounded_product({a.heads, a.head_dim, a.head_dim});
    m.token_flops = 4.0 * real(m.state_values);  // add k v^T, read with q
  }

  void operator()(const DeltaDims& a) const {
    const std::int64_t key = a.key_heads * a.key_dim;
    const std::int64_t value = a.value_heads * a.value_dim;
    weight("qkvz_proj", {2, d(), key + value}, Split::Tensor);
    weight("ba_proj", {2, d(), a.value_heads}, Split::Tensor);
    vector("conv", {2 * key + value, a.conv}, Split::Tensor);
    vector("decay", {2, a.value_heads}, Split::Tensor);
    norm("output_norm", {a.value_dim}, Split::None);
    weight("o_proj", {value, d()}, Split::Tensor);
    MixerShape& m = mixer();
    m.kind = MixerKind::Linear;
    m.heads = m.kv_heads = a.key_heads;
    const std::int64_t state = bounded_product({a.value_heads, a.key_dim, a.value_dim});
    m.state_values = state + bounded_product({2 * key + value, a.conv - 1});
    // Decay, read with k, add the difference, read with q; and the convolution.
    m.token_flops = 7.0 * real(state) + 2.0 * real(2 * key + value) * real(a.conv);
  }

  void operator()(const MambaDims& a) const {
    weight("in_proj", {2, d(), a.inner}, Split::Tensor);
    vector("conv", {a.inner, a.conv + 1}, Split::Tensor);
    weight("x_proj", {a.inner, a.dt_rank + 2 * a.state}, Split::Tensor);
    norm("dt_b_c_norms", {a.dt_rank + 2 * a.state}, Split::None);
    weight("dt_proj", {a.dt_rank, a.inner}, Split::Tensor);
    vector("dt_bias", {a.inner}, Split::Tensor);
    vector("decay", {a.inner, a.state}, Split::Tensor);
    vector("skip", {a.inner}, Split::Tensor);
    weight("out_proj", {a.inner, d()}, Split::Tensor);
    state_space(a.inner, bounded_product({a.inner, a.state}), a.inner, a.conv);
  }

  void operator()(const Mamba2Dims& a) const {
    const std::int64_t inner = a.heads * a.head_dim;
    const std::int64_t mixed = inner + 2 * a.groups * a.state;  // x, B and C pass the convolution
    weight("in_proj", {d(), inner + mixed + a.heads}, Split::Tensor);
    vector("conv", {mixed, a.conv + 1}, Split::Tensor);
    vector("decay_skip_dt", {3, a.heads}, Split::Tensor);
    norm("output_norm", {inner}, Split::Tensor);
    weight("out_proj", {inner, d()}, Split::Tensor);
    state_space(a.heads, bounded_product({inner, a.state}), mixed, a.conv);
  }

  void state_space(std::int64_t ways, std::int64_t state, std::int64_t mixed,
                   std::int64_t conv) const {
    MixerShape& m = mixer();
    m.kind = MixerKind::StateSpace;
    m.heads = m.kv_heads = ways;
    m.state_values = state + bounded_product({mixed, conv - 1});
    // Decay, add B x, read with C; and the convolution.
    m.token_flops = 5.0 * real(state) + 2.0 * real(mixed) * real(conv);
  }
};

}  // namespace

std::int64_t bounded_product(std::initializer_list<std::int64_t> factors) {
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (factor <= 0) return 0;
    product = product > kOutOfBounds / factor ? kOutOfBounds : product * factor;
  }
  return product;
}

void LayerParts::add(const char* name, std::initializer_list<std::int64_t> dims, Split split,
                     WeightPart part) {
  const std::int64_t params = bounded_product(dims);
  if (params > 0) layer.weights.push_back({name, params, split, part, true});
}

void LayerParts::add_vector(const char* name, std::initializer_list<std::int64_t> dims, Split split,
                            WeightPart part) {
  const std::int64_t params = bounded_product(dims);
  if (params > 0) layer.weights.push_back({name, params, split, part, false});
}

void add_mixer(const MixerDims& mixer, LayerParts& parts) {
  std::visit(MixerBuilder{parts}, mixer);
}

std::optional<std::string> mixer_problem(const MixerDims& mixer) {
  if (const auto* a = std::get_if<AttentionDims>(&mixer)) {
    if (a->kv_heads < 1 || a->heads % a->kv_heads != 0) {
      return fmt::format("{} attention heads cannot share {} KV heads evenly", a->heads,
                         a->kv_heads);
    }
  }
  if (const auto* a = std::get_if<LatentDims>(&mixer)) {
    if (a->index_heads > 0 && (a->index_dim < 1 || a->index_top_k < 1)) {
      return "has a sparse indexer without a width or without a number of keys to select";
    }
  }
  if (const auto* a = std::get_if<CompressedDims>(&mixer)) {
    if (a->o_groups < 1 || a->heads % a->o_groups != 0) {
      return fmt::format("{} attention heads cannot form {} output groups evenly", a->heads,
                         a->o_groups);
    }
    if (a->index_heads > 0 && (a->index_dim < 1 || a->index_top_k < 1)) {
      return "has a sparse indexer without a width or without a number of keys to select";
    }
  }
  if (const auto* a = std::get_if<DeltaDims>(&mixer)) {
    if (a->key_heads < 1 || a->value_heads % a->key_heads != 0) {
      return fmt::format("{} value heads cannot share {} key heads evenly", a->value_heads,
                         a->key_heads);
    }
  }
  return std::nullopt;
}

}  // namespace pentafold
