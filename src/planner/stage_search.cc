#include "planner/stage_search.h"

#include <algorithm>
#include <limits>

namespace pentafold {
namespace {

unsigned family_kinds(const Worker& w) {
  unsigned kinds = 0;
  unsigned bit = 1;
  for (const std::int64_t degree : {w.pp(), w.dp, w.sp, w.tp, w.ep, w.etp}) {
    if (degree > 1) kinds |= bit;
    bit <<= 1;
  }
  return kinds;
}

}  // namespace

void ParetoFront::offer(double per_gpu, double per_user, const std::function<Deployment()>& make) {
  const auto faster = best_.lower_bound(per_user);
  if (faster != best_.end() && faster->second.first >= per_gpu) return;
  const auto kept = best_.insert_or_assign(per_user, std::make_pair(per_gpu, make())).first;
  // Those no faster and no better are beaten.
  for (auto it = kept; it != best_.begin();) {
    --it;
    if (it->second.first > per_gpu) break;
    it = best_.erase(it);
  }
}

void ParetoFront::merge(const ParetoFront& other) {
  for (const auto& [per_user, entry] : other.best_) {
    offer(entry.first, per_user, [&] { return entry.second; });
  }
}

std::vector<Deployment> ParetoFront::by_user() const {
  std::vector<Deployment> out;
  for (auto it = best_.rbegin(); it != best_.rend(); ++it) out.push_back(it->second.second);
  return out;
}

StageSearch::StageSearch(const Problem& problem, const StepCost& costs, const Precision& precision,
                         std::int64_t ranks, const SearchOptions& options)
    : problem_(problem),
      costs_(costs),
      ranks_(ranks),
      pareto_(options.pareto),
      shortlists_(options.shortlist > 0) {
  worker_.precision = precision;
  for (auto& layers : stage_cuts(problem, ranks)) {
    std::vector<StageMix> mixes = stage_mixes(problem.model, layers);
    cuts_.push_back({std::move(layers), std::move(mixes)});
  }
  folds_ = expert_folds(problem.model, ranks);
  expert_memo_.resize(folds_.size());
}

void StageSearch::run(Role role) {
  chunks_ = role == Role::Decode ? std::vector<std::int64_t>{1} : chunk_sizes(problem_.workload);
  prompts_.clear();
  for (const std::int64_t chunk : chunks_) {
    prompts_.push_back(prompts_per_pass(problem_.workload.isl, chunk));
  }
  for (const AttentionFold& fold : attention_folds(problem_.model, ranks_)) {
    if (role == Role::Decode && fold.sp > 1) continue;
    run_fold(fold, role);
  }
}

void StageSearch::run_fold(const AttentionFold& fold, Role role) {
  worker_.dp = fold.dp;
  worker_.sp = fold.sp;
  worker_.tp = fold.tp;
  const std::size_t kinds = problem_.model.kinds.size();
  tensor_prefill_.assign(kinds, std::vector<double>(chunks_.size(), 0.0));
  logits_s_.clear();
  for (const std::int64_t prompts : prompts_) {
    logits_s_.push_back(costs_.logits(worker_, prompts).seconds);
  }
  if (role != Role::Decode) {
    for (std::size_t k = 0; k < kinds; ++k) {
      for (std::size_t c = 0; c < chunks_.size(); ++c) {
        worker_.chunk = chunks_[c];
        tensor_prefill_[k][c] = costs_.tensor_prefill(k, worker_, prompts_[c]).seconds;
      }
    }
  }
  for (fold_index_ = 0; fold_index_ < folds_.size(); ++fold_index_) {
    worker_.ep = folds_[fold_index_].ep;
    worker_.etp = folds_[fold_index_].etp;
    worker_.redundant = folds_[fold_index_].redundant;
    // An even load gains nothing from more copies than fill the groups: same time, more memory.
    const bool spare = fold_index_ > 0 && folds_[fold_index_ - 1].ep == worker_.ep &&
                       folds_[fold_index_ - 1].etp == worker_.etp;
    if (spare && problem_.workload.even()) continue;
    run_experts(role);
  }
}

void StageSearch::run_experts(Role role) {
  const std::size_t kinds = problem_.model.kinds.size();
  kind_share_.clear();
  for (std::size_t k = 0; k < kinds; ++k) kind_share_.push_back(costs_.peak_share(k, worker_));
  peak_share_ = worst_peak_share(costs_, worker_);
  experts_prefill_.assign(kinds, std::vector<double>(chunks_.size(), 0.0));
  chunk_activations_.clear();
  for (std::size_t c = 0; c < chunks_.size(); ++c) {
    worker_.chunk = chunks_[c];
    chunk_activations_.push_back(activations_of(chunks_[c]));
    if (role == Role::Decode) continue;
    for (std::size_t k = 0; k < kinds; ++k) {
      const ChunkCount count = chunks_of(problem_.workload.isl, prompts_[c], chunks_[c]);
      double seconds = 0;
      if (count.full > 0) {
        seconds += experts_at(chunks_[c])[k] * static_cast<double>(count.full);
      }
      if (count.rest > 0) seconds += experts_at(count.rest)[k];
      experts_prefill_[k][c] = seconds;
    }
  }
  count_bytes(role);
  for (const CutPlan& cut : cuts_) run_cut(cut, role);
}

void StageSearch::count_bytes(Role role) {
  const std::int64_t tokens = cached_tokens(problem_.workload, role);
  bytes_.weights.clear();
  bytes_.sequence.clear();
  for (const LayerShape& kind : problem_.model.kinds) {
    bytes_.weights.push_back(layer_weight_bytes(kind, worker_));
    bytes_.sequence.push_back(layer_kv_bytes(kind, worker_, tokens));
  }
  for (std::size_t i = 0; i < bytes_.outer.size(); ++i) {
    bytes_.outer[i] = outer_weight_bytes(problem_.model, worker_, i % 2 == 1, i / 2 == 1);
  }
  bytes_.logits = buffer_bytes(problem_.model, worker_, 0, 1, peak_share_);
}

void StageSearch::run_cut(const CutPlan& cut, Role role) {
  worker_.stage_layers = cut.layers;
  mix_bytes_.clear();
  for (const StageMix& mix : cut.mixes) {
    const std::size_t position = (mix.first ? 1U : 0U) + (mix.last ? 2U : 0U);
    MixBytes bytes{kRuntimeReserveBytes + bytes_.outer[position], 0, mix.last};
    for (std::size_t k = 0; k < mix.layers_of_kind.size(); ++k) {
      const auto n = static_cast<double>(mix.layers_of_kind[k]);
      if (n == 0) continue;
      bytes.fixed += n * bytes_.weights[k];
      bytes.sequence += n * bytes_.sequence[k];
    }
    mix_bytes_.push_back(bytes);
  }
  family_ = &families_[static_cast<std::size_t>(role)][family_kinds(worker_)];
  worker_.batch = 1;
  const double least = memory_bytes(chunk_activations_.front(), 0);
  if (least > problem_.memory_limit()) {
    miss({Limit::Memory, least, problem_.memory_limit()});
    return;
  }
  pass_s_.clear();
  for (std::size_t c = 0; c < chunks_.size(); ++c) {
    pass_s_.push_back(role == Role::Decode ? 0 : prefill_seconds(cut, c));
  }
  if (role == Role::Prefill) {
    transfer_s_ = kv_transfer_seconds(costs_, worker_);
    for (std::size_t c = 0; c < chunks_.size(); ++c) {
      worker_.chunk = chunks_[c];
      worker_.batch = prompts_[c];
      worker_.microbatches = 1;
      judge(0, pass_s_[c], prompts_[c], memory_bytes(chunk_activations_[c], worker_.batch), role);
    }
    return;
  }
  // Large batches first: what they reach cuts most of the small ones.
  const std::vector<BatchPoint> points = batch_points(problem_, worker_.pp(), ranks_, worker_.dp);
  cut_best_.reset();
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    run_batch(cut, *point, role);
  }
  if (cut_best_) shortlist_.push_back(std::move(*cut_best_));
}

