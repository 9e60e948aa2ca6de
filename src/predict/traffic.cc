#include "predict/traffic.h"

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

double link_seconds(const Cost& cost) {
  return cost.by[static_cast<std::size_t>(Bound::Link)] +
         cost.by[static_cast<std::size_t>(Bound::Latency)];
}

double without_own(std::int64_t ranks) {
  return static_cast<double>(ranks - 1) / static_cast<double>(ranks);
}

Traffic& of(TrafficByKind& traffic, Collective kind) {
  return traffic[static_cast<std::size_t>(kind)];
}

// Collectives of the tensor group in one microbatch of one layer.
Traffic tensor_traffic(const ModelShape& model, const LayerShape& layer, std::int64_t tensor,
                       std::int64_t rows) {
  Traffic out;
  if (tensor <= 1) return out;
  const double bytes = static_cast<double>(rows * model.d) * kRowBytes;
  const double reduces = (layer.mixer.kind != MixerKind::None ? 1 : 0) +
                         (layer.ffn.dense_hidden > 0 || layer.ffn.shared_hidden > 0 ? 1 : 0);
  const double gathers = layer.ffn.experts > 0 ? 1 : 0;
  out.calls = reduces + gathers;
  out.bytes = (2 * reduces + gathers) * without_own(tensor) * bytes;
  return out;
}

Traffic expert_traffic(const ModelShape& model, const LayerShape& layer, const Worker& worker,
                       std::int64_t rows, double peak_share) {
  Traffic out;
  const std::int64_t ranks = worker.ep * worker.etp;
  if (layer.ffn.experts == 0 || ranks <= 1) return out;
  const auto homes = static_cast<double>(worker.ep);
  const double picked = homes * (1 - std::pow(1 - 1 / homes, static_cast<double>(layer.ffn.top_k)));
  const double copies = picked * static_cast<double>(worker.etp) * without_own(ranks);
  const double local = static_cast<double>(rows * worker.dp) /
                       static_cast<double>(worker.stage_ranks()) * peak_share;
  out.calls = 2;
  out.bytes = local * copies *
              (dispatch_row_bytes(worker.precision.experts, model.d) +
               static_cast<double>(model.d) * kRowBytes);
  return out;
}

Traffic sequence_traffic(const LayerShape& layer, const Worker& worker, std::int64_t local) {
  Traffic out;
  if (worker.sp <= 1) return out;
  const double width =
      (layer.mixer.prefill_pair_flops / 2 + static_cast<double>(layer.mixer.kv_values)) /
      static_cast<double>(worker.tp);
  out.calls = 2;
  out.bytes = static_cast<double>(local) * width * kRowBytes * without_own(worker.sp);
  return out;
}

void add(Traffic& into, const Traffic& part, double times) {
  into.calls += part.calls * times;
  into.bytes += part.bytes * times;
  into.seconds += part.seconds * times;
}

struct StageTraffic {
  TrafficByKind traffic;
  double seconds = 0;  // of the whole stage, all causes
};

// The first slowest stage, as predict_worker takes it.
TrafficByKind slowest(const std::vector<StageTraffic>& stages) {
  const auto it = std::max_element(stages.begin(), stages.end(), [](const auto& a, const auto& b) {
    return a.seconds < b.seconds;
  });
  return it->traffic;
}

void add_hand_over(const StepCost& costs, const Worker& worker, std::int64_t rows, double times,
                   StageTraffic& stage) {
  const Cost cost = costs.hand_over(worker, rows);
  stage.seconds += cost.seconds * times;
  if (worker.pp() <= 1) return;
  const double bytes = static_cast<double>(rows * costs.model().d) * kRowBytes /
                       static_cast<double>(worker.tensor_ranks());
  add(of(stage.traffic, Collective::Pipeline), {1, bytes, link_seconds(cost)}, times);
}

// Rows of the microbatches of a pass, and how often each comes.
std::vector<std::pair<std::int64_t, double>> microbatches(const ChunkCount& chunks,
                                                          std::int64_t chunk) {
  std::vector<std::pair<std::int64_t, double>> out;
  if (chunks.full > 0) out.emplace_back(chunk, static_cast<double>(chunks.full));
  if (chunks.rest > 0) out.emplace_back(chunks.rest, 1);
  return out;
}

}  // namespace

