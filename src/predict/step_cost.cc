#include "predict/step_cost.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "plan/capacity.h"

namespace pentafold {
namespace {

// Of the bf16 peak, for the odd products that no table has: indexers, recurrences.
constexpr double kOddProducts = 0.4;
// Of a layer of attention and a dense MLP: 5 and 4. An engine's cost of a layer is of these.
constexpr double kPlainLayerKernels = 9;

// Kernels of a layer, whatever their size, for every rank.
double kernels_of(const LayerShape& layer) {
  double count = 0;
  switch (layer.mixer.kind) {
    case MixerKind::Attention:  // norm, projections, positions and cache, attention, output
      count += 5;
      break;
    case MixerKind::Latent:  // projections down and up, norms between, absorbed products, reduction
      count += 10;
      break;
    case MixerKind::Linear:
    case MixerKind::StateSpace:  // projections, convolution, gates, recurrence, gated norm, output
      count += 8;
      break;
    case MixerKind::None:
      break;
  }
  if (layer.ffn.dense_hidden > 0) count += 4;  // norm, up, activation, down
  // Norm, router, choice, sorting, up, activation, down, weighted sum.
  if (layer.ffn.experts > 0) count += 8;
  if (layer.ffn.shared_hidden > 0) count += 3;
  return count;
}

double kv_share(const MixerShape& mixer, std::int64_t tensor) {
  return static_cast<double>(kv_heads_held(mixer, tensor)) /
         static_cast<double>(std::max<std::int64_t>(mixer.kv_heads, 1));
}

}  // namespace

KernelFormat kernels_for(const ModelShape& model, const GpuSpec& gpu, NumberFormat format) {
  const KernelFormat own = kernel_format(format, block_scaled(model));
  return own == KernelFormat::Mxfp4 && gpu.fp4_flops > 0 ? KernelFormat::Nvfp4 : own;
}

double format_factor(const EngineProfile& engine, KernelFormat format) {
  return format == KernelFormat::Nvfp4 || format == KernelFormat::Mxfp4 ? engine.fp4 : 1;
}

bool block_scaled(const ModelShape& model) {
  return model.stored.experts == NumberFormat::FP8 || model.stored.linear == NumberFormat::FP8;
}

double dispatch_row_bytes(NumberFormat experts, std::int64_t width) {
  const auto values = static_cast<double>(width);
  // With a scale for 128 values.
  return bytes_per_value(experts) < kRowBytes ? values * (1 + 4.0 / 128) : values * kRowBytes;
}

StepCost::StepCost(const ModelShape& model, const ClusterSpec& cluster, const EngineProfile& engine,
                   const Workload& workload)
    : StepCost(model, cluster, engine, workload,
               Operators(cluster.gpu, cluster.links, kernel_source_of(engine.name))) {}

StepCost::StepCost(const ModelShape& model, const ClusterSpec& cluster, const EngineProfile& engine,
                   const Workload& workload, Operators operators)
    : model_(model),
      cluster_(cluster),
      engine_(engine),
      workload_(workload),
      operators_(std::move(operators)) {
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
    sums.kernels = kernels_of(kind) / kPlainLayerKernels;
    sums_.push_back(sums);
    load_.push_back(expert_load(model, load_.size(), workload));
  }
}

void StepCost::add_gemm(Cost& cost, double rows, double params, NumberFormat format) const {
  if (params <= 0 || rows <= 0) return;
  const auto k = static_cast<double>(model_.d);
  const KernelFormat kernels = kernels_for(model_, cluster_.gpu, format);
  cost.add(operators_.gemm({rows, params / k, k, kernels}), Bound::Hbm,
           engine_.weights * format_factor(engine_, kernels));
  // Rows get scales for each of their blocks in a kernel of its own before each of two products.
  if (kernels == KernelFormat::Nvfp4 || kernels == KernelFormat::Fp8Block) {
    cost.add(operators_.elementwise(rows * k * (kRowBytes + bytes_per_value(format))), Bound::Hbm,
             2);
  }
}