void StageSearch::run_batch(const CutPlan& cut, const BatchPoint& point, Role role) {
  worker_.batch = point.batch;
  worker_.microbatches = point.microbatches;
  const std::int64_t rows = (point.batch + point.microbatches - 1) / point.microbatches;
  const double least = memory_bytes(chunk_activations_.front(), rows);
  if (least > problem_.memory_limit()) {
    miss({Limit::Memory, least, problem_.memory_limit()});
    return;
  }
  const double decode_s = decode_seconds(cut, point);
  const bool decodes = problem_.workload.osl > 1;
  if (!pareto_ && decodes && problem_.targets.tpot_s && decode_s > *problem_.targets.tpot_s) {
    // No chunk can help. They are only judged, TTFT first, if the family's nearest miss may be
    // here.
    const Miss least{Limit::Tpot, decode_s, *problem_.targets.tpot_s};
    if (family_->nearest && !least.nearer_than(*family_->nearest)) return;
  }
  if (role == Role::Both && cannot_win(decode_s)) return;
  for (std::size_t c = 0; c < chunks_.size(); ++c) {
    worker_.chunk = chunks_[c];
    if (role == Role::Both && prompts_[c] > point.batch) continue;
    const double activations = rows > chunks_[c] ? activations_of(rows) : chunk_activations_[c];
    judge(decode_s, pass_s_[c], std::min(prompts_[c], point.batch), memory_bytes(activations, rows),
          role);
  }
}

