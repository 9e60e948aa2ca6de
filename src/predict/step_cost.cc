#include "predict/step_cost.h"

#include <algorithm>

#include "plan/capacity.h"
#include "predict/collective_cost.h"

namespace pentafold {
namespace {

double gemm_efficiency(const CostConstants& constants, NumberFormat format) {
  return bytes_per_value(format) < kRowBytes ? constants.gemm_low : constants.gemm_bf16;
}

}  // namespace

double dispatch_row_bytes(NumberFormat experts, std::int64_t width) {
  const auto values = static_cast<double>(width);
  // With a scale for 128 values.
  return bytes_per_value(experts) < kRowBytes ? values * (1 + 4.0 / 128) : values * kRowBytes;
}

const char* to_string(Bound bound) {
  switch (bound) {
    case Bound::Compute:
      return "FLOPs";
    case Bound::Hbm:
      return "memory bandwidth (weights)";
    case Bound::Kv:
      return "memory bandwidth (KV)";
    case Bound::Link:
      return "link bandwidth";
    case Bound::Latency:
      return "link latency";
    case Bound::Fixed:
      return "fixed cost of layers and steps";
    case Bound::Bubble:
      return "pipeline bubble";
  }
  return "?";
}

void Cost::add_roofline(double compute, double read, Bound reading) {
  if (compute >= read) {
    add(Bound::Compute, compute);
  } else {
    add(reading, read);
  }
}

Cost& Cost::operator+=(const Cost& other) {
  seconds += other.seconds;
  for (std::size_t i = 0; i < kBounds; ++i) by[i] += other.by[i];
  return *this;
}

Cost Cost::operator*(double n) const {
  Cost out = *this;
  out.seconds *= n;
  for (double& s : out.by) s *= n;
  return out;
}

StepCost::StepCost(const ModelShape& model, const ClusterSpec& cluster,
                   const CostConstants& constants, const Workload& workload)
    : model_(model), cluster_(cluster), constants_(constants), workload_(workload) {
  for (const LayerShape& kind : model.kinds) {
    KindSums sums;
    for (const WeightGroup& group : kind.weights) {
      const auto params = static_cast<double>(group.params);
      if (group.part == WeightPart::Expert) {
        sums.expert += params / static_cast<double>(std::max<std::int64_t>(kind.ffn.experts, 1));
        continue;
      }
      PartSums& part = group.part == WeightPart::DenseMlp       ? sums.dense
                       : group.part == WeightPart::SharedExpert ? sums.shared
                       : group.part == WeightPart::Router       ? sums.router
                                                                : sums.attention;
      (group.split == Split::Tensor    ? part.tensor
       : group.split == Split::KvHeads ? part.kv
                                       : part.none) += params;
    }
    sums_.push_back(sums);
    const bool moe = kind.ffn.experts > 0;
    load_.emplace_back(moe ? kind.ffn.experts : 1, moe ? kind.ffn.top_k : 1, workload.skew);
  }
}

void StepCost::add_gemm(Cost& cost, double rows, double params, NumberFormat format,
                        double efficiency) const {
  if (params <= 0 || rows <= 0) return;
  const double flops = 2 * std::max(rows, constants_.min_rows) * params;
  const double compute =
      flops / (cluster_.gpu.flops(format) * gemm_efficiency(constants_, format) * efficiency);
  const double read =
      params * bytes_per_value(format) / (cluster_.gpu.memory_bytes_per_s * constants_.stream);
  cost.add_roofline(compute, read, Bound::Hbm);
}

void StepCost::add_tensor_weights(Cost& cost, std::size_t kind, const Worker& worker,
                                  std::int64_t tensor, std::int64_t rows) const {
  const KindSums& sums = sums_[kind];
  const MixerShape& mixer = model_.kinds[kind].mixer;
  const auto ways = static_cast<double>(tensor);
  const double kv_share = static_cast<double>(kv_heads_held(mixer, tensor)) /
                          static_cast<double>(std::max<std::int64_t>(mixer.kv_heads, 1));
  const auto on_rank = [&](const PartSums& part) {
    return part.tensor / ways + part.kv * kv_share + part.none;
  };
  const auto n = static_cast<double>(rows);
  add_gemm(cost, n, on_rank(sums.attention), worker.precision.linear, 1);
  add_gemm(cost, n, on_rank(sums.dense), worker.precision.linear, 1);
  add_gemm(cost, n, on_rank(sums.shared), worker.precision.linear, 1);
  // Each rank routes its slice of the rows.
  add_gemm(cost, n / ways, on_rank(sums.router), worker.precision.other, 1);
}

void StepCost::add_tensor_collectives(Cost& cost, std::size_t kind, std::int64_t tensor,
                                      std::int64_t span, std::int64_t rows) const {
  if (tensor <= 1) return;
  const LayerShape& layer = model_.kinds[kind];
  const double bytes = static_cast<double>(rows * model_.d) * kRowBytes;
  const Group group{tensor, span};
  const auto book = [&](double seconds, double at_no_bytes) {
    cost.add(Bound::Latency, at_no_bytes);
    cost.add(Bound::Link, seconds - at_no_bytes);
  };
  const auto reduce = [&](double b) { return all_reduce_seconds(cluster_, constants_, group, b); };
  const auto gather = [&](double b) { return all_gather_seconds(cluster_, constants_, group, b); };
  if (layer.mixer.kind != MixerKind::None) book(reduce(bytes), reduce(0));
  if (layer.ffn.dense_hidden > 0 || layer.ffn.shared_hidden > 0) book(reduce(bytes), reduce(0));
  if (layer.ffn.experts > 0) book(gather(bytes), gather(0));
}

Cost StepCost::tensor_decode(std::size_t kind, const Worker& worker, std::int64_t rows) const {
  const LayerShape& layer = model_.kinds[kind];
  const std::int64_t tensor = worker.tensor_ranks();
  Cost cost;
  cost.add(Bound::Fixed, constants_.layer_s);
  add_tensor_weights(cost, kind, worker, tensor, rows);
  const MixerShape& mixer = layer.mixer;
  const double context = static_cast<double>(workload_.isl) +
                         static_cast<double>(std::max<std::int64_t>(workload_.osl - 1, 0)) / 2;
  const double kept =
      mixer.window > 0 ? std::min(context, static_cast<double>(mixer.window)) : context;
  const double attended =
      mixer.selected > 0 ? std::min(kept, static_cast<double>(mixer.selected)) : kept;
  const auto ways = static_cast<double>(tensor);
  const auto n = static_cast<double>(rows);
  const double flops =
      n * (attended * mixer.decode_pair_flops + kept * mixer.index_pair_flops + mixer.token_flops) /
      ways;
  const double kv_share = static_cast<double>(kv_heads_held(mixer, tensor)) /
                          static_cast<double>(std::max<std::int64_t>(mixer.kv_heads, 1));
  const double bytes = n * (attended * static_cast<double>(mixer.kv_values) * kv_share *
                                bytes_per_value(worker.precision.kv) +
                            2 * static_cast<double>(mixer.state_values) / ways *
                                bytes_per_value(mixer.state_format));
  cost.add_roofline(flops / (cluster_.gpu.bf16_flops * constants_.attention),
                    bytes / (cluster_.gpu.memory_bytes_per_s * constants_.kv_stream), Bound::Kv);
  add_tensor_collectives(cost, kind, tensor, tensor, rows);
  return cost;
}

Cost StepCost::prefill_attention(const LayerShape& layer, const Worker& worker,
                                 std::int64_t prompts) const {
  const MixerShape& mixer = layer.mixer;
  const auto isl = static_cast<double>(workload_.isl);
  const auto pairs_within = [&](double reach) {
    // Row i sees min(i, reach) keys.
    return reach >= isl ? isl * (isl + 1) / 2 : reach * (reach + 1) / 2 + (isl - reach) * reach;
  };
  const double kept_pairs =
      pairs_within(mixer.window > 0 ? static_cast<double>(mixer.window) : isl);
  const double attended_pairs =
      mixer.selected > 0 ? std::min(kept_pairs, pairs_within(static_cast<double>(mixer.selected)))
                         : kept_pairs;
  const auto ways = static_cast<double>(worker.tensor_ranks());
  const auto n = static_cast<double>(prompts);
  const double flops = n *
                       (attended_pairs * mixer.prefill_pair_flops +
                        kept_pairs * mixer.index_pair_flops + isl * mixer.token_flops) /
                       ways;
  // Each chunk reads what earlier ones left in the cache: half of the prompt on average.
  const double passes = static_cast<double>(chunks_of(workload_.isl, 1, worker.chunk).count());
  const double kv_share = static_cast<double>(kv_heads_held(mixer, worker.tensor_ranks())) /
                          static_cast<double>(std::max<std::int64_t>(mixer.kv_heads, 1));
  const double reach = mixer.window > 0 ? std::min(isl, static_cast<double>(mixer.window)) : isl;
  const double bytes = n * (passes + 1) / 2 * reach * static_cast<double>(mixer.kv_values) *
                       kv_share * bytes_per_value(worker.precision.kv);
  Cost cost;
  cost.add_roofline(flops / (cluster_.gpu.bf16_flops * constants_.attention),
                    bytes / (cluster_.gpu.memory_bytes_per_s * constants_.kv_stream), Bound::Kv);
  return cost;
}

Cost StepCost::sequence_exchange(const LayerShape& layer, const Worker& worker,
                                 std::int64_t rows) const {
  Cost cost;
  if (worker.sp <= 1) return cost;
  // Queries and outputs of all heads (half the operations of a pair), keys and values.
  const double width =
      (layer.mixer.prefill_pair_flops / 2 + static_cast<double>(layer.mixer.kv_values)) /
      static_cast<double>(worker.tp);
  const auto ways = static_cast<double>(worker.sp);
  const double bytes = static_cast<double>(rows) * width * kRowBytes * (ways - 1) / ways;
  const LinkLevel& link = cluster_.links[cluster_.level_of(worker.sp)];
  cost.add(Bound::Latency, 2 * (constants_.collective_s + link.latency_s));
  cost.add(Bound::Link, bytes / (link.bytes_per_s * constants_.link));
  return cost;
}

Cost StepCost::tensor_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts) const {
  const LayerShape& layer = model_.kinds[kind];
  const ChunkCount chunks = chunks_of(workload_.isl, prompts, worker.chunk);
  const auto microbatch = [&](std::int64_t rows) {
    const std::int64_t local = (rows + worker.sp - 1) / worker.sp;
    Cost cost;
    cost.add(Bound::Fixed, constants_.layer_s);
    add_tensor_weights(cost, kind, worker, worker.tp, local);
    cost += sequence_exchange(layer, worker, local);
    add_tensor_collectives(cost, kind, worker.tp, worker.tensor_ranks(), local);
    return cost;
  };
  Cost cost = prefill_attention(layer, worker, prompts);
  if (chunks.full > 0) {
    cost += microbatch(worker.chunk) * static_cast<double>(chunks.full);
  }
  if (chunks.rest > 0) cost += microbatch(chunks.rest);
  return cost;
}