void StepCost::add_weights(Cost& cost, std::size_t kind, const Worker& worker, std::int64_t tensor,
                           double rows) const {
  const KindSums& sums = sums_[kind];
  const auto ways = static_cast<double>(tensor);
  const double kv = kv_share(model_.kinds[kind].mixer, tensor);
  const auto on_rank = [&](const PartSums& part) {
    return part.tensor / ways + part.kv * kv + part.none;
  };
  add_gemm(cost, rows, on_rank(sums.attention), worker.precision.linear);
  add_gemm(cost, rows, on_rank(sums.dense), worker.precision.linear);
  add_gemm(cost, rows, on_rank(sums.shared), worker.precision.linear);
  // Each rank routes its slice of the rows.
  add_gemm(cost, rows / ways, on_rank(sums.router), worker.precision.other);
}

void StepCost::add_decode_attention(Cost& cost, const LayerShape& layer, const Worker& worker,
                                    double sequences, double context) const {
  const MixerShape& mixer = layer.mixer;
  if (mixer.kind == MixerKind::None || sequences <= 0) return;
  const std::int64_t tensor = worker.tensor_ranks();
  const auto ways = static_cast<double>(tensor);
  const double kept =
      mixer.window > 0 ? std::min(context, static_cast<double>(mixer.window)) : context;
  const double attended =
      mixer.selected > 0 ? std::min(kept, static_cast<double>(mixer.selected)) : kept;
  if (mixer.kv_values > 0) {
    DecodeAttention work;
    work.sequences = sequences;
    work.context = attended;
    work.token_bytes = static_cast<double>(mixer.kv_values) * kv_share(mixer, tensor) *
                       bytes_per_value(worker.precision.kv);
    work.pair_flops = mixer.decode_pair_flops / ways;
    work.fp8_cache = bytes_per_value(worker.precision.kv) < kRowBytes;
    OpTime time = mixer.kind == MixerKind::Latent ? operators_.mla_decode(work)
                                                  : operators_.decode_attention(work);
    if (work.fp8_cache) {
      // Kernels for fp8 caches that are slower than reading twice the bytes are not kept in use.
      DecodeAttention wide = work;
      wide.fp8_cache = false;
      wide.token_bytes *= 2;
      const OpTime other = mixer.kind == MixerKind::Latent ? operators_.mla_decode(wide)
                                                           : operators_.decode_attention(wide);
      if (other.seconds < time.seconds) time = other;
    }
    cost.add(time, Bound::Kv, engine_.attention);
  }
  const double odd = sequences * (kept * mixer.index_pair_flops + mixer.token_flops) / ways;
  if (odd > 0) cost.add(Bound::Compute, odd / (cluster_.gpu.bf16_flops * kOddProducts));
  if (mixer.state_values > 0) {
    cost.add(operators_.elementwise(2 * sequences * static_cast<double>(mixer.state_values) / ways *
                                    bytes_per_value(mixer.state_format)),
             Bound::Kv, 1);
  }
}

StepCost::PromptWork StepCost::prompt_work(const MixerShape& mixer, double start, double tokens) {
  // Row i of the piece sees min(start + i, reach) keys.
  const auto pairs_within = [&](double reach) {
    const double growing = std::clamp(reach - start, 0.0, tokens);
    return growing * start + growing * (growing + 1) / 2 + (tokens - growing) * reach;
  };
  const double end = start + tokens;
  const double reach = mixer.window > 0 ? static_cast<double>(mixer.window) : end;
  PromptWork work;
  work.rows = tokens;
  work.kept = pairs_within(reach);
  work.pairs = mixer.selected > 0
                   ? std::min(work.kept, pairs_within(static_cast<double>(mixer.selected)))
                   : work.kept;
  work.cached = std::min(start, reach);
  return work;
}

