#include "spec/catalog_layers.h"

#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace pentafold {
namespace {

constexpr std::int64_t kWidth = kMaxShapeWidth;
constexpr std::int64_t kHeads = kMaxShapeHeads;
constexpr std::int64_t kRequired = -1;
constexpr std::array<std::string_view, 3> kNorms = {"none", "per_head", "full_width"};

struct Field {
  std::string_view key;
  std::int64_t* to;
  std::int64_t max;
  std::int64_t default_value = kRequired;  // a required number is at least 1
};
struct Flag {
  std::string_view key;
  bool* to;
};
struct Fields {
  std::vector<Field> numbers;
  std::vector<Flag> flags;
  std::vector<std::string_view> others;  // read by the caller
};

Status read_fields(const YamlMap& map, const Fields& fields) {
  std::vector<std::string_view> known = fields.others;
  for (const Field& f : fields.numbers) known.push_back(f.key);
  for (const Flag& f : fields.flags) known.push_back(f.key);
  PF_TRY(map.refuse_unknown(known));
  for (const Field& f : fields.numbers) {
    const bool required = f.default_value == kRequired;
    PF_ASSIGN(*f.to, map.integer(f.key, required ? std::nullopt : std::optional(f.default_value),
                                 required ? 1 : 0, f.max));
  }
  for (const Flag& f : fields.flags) {
    PF_ASSIGN(*f.to, map.boolean(f.key, false));
  }
  return ok_status();
}

Result<MixerDims> read_attention(const YamlMap& map) {
  AttentionDims a;
  PF_TRY(read_fields(map, {{{"heads", &a.heads, kHeads},
                            {"kv_heads", &a.kv_heads, kHeads},
                            {"head_dim", &a.head_dim, kHeads},
                            {"window", &a.window, kMaxShapePositions, 0}},
                           {{"qkv_bias", &a.qkv_bias},
                            {"o_bias", &a.o_bias},
                            {"output_gate", &a.output_gate},
                            {"sinks", &a.sinks},
                            {"cross", &a.cross}},
                           {"type", "qk_norm"}}));
  PF_ASSIGN(const std::size_t norm, map.choice("qk_norm", kNorms, 0));
  a.qk_norm = std::array{QkNorm::None, QkNorm::PerHead, QkNorm::FullWidth}[norm];
  return MixerDims(a);
}

Result<MixerDims> read_latent(const YamlMap& map) {
  LatentDims a;
  PF_TRY(read_fields(map, {{{"heads", &a.heads, kHeads},
                            {"q_rank", &a.q_rank, kWidth, 0},
                            {"kv_rank", &a.kv_rank, kWidth},
                            {"nope_dim", &a.nope, kHeads},
                            {"rope_dim", &a.rope, kHeads},
                            {"v_dim", &a.v, kHeads},
                            {"index_heads", &a.index_heads, kHeads, 0},
                            {"index_dim", &a.index_dim, kHeads, 0},
                            {"index_top_k", &a.index_top_k, kWidth, 0}},
                           {},
                           {"type"}}));
  return MixerDims(a);
}

Result<MixerDims> read_compressed(const YamlMap& map) {
  CompressedDims a;
  PF_TRY(read_fields(map, {{{"heads", &a.heads, kHeads},
                            {"head_dim", &a.head_dim, kHeads},
                            {"q_rank", &a.q_rank, kWidth},
                            {"o_rank", &a.o_rank, kWidth},
                            {"o_groups", &a.o_groups, kHeads},
                            {"window", &a.window, kWidth},
                            {"ratio", &a.ratio, kHeads, 0},
                            {"index_heads", &a.index_heads, kHeads, 0},
                            {"index_dim", &a.index_dim, kHeads, 0},
                            {"index_top_k", &a.index_top_k, kWidth, 0}},
                           {{"overlap", &a.overlap}},
                           {"type"}}));
  return MixerDims(a);
}

Result<MixerDims> read_lightning(const YamlMap& map) {
  LightningDims a;
  PF_TRY(read_fields(
      map, {{{"heads", &a.heads, kHeads}, {"head_dim", &a.head_dim, kHeads}}, {}, {"type"}}));
  return MixerDims(a);
}

Result<MixerDims> read_delta(const YamlMap& map) {
  DeltaDims a;
  PF_TRY(read_fields(map, {{{"key_heads", &a.key_heads, kHeads},
                            {"value_heads", &a.value_heads, kHeads},
                            {"key_dim", &a.key_dim, kHeads},
                            {"value_dim", &a.value_dim, kHeads},
                            {"conv", &a.conv, kHeads}},
                           {},
                           {"type"}}));
  return MixerDims(a);
}

Result<MixerDims> read_mamba(const YamlMap& map) {
  MambaDims a;
  PF_TRY(read_fields(map, {{{"inner", &a.inner, kWidth},
                            {"state", &a.state, kHeads},
                            {"conv", &a.conv, kHeads},
                            {"dt_rank", &a.dt_rank, kWidth}},
                           {},
                           {"type"}}));
  return MixerDims(a);
}

Result<MixerDims> read_mamba2(const YamlMap& map) {
  Mamba2Dims a;
  PF_TRY(read_fields(map, {{{"heads", &a.heads, kHeads},
                            {"head_dim", &a.head_dim, kHeads},
                            {"groups", &a.groups, kHeads},
                            {"state", &a.state, kHeads},
                            {"conv", &a.conv, kHeads}},
                           {},
                           {"type"}}));
  return MixerDims(a);
}

}  // namespace

Result<MixerDims> read_catalog_mixer(const YamlMap& map) {
  constexpr std::array<std::string_view, 7> kTypes = {
      "attention", "latent", "compressed", "lightning", "delta", "mamba", "mamba2"};
  constexpr std::array kReaders = {read_attention, read_latent, read_compressed, read_lightning,
                                   read_delta,     read_mamba,  read_mamba2};
  PF_ASSIGN(const std::size_t type, map.choice("type", kTypes, 0));
  return kReaders[type](map);
}

Result<FfnDims> read_catalog_ffn(const YamlMap& map) {
  FfnDims f;
  PF_TRY(read_fields(map, {{{"dense_hidden", &f.dense_hidden, kWidth, 0},
                            {"experts", &f.experts, kMaxShapeExperts, 0},
                            {"top_k", &f.top_k, kMaxShapeExperts, 0},
                            {"expert_hidden", &f.expert_hidden, kWidth, 0},
                            {"shared_hidden", &f.shared_hidden, kWidth, 0}},
                           {{"shared_gate", &f.shared_gate},
                            {"router_bias", &f.router_bias},
                            {"expert_bias", &f.expert_bias},
                            {"dense_bias", &f.dense_bias}},
                           {"matrices"}}));
  PF_ASSIGN(f.matrices, map.integer("matrices", 3, 2, 3));
  if (f.dense_hidden == 0 && f.experts == 0) {
    return map.error_at("dense_hidden", "an FFN needs dense_hidden or experts");
  }
  return f;
}

}  // namespace pentafold