Cost StepCost::experts(std::size_t kind, const Worker& worker, std::int64_t rows,
                       double peak_share) const {
  const LayerShape& layer = model_.kinds[kind];
  Cost cost;
  if (layer.ffn.experts == 0 || rows <= 0) return cost;
  const double stage_rows = static_cast<double>(rows * worker.dp);
  const double group_rows = stage_rows / static_cast<double>(worker.edp());
  const std::int64_t slots = expert_slots(layer.ffn.experts, worker);
  const ExpertLoad::Busiest busiest = load_[kind].busiest(group_rows, worker.ep, slots, peak_share);
  const double expert = sums_[kind].expert / static_cast<double>(worker.etp);
  const NumberFormat format = worker.precision.experts;
  const double per_expert = std::max(constants_.min_rows, busiest.rows / busiest.experts);
  const double flops = 2 * per_expert * busiest.experts * expert;
  cost.add_roofline(flops / (cluster_.gpu.flops(format) * gemm_efficiency(constants_, format) *
                             constants_.grouped_gemm),
                    busiest.experts * expert * bytes_per_value(format) /
                        (cluster_.gpu.memory_bytes_per_s * constants_.expert_stream),
                    Bound::Hbm);
  const std::int64_t homes = worker.ep * worker.etp;
  if (homes <= 1) return cost;
  const double shown = 1 - constants_.hidden_comm;
  const Group group{homes, homes};
  Exchange exchange{stage_rows / static_cast<double>(worker.stage_ranks()) * peak_share,
                    dispatch_row_bytes(format, model_.d), static_cast<double>(worker.ep),
                    static_cast<double>(layer.ffn.top_k), static_cast<double>(worker.etp)};
  const auto both_ways = [&](double scale) {
    Exchange there = exchange;
    there.row_bytes *= scale;
    Exchange back = exchange;
    back.row_bytes = static_cast<double>(model_.d) * kRowBytes * scale;
    return all_to_all_seconds(cluster_, constants_, group, there) +
           all_to_all_seconds(cluster_, constants_, group, back);
  };
  const double at_no_bytes = both_ways(0);
  cost.add(Bound::Latency, at_no_bytes);
  cost.add(Bound::Link, (both_ways(1) - at_no_bytes) * shown);
  return cost;
}