void StepCost::add_prompt_attention(Cost& cost, const LayerShape& layer, const Worker& worker,
                                    const PromptWork& work, double times) const {
  const MixerShape& mixer = layer.mixer;
  if (mixer.kind == MixerKind::None || work.rows <= 0) return;
  const std::int64_t tensor = worker.tensor_ranks();
  const auto ways = static_cast<double>(tensor);
  Cost one;
  if (mixer.kv_values > 0) {
    const double kv = static_cast<double>(mixer.kv_values) * kv_share(mixer, tensor);
    PrefillAttention shape;
    shape.rows = work.rows;
    shape.pairs = work.pairs;
    const double heads = static_cast<double>(std::max<std::int64_t>(mixer.heads, 1));
    shape.heads = heads / ways;
    shape.head_dim = mixer.prefill_pair_flops / (4 * heads);
    shape.row_bytes = (mixer.prefill_pair_flops / 2 / ways + kv) * kRowBytes;
    shape.cached_bytes = work.cached * kv * bytes_per_value(worker.precision.kv);
    one.add(mixer.kind == MixerKind::Latent ? operators_.mla_prefill(shape)
                                            : operators_.prefill_attention(shape),
            Bound::Kv, engine_.attention);
  }
  const double odd = (work.kept * mixer.index_pair_flops + work.rows * mixer.token_flops) / ways;
  if (odd > 0) one.add(Bound::Compute, odd / (cluster_.gpu.bf16_flops * kOddProducts));
  cost += one * times;
}

Cost StepCost::tensor(std::size_t kind, const Worker& worker, const GroupLoad& load) const {
  const LayerShape& layer = model_.kinds[kind];
  const std::int64_t rows = load.rows();
  Cost cost;
  if (rows <= 0) return cost;
  cost.add(Bound::Fixed,
           sums_[kind].kernels *
               (engine_.layer_s + (load.prompts.empty() ? 0 : engine_.prompt_layer_s)));
  // Sequence parallelism shards the rows of prompts, and joins tp for decode.
  const bool sharded = worker.sp > 1 && !load.prompts.empty();
  const std::int64_t tensor = sharded ? worker.tp : worker.tensor_ranks();
  const double local = static_cast<double>(sharded ? (rows + worker.sp - 1) / worker.sp : rows);
  add_weights(cost, kind, worker, tensor, local);
  if (sharded) cost += sequence_exchange(layer, worker, static_cast<std::int64_t>(local));
  add_collectives(cost, kind, tensor, worker.tensor_ranks(), local);
  if (load.decodes > 0) {
    const auto n = static_cast<double>(load.decodes);
    add_decode_attention(cost, layer, worker, n, load.decode_context / n);
  }
  // The pieces share a launch.
  PromptWork all;
  for (const PromptPiece& piece : load.prompts) {
    const PromptWork work = prompt_work(layer.mixer, static_cast<double>(piece.start),
                                        static_cast<double>(piece.tokens));
    all.rows += work.rows;
    all.pairs += work.pairs;
    all.kept += work.kept;
    all.cached += work.cached;
  }
  add_prompt_attention(cost, layer, worker, all, 1);
  return cost;
}

Cost StepCost::tensor_decode(std::size_t kind, const Worker& worker, std::int64_t rows) const {
  const double context = static_cast<double>(workload_.isl) +
                         static_cast<double>(std::max<std::int64_t>(workload_.osl - 1, 0)) / 2;
  GroupLoad load;
  load.decodes = rows;
  load.decode_context = context * static_cast<double>(rows);
  return tensor(kind, worker, load);
}