const char* to_string(Collective collective) {
  switch (collective) {
    case Collective::Tensor:
      return "tensor group (all-reduce, all-gather)";
    case Collective::Experts:
      return "dispatch and combine (all-to-all)";
    case Collective::Pipeline:
      return "hand-over to the next stage (send)";
    case Collective::Sequence:
      return "sequence for heads (all-to-all)";
  }
  return "?";
}

TrafficByKind decode_traffic(const StepCost& costs, const Worker& worker) {
  const ModelShape& model = costs.model();
  const std::int64_t rows = (worker.batch + worker.microbatches - 1) / worker.microbatches;
  std::vector<StageTraffic> stages;
  for (const StageMix& mix : stage_mixes(model, worker.stage_layers)) {
    StageTraffic stage;
    for (std::size_t k = 0; k < model.kinds.size(); ++k) {
      const auto layers = static_cast<double>(mix.layers_of_kind[k]);
      if (layers == 0) continue;
      const double share = costs.peak_share(k, worker);
      const Cost tensor_cost = costs.tensor_decode(k, worker, rows);
      const Cost expert_cost = costs.experts(k, worker, rows, share);
      Traffic tensor = tensor_traffic(model, model.kinds[k], worker.tensor_ranks(), rows);
      tensor.seconds = link_seconds(tensor_cost);
      Traffic experts = expert_traffic(model, model.kinds[k], worker, rows, share);
      experts.seconds = link_seconds(expert_cost);
      add(of(stage.traffic, Collective::Tensor), tensor, layers);
      add(of(stage.traffic, Collective::Experts), experts, layers);
      stage.seconds += (tensor_cost.seconds + expert_cost.seconds) * layers;
    }
    if (mix.last) stage.seconds += costs.logits(worker, rows).seconds;
    if (!mix.last) add_hand_over(costs, worker, rows, 1, stage);
    stages.push_back(stage);
  }
  TrafficByKind traffic = slowest(stages);
  for (Traffic& part : traffic) {
    const Traffic one = part;
    part = {};
    add(part, one, static_cast<double>(worker.microbatches));
  }
  return traffic;
}

TrafficByKind prefill_traffic(const StepCost& costs, const Worker& worker, std::int64_t prompts) {
  const ModelShape& model = costs.model();
  const ChunkCount chunks = chunks_of(costs.workload().isl, prompts, worker.chunk);
  const auto passes = microbatches(chunks, worker.chunk);
  std::vector<StageTraffic> stages;
  for (const StageMix& mix : stage_mixes(model, worker.stage_layers)) {
    StageTraffic stage;
    for (std::size_t k = 0; k < model.kinds.size(); ++k) {
      const auto layers = static_cast<double>(mix.layers_of_kind[k]);
      if (layers == 0) continue;
      const double share = costs.peak_share(k, worker);
      const Cost tensor_cost = costs.tensor_prefill(k, worker, prompts);
      const Cost expert_cost = costs.experts_prefill(k, worker, prompts, share);
      Traffic tensor;
      Traffic experts;
      Traffic sequence;
      for (const auto& [rows, times] : passes) {
        const std::int64_t local = (rows + worker.sp - 1) / worker.sp;
        add(tensor, tensor_traffic(model, model.kinds[k], worker.tp, local), times);
        add(experts, expert_traffic(model, model.kinds[k], worker, rows, share), times);
        Traffic exchange = sequence_traffic(model.kinds[k], worker, local);
        exchange.seconds = costs.sequence_exchange(model.kinds[k], worker, local).seconds;
        add(sequence, exchange, times);
      }
      experts.seconds = link_seconds(expert_cost);
      tensor.seconds = worker.tp > 1 ? link_seconds(tensor_cost) - sequence.seconds : 0;
      add(of(stage.traffic, Collective::Tensor), tensor, layers);
      add(of(stage.traffic, Collective::Experts), experts, layers);
      add(of(stage.traffic, Collective::Sequence), sequence, layers);
      stage.seconds += (tensor_cost.seconds + expert_cost.seconds) * layers;
    }
    if (mix.last) stage.seconds += costs.logits(worker, prompts).seconds;
    if (!mix.last) {
      const std::int64_t rows = chunks.full > 0 ? worker.chunk : chunks.rest;
      add_hand_over(costs, worker, (rows + worker.sp - 1) / worker.sp,
                    static_cast<double>(chunks.count()), stage);
    }
    stages.push_back(stage);
  }
  return slowest(stages);
}

}  // namespace pentafold
