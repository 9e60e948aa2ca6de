// Routing steps of a worker: which experts every row goes to, and who overflows a capacity.
#include <algorithm>
#include <cmath>

#include "execute/worker.h"

namespace pentafold {

Status RankWorker::operator_step(const step::Route& s) {
  const RouterRule rule = router_rule(context_.model);
  const std::int64_t n = rows(Register::RouterLogits);
  const ConstRows logits = reg(Register::RouterLogits);
  work_->moe.experts.resize(static_cast<std::size_t>(n * rule.top_k));
  work_->moe.weights.resize(work_->moe.experts.size());
  work_->moe.scores.resize(static_cast<std::size_t>(n * rule.experts));
  const std::int64_t parts = std::min(n, 4 * team_.size());
  team_.run(parts, [&](std::int64_t part) {
    const Range mine = split(n, parts, part);
    for (std::int64_t r = mine.begin; r < mine.end; ++r) {
      const auto k = static_cast<std::size_t>(r * rule.top_k);
      const auto e = static_cast<std::size_t>(r * rule.experts);
      select_experts(
          rule, {logits.row(r), static_cast<std::size_t>(rule.experts)},
          std::span(work_->moe.scores).subspan(e, static_cast<std::size_t>(rule.experts)),
          std::span(work_->moe.experts).subspan(k, static_cast<std::size_t>(rule.top_k)),
          std::span(work_->moe.weights).subspan(k, static_cast<std::size_t>(rule.top_k)));
    }
  });
  if (!context_.plan.capacity_factor) count_routing(s.layer, work_->moe.experts);
  return ok_status();
}

void RankWorker::count_routing(LayerId layer, std::span<const std::int32_t> before) {
  LayerRouting& counts = routing_.layers[layer.index()];
  const RouterRule rule = router_rule(context_.model);
  const std::int64_t n = rows(Register::RouterLogits);
  counts.tokens += n;
  counts.wanted += n * rule.top_k;
  for (std::size_t i = 0; i < work_->moe.experts.size(); ++i) {
    ++counts.chosen[static_cast<std::size_t>(before[i])];
    if (work_->moe.experts[i] != before[i]) ++counts.refused[static_cast<std::size_t>(before[i])];
    if (work_->moe.experts[i] != kDropped)
      ++counts.assigned[static_cast<std::size_t>(work_->moe.experts[i])];
  }
  for (std::size_t i = 0; i < work_->moe.scores.size(); ++i) {
    counts.score[i % static_cast<std::size_t>(rule.experts)] +=
        std::llround(static_cast<double>(work_->moe.scores[i]) / kScoreUnit);
  }
}

// Every rank of the stage replays the same admission over all rows of the microbatch, in row order;
// the ledger carries over to the step's later microbatches, whose rows come later in that order.
Status RankWorker::operator_step(const step::Capacity& s) {
  const RouterRule rule = router_rule(context_.model);
  const bool ranked = context_.plan.overflow == OverflowPolicy::NextBest;
  const std::pmr::vector<std::int32_t> mine = capacity_entries(rule, ranked);
  const auto per_row = static_cast<std::size_t>(1 + rule.top_k + (ranked ? rule.experts : 0));
  std::int64_t stage_rows = 0;
  for (const Segment& segment : std::span(batch_->segments)
                                    .subspan(static_cast<std::size_t>(segments_.begin),
                                             static_cast<std::size_t>(segments_.size()))) {
    stage_rows += std::ssize(segment.tokens);
  }
  std::pmr::vector<std::int32_t> all = passing_room<std::int32_t>(
      stage_rows *
      static_cast<std::int64_t>(per_row));  // entries of the whole stage, each per_row long
  PF_TRY(comm_.all_gather_v(
      group(GroupKind::Stage), as_bytes_of(mine), [&](std::int64_t, Bytes bytes) {
        const auto* from = reinterpret_cast<const std::int32_t*>(bytes.data());
        all.insert(all.end(), from, from + bytes.size() / sizeof(*from));
      }));
  std::pmr::vector<std::int32_t*> ordered = passing_room<std::int32_t*>(stage_rows);
  for (std::size_t at = 0; at < all.size(); at += per_row) ordered.push_back(all.data() + at);
  std::sort(ordered.begin(), ordered.end(),
            [](const std::int32_t* a, const std::int32_t* b) { return *a < *b; });
  auto [ledger, fresh] = ledgers_.try_emplace(s.layer.value);
  if (fresh) {
    const double factor = *context_.plan.capacity_factor;
    ledger->second = CapacityLedger(expert_capacity(factor, batch_->tokens, rule), rule.experts);
  }
  const std::pmr::vector<std::int32_t> before(work_->moe.experts, &work_->scratch);
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  auto row = static_cast<std::size_t>(work_->table.slice.begin);  // mine are ascending too
  auto admitted = work_->moe.experts.begin();
  for (std::int32_t* entry : ordered) {
    const std::span chosen(entry + 1, top_k);
    ledger->second.admit(context_.plan.overflow, chosen, {entry + 1 + top_k, entry + per_row});
    if (admitted == work_->moe.experts.end() || work_->table.group[row].number != *entry) continue;
    admitted = std::copy(chosen.begin(), chosen.end(), admitted);
    ++row;
  }
  reweight_rows(rule, before);
  count_routing(s.layer, before);
  return ok_status();
}

// For each row of Slice: its number, its top_k, and (ranked) all experts from best to worst.
std::pmr::vector<std::int32_t> RankWorker::capacity_entries(const RouterRule& rule, bool ranked) {
  const std::int64_t per_row = 1 + rule.top_k + (ranked ? rule.experts : 0);
  auto entries = passing_room<std::int32_t>(work_->table.slice.size() * per_row);
  const auto experts = static_cast<std::size_t>(rule.experts);
  for (std::int64_t r = 0; r < work_->table.slice.size(); ++r) {
    const auto& row = work_->table.group[static_cast<std::size_t>(work_->table.slice.begin + r)];
    entries.push_back(static_cast<std::int32_t>(row.number));
    const auto chosen = work_->moe.experts.begin() + r * rule.top_k;
    entries.insert(entries.end(), chosen, chosen + rule.top_k);
    if (!ranked) continue;
    const auto order = rank_experts(
        std::span(work_->moe.scores).subspan(static_cast<std::size_t>(r) * experts, experts));
    entries.insert(entries.end(), order.begin(), order.end());
  }
  return entries;
}

void RankWorker::reweight_rows(const RouterRule& rule, std::span<const std::int32_t> before) {
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  const auto experts = static_cast<std::size_t>(rule.experts);
  for (std::size_t r = 0; r * top_k < before.size(); ++r) {
    reweight(rule, std::span(work_->moe.scores).subspan(r * experts, experts),
             before.subspan(r * top_k, top_k),
             std::span(work_->moe.experts).subspan(r * top_k, top_k),
             std::span(work_->moe.weights).subspan(r * top_k, top_k));
  }
}

}  // namespace pentafold
