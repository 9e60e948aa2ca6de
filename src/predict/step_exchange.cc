// What the ranks of a step send each other: StepCost's collectives.
#include <algorithm>
#include <cmath>

#include "predict/step_cost.h"

namespace pentafold {
double StepCost::latency(const CommGroup& group) const {
  if (cluster_.links.empty()) return 0;
  double seconds = std::ceil(std::log2(group.inside)) * cluster_.links.front().latency_s;
  if (group.inside < group.ranks) {
    seconds +=
        std::ceil(std::log2(group.ranks / group.inside)) * cluster_.links[group.outer].latency_s;
  }
  return seconds;
}

CommGroup StepCost::group(std::int64_t ranks, std::int64_t span) const {
  CommGroup out;
  out.ranks = static_cast<double>(ranks);
  out.outer = cluster_.level_of(std::max(ranks, span));
  const double per_rank = static_cast<double>(std::max(span, ranks)) / out.ranks;
  const double near =
      cluster_.links.empty()
          ? out.ranks
          : std::floor(static_cast<double>(cluster_.links.front().domain) / per_rank);
  out.inside = std::clamp(near, 1.0, out.ranks);
  return out;
}

void StepCost::add_collectives(Cost& cost, std::size_t kind, std::int64_t tensor, std::int64_t span,
                               double rows) const {
  if (tensor <= 1) return;
  const LayerShape& layer = model_.kinds[kind];
  const double bytes = rows * static_cast<double>(model_.d) * kRowBytes;
  const CommGroup ranks = group(tensor, span);
  const bool moe = layer.ffn.experts > 0;
  const bool gathered = engine_.exchange == RowExchange::Gathered;
  double reduces = layer.mixer.kind != MixerKind::None ? 1 : 0;
  // Gathered experts are summed together with what is shared.
  if ((layer.ffn.dense_hidden > 0 || layer.ffn.shared_hidden > 0) && !(moe && gathered)) ++reduces;
  if (reduces > 0) {
    Cost reduce;
    reduce.add_collective(operators_.all_reduce(ranks, bytes), latency(ranks), engine_.links);
    cost += reduce * reduces;
  }
  if (moe && !gathered) {
    cost.add_collective(operators_.all_gather(ranks, bytes), latency(ranks), engine_.links);
  }
}

Cost StepCost::sequence_exchange(const LayerShape& layer, const Worker& worker,
                                 std::int64_t rows) const {
  Cost cost;
  if (worker.sp <= 1) return cost;
  // Queries and outputs of all heads (half the operations of a pair), keys and values.
  const double width =
      (layer.mixer.prefill_pair_flops / 2 + static_cast<double>(layer.mixer.kv_values)) /
      static_cast<double>(worker.tp);
  const CommGroup ranks = group(worker.sp, worker.sp);
  const double bytes = static_cast<double>(rows) * width * kRowBytes;
  Cost way;
  way.add_collective(operators_.all_to_all(ranks, bytes / 2), latency(ranks), engine_.links);
  cost += way * 2;
  return cost;
}

void StepCost::add_exchange(Cost& cost, std::size_t kind, const Worker& worker, double rows,
                            double group_rows, double peak_share) const {
  const auto width = static_cast<double>(model_.d);
  if (engine_.exchange == RowExchange::Gathered) {
    const std::int64_t ranks = worker.stage_ranks();
    if (ranks <= 1) return;
    const CommGroup all = group(ranks, ranks);
    if (worker.dp == 1) {
      const double bytes = group_rows * width * kRowBytes;
      cost.add_collective(operators_.all_reduce(all, bytes), latency(all), engine_.links);
      return;
    }
    // Every rank's buffer is as long as the fullest group's.
    const double padded = std::max(rows, group_rows * static_cast<double>(worker.dp));
    const double there = padded * dispatch_row_bytes(worker.precision.experts, model_.d);
    cost.add_collective(operators_.all_gather(all, there), latency(all), engine_.links);
    cost.add_collective(operators_.reduce_scatter(all, padded * width * kRowBytes), latency(all),
                        engine_.links);
    return;
  }
  const std::int64_t homes = worker.ep * worker.etp;
  if (homes <= 1) return;
  const CommGroup ranks = group(homes, homes);
  ExpertExchange there;
  there.rows = rows / static_cast<double>(worker.stage_ranks()) * peak_share;
  there.width = width;
  there.bytes_per_value = dispatch_row_bytes(worker.precision.experts, model_.d) / width;
  there.topk = static_cast<double>(model_.kinds[kind].ffn.top_k * worker.etp);
  ExpertExchange back = there;
  back.bytes_per_value = kRowBytes;
  const auto faster = [](const OpTime& a, const OpTime& b) {
    return a.seconds < b.seconds ? a : b;
  };
  Cost way;
  way.add_collective(
      faster(operators_.dispatch(ranks, there), operators_.dispatch_low_latency(ranks, there)),
      latency(ranks), engine_.links);
  way.add_collective(
      faster(operators_.combine(ranks, back), operators_.combine_low_latency(ranks, back)),
      latency(ranks), engine_.links);
  const double hidden = way.by[static_cast<std::size_t>(Bound::Link)] * engine_.hidden_exchange;
  way.add(Bound::Link, -hidden);
  cost += way;
}

Cost StepCost::hand_over(const Worker& worker, std::int64_t rows) const {
  Cost cost;
  if (worker.pp() <= 1) return cost;
  const double bytes =
      static_cast<double>(rows * model_.d) * kRowBytes / static_cast<double>(worker.tensor_ranks());
  const std::size_t level = cluster_.level_of(worker.gpus());
  cost.add_collective(operators_.send(level, bytes), cluster_.links[level].latency_s,
                      engine_.links);
  return cost;
}

}  // namespace pentafold