// Prompts to compute only cost time: the rate of decoding alone bounds what the batch can give.
bool StageSearch::cannot_win(double decode_s) const {
  const std::optional<Deployment>& best = shortlists_ ? cut_best_ : family_->best;
  if (pareto_ || !best) return false;
  if (problem_.targets.objective != Objective::TokensPerSecondPerGpu || decode_s <= 0 ||
      problem_.workload.osl < 2 || problem_.cluster.gpus == 0) {
    return false;
  }
  const double steps =
      static_cast<double>(problem_.workload.osl - 1) / static_cast<double>(problem_.workload.osl);
  const double rate = static_cast<double>(worker_.batch * worker_.dp) / (steps * decode_s);
  const std::int64_t workers = problem_.gpu_limit() / worker_.gpus();
  const auto replicas = static_cast<double>(workers);
  return rate * replicas / static_cast<double>(problem_.cluster.gpus) <
         best->score.tokens_per_s_per_gpu();
}

bool StageSearch::beats(const Score& score, const std::optional<Deployment>& best) const {
  if (!best) return true;
  const double better = compare(problem_, score, best->score);
  return better > 0 || (better == 0 && simpler(worker_, best->pools.front().worker));
}

void StageSearch::judge(double decode_s, double prefill_s, std::int64_t prompts, double memory,
                        Role role) {
  ++evaluated_;
  const Rates rates =
      steady_state(problem_.workload, worker_, {prefill_s, decode_s, prompts}, role);
  if (role != Role::Both) {
    judge_pool(rates, memory, role);
    return;
  }
  std::int64_t replicas = 0;
  const auto score = pool_score(problem_, worker_, rates, &replicas);
  if (!score) return;
  const auto failed = first_miss(problem_, *score, memory);
  const auto make = [&] { return Deployment{{Pool{worker_, replicas, Role::Both}}, *score}; };
  if (pareto_ && (!failed || failed->limit >= Limit::Tpot)) {
    pareto_front_.offer(score->tokens_per_s_per_gpu(), score->tokens_per_s_per_user(), make);
  }
  if (failed) {
    miss(*failed);
    return;
  }
  if (shortlists_ && beats(*score, cut_best_)) cut_best_ = make();
  if (beats(*score, family_->best)) family_->best = make();
}

void StageSearch::judge_pool(const Rates& rates, double memory, Role role) {
  const Targets& targets = problem_.targets;
  if (memory > problem_.memory_limit()) {
    miss({Limit::Memory, memory, problem_.memory_limit()});
    return;
  }
  SizeBest found;
  found.worker = worker_;
  found.requests_per_s = found.full_requests_per_s = rates.requests_per_s;
  found.tpot_s = rates.tpot_s;
  found.prefill_tokens_per_s = rates.prefill_tokens_per_s;
  found.service_s = rates.service_s;
  if (role == Role::Prefill) {
    const double alone = rates.ttft_s + transfer_s_;
    if (targets.ttft_s && alone > *targets.ttft_s) {
      miss({Limit::Ttft, alone, *targets.ttft_s});
      return;
    }
    const double load =
        targets.ttft_s
            ? std::min(load_for_wait(*targets.ttft_s - alone, rates.service_s), kHighestLoad)
            : kHighestLoad;
    found.requests_per_s *= load;
    found.alone_s = alone;
    found.ttft_s = alone + queue_wait_seconds(load, rates.service_s);
    // At the load that the limit allows the sum is the limit, whatever rounding makes of it.
    if (targets.ttft_s) found.ttft_s = std::min(found.ttft_s, *targets.ttft_s);
  } else if (targets.tpot_s && rates.tpot_s > *targets.tpot_s) {
    miss({Limit::Tpot, rates.tpot_s, *targets.tpot_s});
    return;
  }
  if (found.requests_per_s <= 0) return;
  const auto [it, fresh] =
      sizes_[static_cast<std::size_t>(role)].try_emplace(worker_.gpus(), found);
  if (fresh) return;
  SizeBest& best = it->second;
  double better = found.requests_per_s - best.requests_per_s;
  if (targets.objective == Objective::Ttft && role == Role::Prefill) {
    better = best.ttft_s - found.ttft_s;
  }
  if (targets.objective == Objective::Tpot && role == Role::Decode) {
    better = best.tpot_s - found.tpot_s;
  }
  if (better > 0 || (better == 0 && simpler(worker_, best.worker))) best = found;
}