Cost StepCost::tensor_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts) const {
  const LayerShape& layer = model_.kinds[kind];
  const ChunkCount chunks = chunks_of(workload_.isl, prompts, worker.chunk);
  const auto microbatch = [&](std::int64_t rows) {
    const std::int64_t local = (rows + worker.sp - 1) / worker.sp;
    Cost cost;
    cost.add(Bound::Fixed, sums_[kind].kernels * (engine_.layer_s + engine_.prompt_layer_s));
    add_weights(cost, kind, worker, worker.tp, static_cast<double>(local));
    cost += sequence_exchange(layer, worker, local);
    add_collectives(cost, kind, worker.tp, worker.tensor_ranks(), static_cast<double>(local));
    return cost;
  };
  // A mean microbatch, as often as there are any: each reads what earlier ones left in the cache.
  const double pieces = prompts > 1 ? 1 : static_cast<double>(chunks.count());
  PromptWork work = prompt_work(layer.mixer, 0, static_cast<double>(workload_.isl));
  const double reach = layer.mixer.window > 0 ? std::min(static_cast<double>(workload_.isl),
                                                         static_cast<double>(layer.mixer.window))
                                              : static_cast<double>(workload_.isl);
  const double share = static_cast<double>(prompts) / pieces;
  work.rows *= share;
  work.pairs *= share;
  work.kept *= share;
  work.cached = static_cast<double>(prompts) * reach * (pieces - 1) / 2 / pieces;
  Cost cost;
  add_prompt_attention(cost, layer, worker, work, pieces);
  if (chunks.full > 0) {
    cost += microbatch(worker.chunk) * static_cast<double>(chunks.full);
  }
  if (chunks.rest > 0) cost += microbatch(chunks.rest);
  return cost;
}

Cost StepCost::experts(std::size_t kind, const Worker& worker, std::int64_t rows,
                       double peak_share) const {
  return experts_of(kind, worker, static_cast<double>(rows * worker.dp), static_cast<double>(rows),
                    peak_share);
}

Cost StepCost::experts_of(std::size_t kind, const Worker& worker, double rows, double group_rows,
                          double peak_share) const {
  const LayerShape& layer = model_.kinds[kind];
  Cost cost;
  if (layer.ffn.experts == 0 || rows <= 0) return cost;
  // Copies spread a hot expert; an even load has none to spread.
  const std::int64_t slots = workload_.even() ? (layer.ffn.experts + worker.ep - 1) / worker.ep
                                              : expert_slots(layer.ffn.experts, worker);
  const ExpertLoad::Busiest busiest =
      load_[kind].busiest(rows / static_cast<double>(worker.edp()), worker.ep, slots, peak_share);
  GroupedGemm work;
  work.rows = busiest.rows / busiest.experts;
  work.experts = busiest.experts;
  work.params = sums_[kind].expert / static_cast<double>(worker.etp);
  work.width = static_cast<double>(model_.d);
  if (engine_.exchange == RowExchange::Gathered) {
    work.pairs = rows * static_cast<double>(layer.ffn.top_k);
  }
  work.format = kernels_for(model_, cluster_.gpu, worker.precision.experts);
  cost.add(operators_.grouped_gemm(work), Bound::Hbm,
           engine_.experts * format_factor(engine_, work.format));
  cost.add(Bound::Fixed, engine_.expert_layer_s);
  add_exchange(cost, kind, worker, rows, group_rows, peak_share);
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

Cost StepCost::logits(const Worker& worker, std::int64_t sampled) const {
  Cost cost;
  double head = 0;
  for (const WeightGroup& group : model_.outer) {
    if (group.part == WeightPart::Head) head += static_cast<double>(group.params);
  }
  add_gemm(cost, static_cast<double>(sampled), head / static_cast<double>(worker.tensor_ranks()),
           worker.precision.other);
  return cost;
}

Cost StepCost::fixed(std::int64_t requests, bool prompts) const {
  Cost cost;
  cost.add(Bound::Fixed, engine_.step_s + engine_.request_s * static_cast<double>(requests) +
                             (prompts ? engine_.prompt_step_s : 0));
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
