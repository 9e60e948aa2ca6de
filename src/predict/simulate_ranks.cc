#include "predict/simulate_ranks.h"

#include <algorithm>

#include "predict/expert_placement.h"

namespace pentafold {
namespace {

// Of a long simulation some steps stand for all.
constexpr std::int64_t kAll = 4096;
constexpr std::int64_t kEvery = 16;

double talk_of(const Cost& cost) {
  return cost.by[static_cast<std::size_t>(Bound::Link)] +
         cost.by[static_cast<std::size_t>(Bound::Latency)];
}

double work_of(const Cost& cost) {
  return cost.seconds - talk_of(cost);
}

std::int64_t rows_of(const StepLoad& load) {
  std::int64_t rows = 0;
  for (const GroupLoad& group : load.groups) rows += group.rows();
  return rows;
}

}  // namespace

RankMeter::RankMeter(const StepCost& costs, const StepPricer& pricer)
    : costs_(costs), pricer_(pricer) {
  const Worker& worker = pricer.worker();
  const ModelShape& model = costs.model();
  std::size_t layer = 0;
  for (const std::int64_t count : worker.stage_layers) {
    std::vector<double>& kinds = layers_.emplace_back(model.kinds.size(), 0.0);
    for (std::int64_t i = 0; i < count; ++i) {
      kinds[static_cast<std::size_t>(model.layers[layer++])] += 1;
    }
  }
  for (std::size_t k = 0; k < model.kinds.size(); ++k) {
    peak_share_.push_back(costs.peak_share(k, worker));
    std::vector<double> load =
        group_loads(expert_profile(model, k, costs.workload()), worker.ep, worker.redundant);
    for (double& share : load) share = std::min(1.0, share / peak_share_.back());
    relative_.push_back(std::move(load));
  }
  sums_ = empty();
}

RankMeter::Sums RankMeter::empty() const {
  const Worker& worker = pricer_.worker();
  const std::size_t stages = layers_.size();
  const auto groups = [&](std::int64_t n) {
    return Table(stages, std::vector<double>(static_cast<std::size_t>(n), 0.0));
  };
  const std::vector<double> none(stages, 0.0);
  return {groups(worker.dp), groups(worker.ep), none, none, none};
}

void RankMeter::Sums::add(const Sums& other, double factor) {
  for (std::size_t s = 0; s < whole.size(); ++s) {
    const auto each = [&](std::vector<double>& into, const std::vector<double>& from) {
      for (std::size_t i = 0; i < into.size(); ++i) into[i] += from[i] * factor;
    };
    each(dense[s], other.dense[s]);
    each(experts[s], other.experts[s]);
    logits[s] += other.logits[s] * factor;
    talk[s] += other.talk[s] * factor;
    whole[s] += other.whole[s] * factor;
  }
}

// One layer of the kind, as often as a stage has it.
void RankMeter::split_kind(std::size_t kind, const StepLoad& load, Sums& sums) const {
  const Worker& worker = pricer_.worker();
  std::vector<double> dense;
  Cost slowest;
  std::int64_t most_rows = 0;
  for (const GroupLoad& group : load.groups) {
    const Cost cost = costs_.tensor(kind, worker, group);
    dense.push_back(work_of(cost));
    if (cost.seconds > slowest.seconds) slowest = cost;
    most_rows = std::max(most_rows, group.rows());
  }
  const auto rows = static_cast<double>(rows_of(load));
  const auto experts_at = [&](double part) {
    return costs_.experts_of(kind, worker, part * rows, part * static_cast<double>(most_rows),
                             peak_share_[kind]);
  };
  const Cost busiest = experts_at(1);
  const double full = work_of(busiest);
  const double slope = 2 * (full - work_of(experts_at(0.5)));
  for (std::size_t s = 0; s < layers_.size(); ++s) {
    const double n = layers_[s][kind];
    if (n == 0) continue;
    for (std::size_t d = 0; d < dense.size(); ++d) {
      sums.dense[s][d] += n * std::min(dense[d], work_of(slowest));
    }
    for (std::size_t g = 0; g < sums.experts[s].size(); ++g) {
      sums.experts[s][g] += n * std::max(0.0, full - slope * (1 - relative_[kind][g]));
    }
    sums.talk[s] += n * (talk_of(slowest) + talk_of(busiest));
    sums.whole[s] += n * (slowest.seconds + busiest.seconds);
  }
}

RankMeter::Sums RankMeter::split(const StepLoad& load) const {
  Sums sums = empty();
  for (std::size_t k = 0; k < peak_share_.size(); ++k) split_kind(k, load, sums);
  std::int64_t sampled = 0;
  std::int64_t rows = 0;
  for (const GroupLoad& group : load.groups) {
    sampled = std::max(sampled, group.sampled());
    rows = std::max(rows, group.rows());
  }
  for (std::size_t s = 0; s < layers_.size(); ++s) {
    const bool last = s + 1 == layers_.size();
    const Cost end =
        last ? costs_.logits(pricer_.worker(), sampled) : costs_.hand_over(pricer_.worker(), rows);
    sums.logits[s] += work_of(end);
    sums.talk[s] += talk_of(end);
    sums.whole[s] += end.seconds;
  }
  return sums;
}

void RankMeter::add(const StepRun& run) {
  ++seen_;
  if (seen_ > kAll && seen_ % kEvery != 0) return;
  const Cost cost = pricer_.cost(*run.load);
  if (!(cost.seconds > 0)) return;
  const Sums sums = split(*run.load);
  const double slowest = *std::ranges::max_element(sums.whole);
  if (!(slowest > 0)) return;
  const double scale = (run.end_s - run.start_s) / cost.seconds;
  const double busy = cost.seconds - cost.by[static_cast<std::size_t>(Bound::Bubble)];
  sums_.add(sums, busy * scale / slowest);
  step_s_ += cost.seconds * scale;
  error_s_ += cost.error_s * scale;
  priced_s_ += cost.seconds * scale;
}

std::vector<RankTime> RankMeter::ranks(double busy_share) const {
  const Worker& worker = pricer_.worker();
  const double share = step_s_ > 0 ? busy_share / step_s_ : 0;
  std::vector<RankTime> out;
  for (std::int64_t s = 0; s < worker.pp(); ++s) {
    const auto stage = static_cast<std::size_t>(s);
    for (std::int64_t r = 0; r < worker.stage_ranks(); ++r) {
      RankTime time{s, r, r / worker.tensor_ranks(), r / worker.etp % worker.ep};
      const double compute = sums_.dense[stage][static_cast<std::size_t>(time.dp_group)] +
                             sums_.experts[stage][static_cast<std::size_t>(time.expert_group)] +
                             sums_.logits[stage];
      time.compute = compute * share;
      time.communication = sums_.talk[stage] * share;
      time.waiting = std::max(0.0, sums_.whole[stage] - compute - sums_.talk[stage]) * share;
      time.bubble = std::max(0.0, step_s_ - sums_.whole[stage]) * share;
      time.idle = 1 - (time.compute + time.communication + time.waiting + time.bubble);
      out.push_back(time);
    }
  }
  return out;
}

RankTime mean_of(const std::vector<RankTime>& ranks) {
  RankTime mean;
  for (const RankTime& rank : ranks) {
    const double part = 1 / static_cast<double>(ranks.size());
    mean.compute += part * rank.compute;
    mean.communication += part * rank.communication;
    mean.waiting += part * rank.waiting;
    mean.bubble += part * rank.bubble;
    mean.idle += part * rank.idle;
  }
  return mean;
}

}  // namespace pentafold
