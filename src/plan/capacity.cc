#include "plan/capacity.h"

#include <algorithm>

#include "base/split.h"
#include "plan/memory.h"

namespace pentafold {
namespace {

constexpr double kActivationBytes = 2;  // bf16 rows
constexpr double kLogitBytes = 4;       // fp32

// Ways a group is really cut on the fullest rank.
double weight_shares(const WeightGroup& group, const LayerShape* layer, const Worker& worker) {
  switch (group.split) {
    case Split::Tensor:
    case Split::Vocab:
      // Weights are held for the prefill shard; decode reads a part of it.
      return static_cast<double>(worker.tp);
    case Split::KvHeads: {
      const MixerShape& mixer = layer->mixer;
      return static_cast<double>(mixer.kv_heads) /
             static_cast<double>(kv_heads_held(mixer, worker.tp));
    }
    case Split::Experts: {
      const std::int64_t experts = layer->ffn.experts;
      const std::int64_t slots = expert_slots(experts, worker);
      return static_cast<double>(experts) * static_cast<double>(worker.etp) /
             static_cast<double>(slots);
    }
    case Split::None:
      return 1.0;
  }
  return 1.0;
}

double group_bytes(const WeightGroup& group, const LayerShape* layer, const Worker& worker) {
  return static_cast<double>(group.params) / weight_shares(group, layer, worker) *
         bytes_per_value(worker.precision.of(group.part));
}

std::int64_t stage_begin(const Worker& worker, std::int64_t stage) {
  std::int64_t begin = 0;
  for (std::int64_t s = 0; s < stage; ++s) {
    begin += worker.stage_layers[static_cast<std::size_t>(s)];
  }
  return begin;
}

}  // namespace

std::int64_t kv_heads_held(const MixerShape& mixer, std::int64_t ranks) {
  const std::int64_t kv = std::max<std::int64_t>(mixer.kv_heads, 1);
  const std::int64_t per_kv = std::max<std::int64_t>(mixer.heads / kv, 1);
  if (kv % ranks == 0) return kv / ranks;
  if (ranks % kv == 0) return 1;
  std::int64_t held = 1;
  for (std::int64_t t = 0; t < ranks; ++t) {
    const Range q = split(mixer.heads, ranks, t);
    if (!q.empty()) held = std::max(held, (q.end - 1) / per_kv + 1 - q.begin / per_kv);
  }
  return std::min(held, kv);
}

std::int64_t expert_slots(std::int64_t experts, const Worker& worker) {
  return (experts + worker.redundant + worker.ep - 1) / worker.ep;
}

double layer_weight_bytes(const LayerShape& kind, const Worker& worker) {
  double bytes = 0;
  for (const WeightGroup& group : kind.weights) bytes += group_bytes(group, &kind, worker);
  return bytes;
}

double layer_kv_bytes(const LayerShape& kind, const Worker& worker, std::int64_t tokens) {
  const MixerShape& mixer = kind.mixer;
  // Caches are handed out in whole blocks.
  const std::int64_t kept =
      kv_blocks_for(mixer.window > 0 ? std::min(tokens, mixer.window) : tokens) * kKvTokensPerBlock;
  const double share = static_cast<double>(kv_heads_held(mixer, worker.tensor_ranks())) /
                       static_cast<double>(std::max<std::int64_t>(mixer.kv_heads, 1));
  const double cached = static_cast<double>(mixer.kv_values) * static_cast<double>(kept) * share *
                        bytes_per_value(worker.precision.kv);
  // A state is split by heads like the weights that make it.
  const double state = static_cast<double>(mixer.state_values) /
                       static_cast<double>(worker.tensor_ranks()) *
                       bytes_per_value(mixer.state_format);
  return cached + state;
}

double outer_weight_bytes(const ModelShape& model, const Worker& worker, bool first, bool last) {
  const bool tied = std::none_of(model.outer.begin(), model.outer.end(), [](const auto& group) {
    return group.part == WeightPart::Embedding;
  });
  // Vocabularies divide unevenly; the fullest rank has one entry more.
  const std::int64_t shard = (model.vocab + worker.tp - 1) / worker.tp;
  const double uneven = static_cast<double>(shard * worker.tp) / static_cast<double>(model.vocab);
  double bytes = 0;
  for (const WeightGroup& group : model.outer) {
    const bool here = group.part == WeightPart::Embedding ? first
                      : group.part == WeightPart::Head    ? last || (tied && first)
                                                          : last;
    if (!here) continue;
    bytes += group_bytes(group, nullptr, worker) * (group.split == Split::Vocab ? uneven : 1);
  }
  return bytes;
}

double activation_bytes(const ModelShape& model, const Worker& worker, std::int64_t rows) {
  const std::int64_t local = (rows + worker.sp - 1) / worker.sp;
  double widest = 0;
  for (const LayerShape& kind : model.kinds) {
    double mixer = 0;
    for (const WeightGroup& group : kind.weights) {
      if (group.part == WeightPart::Attention && group.gemm && model.d > 0) {
        // Outputs of a projection from the residual stream; wide enough for those back to it.
        mixer += static_cast<double>(group.params) / static_cast<double>(model.d) /
                 weight_shares(group, &kind, worker);
      }
    }
    const double mlp =
        static_cast<double>((kind.ffn.matrices - 1) *
                            std::max(kind.ffn.dense_hidden, kind.ffn.shared_hidden)) /
        static_cast<double>(worker.tp);
    widest = std::max({widest, mixer, mlp});
  }
  return static_cast<double>(local) * (2 * static_cast<double>(model.d) + widest) *
         kActivationBytes;
}

double buffer_bytes(const ModelShape& model, const Worker& worker, std::int64_t rows,
                    std::int64_t sampled, double peak_share) {
  double dispatched = 0;
  for (const LayerShape& kind : model.kinds) {
    if (kind.ffn.experts == 0) continue;
    const double stage_rows =
        static_cast<double>(rows * worker.dp) / static_cast<double>(worker.edp());
    const double arriving = std::min(stage_rows * static_cast<double>(kind.ffn.top_k),
                                     stage_rows * static_cast<double>(kind.ffn.top_k) /
                                         static_cast<double>(worker.ep) * peak_share);
    // Rows in, the gated pair inside, rows out.
    const double width = 2 * static_cast<double>(model.d) +
                         static_cast<double>((kind.ffn.matrices - 1) * kind.ffn.expert_hidden) /
                             static_cast<double>(worker.etp);
    dispatched = std::max(dispatched, arriving * width * kActivationBytes);
  }
  const double gathered =
      static_cast<double>(rows) * static_cast<double>(model.d) * kActivationBytes;
  const double logits = static_cast<double>(sampled) * static_cast<double>(model.vocab) *
                        kLogitBytes / static_cast<double>(worker.tp);
  return dispatched + gathered + logits;
}

RankBytes stage_bytes(const ModelShape& model, const Worker& worker, std::int64_t stage,
                      std::int64_t tokens, double peak_share) {
  const std::int64_t begin = stage_begin(worker, stage);
  const std::int64_t end = begin + worker.stage_layers[static_cast<std::size_t>(stage)];
  const bool last = stage + 1 == worker.pp();
  RankBytes bytes;
  bytes.weights = outer_weight_bytes(model, worker, stage == 0, last);
  double kv = 0;
  for (std::int64_t l = begin; l < end; ++l) {
    bytes.weights += layer_weight_bytes(model.layer(l), worker);
    kv += layer_kv_bytes(model.layer(l), worker, tokens);
  }
  bytes.kv = kv * static_cast<double>(worker.batch);
  const std::int64_t decode_rows = (worker.batch + worker.microbatches - 1) / worker.microbatches;
  const std::int64_t rows = std::max(worker.chunk, decode_rows);
  bytes.activations = activation_bytes(model, worker, rows);
  bytes.buffers = buffer_bytes(model, worker, rows, last ? decode_rows : 0, peak_share);
  return bytes;
}

RankBytes worker_bytes(const ModelShape& model, const Worker& worker, std::int64_t tokens,
                       double peak_share) {
  RankBytes most;
  most.reserve = 0;
  for (std::int64_t s = 0; s < worker.pp(); ++s) {
    const RankBytes here = stage_bytes(model, worker, s, tokens, peak_share);
    if (here.total() > most.total()) most = here;
  }
  return most;
}

}  // namespace pentafold