Cost StepCost::experts_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts,
                               double peak_share) const {
  const ChunkCount chunks = chunks_of(workload_.isl, prompts, worker.chunk);
  Cost cost;
  if (chunks.full > 0) {
    cost += experts(kind, worker, worker.chunk, peak_share) * static_cast<double>(chunks.full);
  }
  if (chunks.rest > 0) cost += experts(kind, worker, chunks.rest, peak_share);
  return cost;
}

Cost StepCost::hand_over(const Worker& worker, std::int64_t rows) const {
  Cost cost;
  if (worker.pp() <= 1) return cost;
  const double bytes =
      static_cast<double>(rows * model_.d) * kRowBytes / static_cast<double>(worker.tensor_ranks());
  const std::int64_t span = worker.gpus();
  const double empty = send_seconds(cluster_, constants_, span, 0);
  cost.add(Bound::Latency, empty);
  cost.add(Bound::Link, send_seconds(cluster_, constants_, span, bytes) - empty);
  return cost;
}

Cost StepCost::logits(const Worker& worker, std::int64_t sampled) const {
  Cost cost;
  double head = 0;
  for (const WeightGroup& group : model_.outer) {
    if (group.part == WeightPart::Head) head += static_cast<double>(group.params);
  }
  add_gemm(cost, static_cast<double>(sampled), head / static_cast<double>(worker.tensor_ranks()),
           worker.precision.other, 1);
  return cost;
}

Cost StepCost::fixed(std::int64_t requests) const {
  Cost cost;
  cost.add(Bound::Fixed, constants_.step_s + constants_.request_s * static_cast<double>(requests));
  return cost;
}

double StepCost::peak_share(std::size_t kind, const Worker& worker) const {
  if (model_.kinds[kind].ffn.experts == 0) return 1;
  return load_[kind].peak_share(worker.ep, worker.redundant);
}

std::int64_t prompts_per_pass(std::int64_t isl, std::int64_t chunk) {
  return std::max<std::int64_t>(chunk / std::max<std::int64_t>(isl, 1), 1);
}

ChunkCount chunks_of(std::int64_t isl, std::int64_t prompts, std::int64_t chunk) {
  if (prompts > 1) return {0, isl * prompts};  // they were chosen to fit into one
  return {isl / chunk, isl % chunk};
}

}  // namespace pentafold