void StageSearch::miss(const Miss& miss) {
  if (family_->nearest && !miss.nearer_than(*family_->nearest)) return;
  family_->nearest = miss;
  family_->nearest_worker = worker_;
}

const std::vector<double>& StageSearch::tensor_decode(std::int64_t rows) {
  auto& memo = tensor_memo_[worker_.tensor_ranks()];
  const auto [it, fresh] = memo.try_emplace(rows);
  if (fresh) {
    for (std::size_t k = 0; k < problem_.model.kinds.size(); ++k) {
      it->second.push_back(costs_.tensor_decode(k, worker_, rows).seconds);
    }
    it->second.push_back(costs_.logits(worker_, rows).seconds);
  }
  return it->second;
}

const std::vector<double>& StageSearch::experts_at(std::int64_t rows) {
  // With the stage's ranks given, only the rows of the whole stage matter, and whether one group
  // has them all: its ranks then hold the same rows.
  const std::int64_t key = 2 * rows * worker_.dp + (worker_.dp == 1 ? 1 : 0);
  const auto [it, fresh] = expert_memo_[fold_index_].try_emplace(key);
  if (fresh) {
    for (std::size_t k = 0; k < problem_.model.kinds.size(); ++k) {
      it->second.push_back(costs_.experts(k, worker_, rows, kind_share_[k]).seconds);
    }
  }
  return it->second;
}

double StageSearch::prefill_seconds(const CutPlan& cut, std::size_t chunk) const {
  Worker worker = worker_;
  worker.chunk = chunks_[chunk];
  const std::int64_t prompts = prompts_[chunk];
  const ChunkCount count = chunks_of(problem_.workload.isl, prompts, worker.chunk);
  const std::int64_t rows = count.full > 0 ? worker.chunk : count.rest;
  const double logits = costs_.logits(worker, prompts).seconds;
  const double hand_over = costs_.hand_over(worker, (rows + worker.sp - 1) / worker.sp).seconds *
                           static_cast<double>(count.count());
  PipelineTime times;
  for (const StageMix& mix : cut.mixes) {
    double tensor = 0;
    double experts = 0;
    for (std::size_t k = 0; k < mix.layers_of_kind.size(); ++k) {
      if (mix.layers_of_kind[k] == 0) continue;
      const auto n = static_cast<double>(mix.layers_of_kind[k]);
      tensor += tensor_prefill_[k][chunk] * n;
      experts += experts_prefill_[k][chunk] * n;
    }
    times.add(tensor + experts + (mix.last ? logits : hand_over), mix.count);
  }
  return prefill_pass_seconds(times, count.count(), costs_.fixed(prompts, true).seconds);
}

double StageSearch::decode_seconds(const CutPlan& cut, const BatchPoint& point) {
  const std::int64_t rows = (point.batch + point.microbatches - 1) / point.microbatches;
  const std::vector<double>& tensor_part = tensor_decode(rows);
  const std::vector<double>& expert_part = experts_at(rows);
  const double logits = tensor_part.back();
  const double hand_over = costs_.hand_over(worker_, rows).seconds;
  PipelineTime times;
  for (const StageMix& mix : cut.mixes) {
    double tensor = 0;
    double experts = 0;
    for (std::size_t k = 0; k < mix.layers_of_kind.size(); ++k) {
      if (mix.layers_of_kind[k] == 0) continue;
      const auto n = static_cast<double>(mix.layers_of_kind[k]);
      tensor += tensor_part[k] * n;
      experts += expert_part[k] * n;
    }
    times.add(tensor + experts + (mix.last ? logits : hand_over), mix.count);
  }
  return decode_step_seconds(times, point.microbatches, costs_.fixed(point.batch, false).seconds);
}

double StageSearch::activations_of(std::int64_t rows) {
  return activation_bytes(problem_.model, worker_, rows) +
         buffer_bytes(problem_.model, worker_, rows, 0, peak_share_);
}

double StageSearch::memory_bytes(double activations, std::int64_t sampled) const {
  const double logits = bytes_.logits * static_cast<double>(sampled);
  double most = 0;
  for (const MixBytes& mix : mix_bytes_) {
    const double bytes = mix.fixed + mix.sequence * static_cast<double>(worker_.batch) +
                         activations + (mix.last ? logits : 0.0);
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace pentafold
