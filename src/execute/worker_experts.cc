// Expert steps of a worker: route, capacity, dispatch, expert_mlp, combine.
//
// A dispatch message to one stage member is: how many rows and requests, the requests (row of this
// message, expert), then the rows. The answer holds one output per request, in the order asked, as
// the subtree sums of the shard the member holds. So the home rank alone knows tokens and weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/canonical_math.h"
#include "base/check.h"
#include "base/reduction_tree.h"
#include "execute/worker.h"

namespace pentafold {
namespace {

struct Asked {
  std::int32_t row = 0;  // of the message
  std::int32_t expert = 0;
};

struct DispatchMessage {
  std::vector<Asked> asked;
  std::vector<std::int32_t> rows;  // of Slice
};

std::vector<std::byte> encode(const DispatchMessage& message, ConstRows x, std::int64_t d) {
  if (message.asked.empty()) return {};
  const std::int64_t counts[2] = {static_cast<std::int64_t>(message.rows.size()),
                                  static_cast<std::int64_t>(message.asked.size())};
  const std::size_t row_bytes = static_cast<std::size_t>(d) * sizeof(float);
  std::vector<std::byte> out(sizeof counts + message.asked.size() * sizeof(Asked) +
                             message.rows.size() * row_bytes);
  std::byte* at = out.data();
  std::memcpy(at, counts, sizeof counts);
  at += sizeof counts;
  std::memcpy(at, message.asked.data(), message.asked.size() * sizeof(Asked));
  at += message.asked.size() * sizeof(Asked);
  for (const std::int32_t row : message.rows) {
    std::memcpy(at, x.row(row), row_bytes);
    at += row_bytes;
  }
  return out;
}

}  // namespace

Status RankWorker::operator_step(const step::Route& s) {
  const RouterRule rule = router_rule(context_.model);
  const std::int64_t n = rows(Register::RouterLogits);
  const ConstRows logits = reg(Register::RouterLogits);
  moe_.experts.resize(static_cast<std::size_t>(n * rule.top_k));
  moe_.weights.resize(moe_.experts.size());
  moe_.scores.resize(static_cast<std::size_t>(n * rule.experts));
  for (std::int64_t r = 0; r < n; ++r) {
    const auto k = static_cast<std::size_t>(r * rule.top_k);
    const auto e = static_cast<std::size_t>(r * rule.experts);
    select_experts(rule, {logits.row(r), static_cast<std::size_t>(rule.experts)},
                   std::span(moe_.scores).subspan(e, static_cast<std::size_t>(rule.experts)),
                   std::span(moe_.experts).subspan(k, static_cast<std::size_t>(rule.top_k)),
                   std::span(moe_.weights).subspan(k, static_cast<std::size_t>(rule.top_k)));
  }
  if (!context_.plan.capacity_factor) count_routing(s.layer, moe_.experts);
  return ok_status();
}

void RankWorker::count_routing(LayerId layer, std::span<const std::int32_t> before) {
  LayerRouting& counts = routing_.layers[layer.index()];
  const RouterRule rule = router_rule(context_.model);
  const std::int64_t n = rows(Register::RouterLogits);
  counts.tokens += n;
  counts.wanted += n * rule.top_k;
  for (std::size_t i = 0; i < moe_.experts.size(); ++i) {
    if (moe_.experts[i] != before[i]) ++counts.refused[static_cast<std::size_t>(before[i])];
    if (moe_.experts[i] != kDropped) ++counts.assigned[static_cast<std::size_t>(moe_.experts[i])];
  }
  for (std::size_t i = 0; i < moe_.scores.size(); ++i) {
    counts.score[i % static_cast<std::size_t>(rule.experts)] +=
        std::llround(static_cast<double>(moe_.scores[i]) / kScoreUnit);
  }
}

// Every rank of the stage replays the same admission over all rows of the microbatch, in row order;
// the ledger carries over to the step's later microbatches, whose rows come later in that order.
Status RankWorker::operator_step(const step::Capacity& s) {
  const RouterRule rule = router_rule(context_.model);
  const bool ranked = context_.plan.overflow == OverflowPolicy::NextBest;
  const std::vector<std::int32_t> mine = capacity_entries(rule, ranked);
  std::vector<std::int32_t> all;  // entries of the whole stage, each per_row long
  PF_TRY(comm_.all_gather_v(
      group(GroupKind::Stage), as_bytes_of(mine), [&](std::int64_t, Bytes bytes) {
        const auto* from = reinterpret_cast<const std::int32_t*>(bytes.data());
        all.insert(all.end(), from, from + bytes.size() / sizeof(*from));
      }));
  const auto per_row = static_cast<std::size_t>(1 + rule.top_k + (ranked ? rule.experts : 0));
  std::vector<std::int32_t*> ordered;
  for (std::size_t at = 0; at < all.size(); at += per_row) ordered.push_back(all.data() + at);
  std::sort(ordered.begin(), ordered.end(),
            [](const std::int32_t* a, const std::int32_t* b) { return *a < *b; });
  auto [ledger, fresh] = ledgers_.try_emplace(s.layer.value);
  if (fresh) {
    const double factor = *context_.plan.capacity_factor;
    ledger->second = CapacityLedger(expert_capacity(factor, batch_->tokens, rule), rule.experts);
  }
  const std::vector<std::int32_t> before = moe_.experts;
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  auto row = static_cast<std::size_t>(table_.slice.begin);  // mine are ascending too
  auto admitted = moe_.experts.begin();
  for (std::int32_t* entry : ordered) {
    const std::span chosen(entry + 1, top_k);
    ledger->second.admit(context_.plan.overflow, chosen, {entry + 1 + top_k, entry + per_row});
    if (admitted == moe_.experts.end() || table_.group[row].number != *entry) continue;
    admitted = std::copy(chosen.begin(), chosen.end(), admitted);
    ++row;
  }
  reweight_rows(rule, before);
  count_routing(s.layer, before);
  return ok_status();
}

// For each row of Slice: its number, its top_k, and (ranked) all experts from best to worst.
std::vector<std::int32_t> RankWorker::capacity_entries(const RouterRule& rule, bool ranked) const {
  std::vector<std::int32_t> entries;
  const auto experts = static_cast<std::size_t>(rule.experts);
  for (std::int64_t r = 0; r < table_.slice.size(); ++r) {
    const auto& row = table_.group[static_cast<std::size_t>(table_.slice.begin + r)];
    entries.push_back(static_cast<std::int32_t>(row.number));
    const auto chosen = moe_.experts.begin() + r * rule.top_k;
    entries.insert(entries.end(), chosen, chosen + rule.top_k);
    if (!ranked) continue;
    const auto order = rank_experts(
        std::span(moe_.scores).subspan(static_cast<std::size_t>(r) * experts, experts));
    entries.insert(entries.end(), order.begin(), order.end());
  }
  return entries;
}

void RankWorker::reweight_rows(const RouterRule& rule, std::span<const std::int32_t> before) {
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  const auto experts = static_cast<std::size_t>(rule.experts);
  for (std::size_t r = 0; r * top_k < before.size(); ++r) {
    reweight(rule, std::span(moe_.scores).subspan(r * experts, experts),
             before.subspan(r * top_k, top_k), std::span(moe_.experts).subspan(r * top_k, top_k),
             std::span(moe_.weights).subspan(r * top_k, top_k));
  }
}

Status RankWorker::operator_step(const step::Dispatch& s) {
  const auto members = static_cast<std::size_t>(group_size(GroupKind::Stage));
  const std::int64_t top_k = context_.model.top_k;
  const std::int64_t n = rows(Register::RouterLogits);
  std::vector<DispatchMessage> messages(members);
  moe_.wanted.assign(members, {});
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t k = 0; k < top_k; ++k) {
      const std::int32_t expert = moe_.experts[static_cast<std::size_t>(r * top_k + k)];
      if (expert == kDropped) continue;
      const ExpertCopy& copy =
          ranks_.placement->serving_copy(s.layer.value, expert, ranks_.place.index);
      for (std::size_t shard = 0; shard < copy.ranks.size(); ++shard) {
        const auto to = static_cast<std::size_t>(copy.ranks[shard]);
        DispatchMessage& message = messages[to];
        const auto row = static_cast<std::int32_t>(r);
        if (message.rows.empty() || message.rows.back() != row) message.rows.push_back(row);
        message.asked.push_back({static_cast<std::int32_t>(message.rows.size() - 1), expert});
        moe_.wanted[to].push_back(
            {row, static_cast<std::int32_t>(k), static_cast<std::int32_t>(shard)});
      }
    }
  }
  const Rows normed = reg(Register::Normed);
  const ConstRows x{normed.row(table_.slice.begin - table_.local.begin), normed.ld};
  std::vector<std::vector<std::byte>> encoded;
  std::vector<Bytes> views;
  encoded.reserve(members);
  for (const DispatchMessage& message : messages) {
    encoded.push_back(encode(message, x, s.width));
    views.emplace_back(encoded.back());
  }
  moe_.arrived.clear();
  moe_.inputs.assign(members, {});
  return comm_.all_to_all_v(group(GroupKind::Stage), views, [&](std::int64_t member, Bytes bytes) {
    if (bytes.empty()) return;
    std::int64_t counts[2];
    std::memcpy(counts, bytes.data(), sizeof counts);
    const std::byte* at = bytes.data() + sizeof counts;
    for (std::int64_t i = 0; i < counts[1]; ++i) {
      Asked asked;
      std::memcpy(&asked, at + i * static_cast<std::int64_t>(sizeof asked), sizeof asked);
      moe_.arrived.push_back({static_cast<std::int32_t>(member), asked.row, asked.expert, 0});
    }
    at += counts[1] * static_cast<std::int64_t>(sizeof(Asked));
    auto& input = moe_.inputs[static_cast<std::size_t>(member)];
    input.resize(static_cast<std::size_t>(counts[0] * s.width));
    std::memcpy(input.data(), at, input.size() * sizeof(float));
  });
}

Status RankWorker::operator_step(const step::ExpertMlp& s) {
  const std::int64_t d = context_.model.d;
  std::map<std::int32_t, const step::LocalExpert*> local;
  for (const step::LocalExpert& expert : s.experts) local[expert.expert.value] = &expert;
  // Outputs lie by member, then in the order asked, so that each answer is one contiguous message.
  moe_.member_begin.assign(static_cast<std::size_t>(group_size(GroupKind::Stage)) + 1, 0);
  std::map<std::int32_t, std::vector<std::size_t>> by_expert;
  std::int64_t size = 0;
  for (std::size_t i = 0; i < moe_.arrived.size(); ++i) {
    Arrived& arrived = moe_.arrived[i];
    const auto expert = local.find(arrived.expert);
    CHECK(expert != local.end(), "tokens are sent only to ranks that hold the expert");
    arrived.out = size;
    size += static_cast<std::int64_t>(expert->second->nodes.size()) * d;
    moe_.member_begin[static_cast<std::size_t>(arrived.member) + 1] = size;
    by_expert[arrived.expert].push_back(i);
  }
  for (std::size_t m = 1; m < moe_.member_begin.size(); ++m) {
    moe_.member_begin[m] = std::max(moe_.member_begin[m], moe_.member_begin[m - 1]);
  }
  moe_.outputs.resize(static_cast<std::size_t>(size));
  for (const auto& [expert, mine] : by_expert) run_expert(s, *local.at(expert), mine);
  return ok_status();
}

void RankWorker::run_expert(const step::ExpertMlp& s, const step::LocalExpert& expert,
                            std::span<const std::size_t> mine) {
  const std::int64_t d = context_.model.d;
  const auto n = static_cast<std::int64_t>(mine.size());
  const std::int64_t hidden = expert.up.rows.size();
  std::vector<float> x;
  x.reserve(static_cast<std::size_t>(n * d));
  for (const std::size_t i : mine) {
    const Arrived& arrived = moe_.arrived[i];
    const auto& input = moe_.inputs[static_cast<std::size_t>(arrived.member)];
    const auto from = input.begin() + arrived.row * d;
    x.insert(x.end(), from, from + d);
  }
  const auto project = [&](const WeightSlice& slice, std::vector<float>& out) {
    out.resize(static_cast<std::size_t>(n * hidden));
    const MatrixView w = matrix(slice);
    GemmArgs args;
    args.rows = n;
    args.x = {x.data(), d};
    args.w = w.matrix;
    args.n = w.n;
    args.k = w.k;
    args.y = {out.data(), hidden};
    context_.device.gemm(args);
  };
  std::vector<float> gate;
  std::vector<float> up;
  const bool gated = !expert.gate.rows.empty();
  if (gated) project(expert.gate, gate);
  project(expert.up, up);
  activate(n, hidden, gated, {gate.data(), hidden}, {up.data(), hidden});

  const auto nodes = static_cast<std::int64_t>(expert.nodes.size());
  std::vector<float> out(static_cast<std::size_t>(nodes * n * d));  // (nodes, n, d)
  const MatrixView down = matrix(expert.down);
  LeafGemmArgs args;
  args.rows = n;
  args.x = {up.data(), hidden};
  args.w = down.matrix;
  args.k = down.k;
  args.leaf_width = s.leaf_width;
  args.nodes = expert.nodes;
  args.y = out.data();
  context_.device.leaf_gemm(args);
  for (std::int64_t i = 0; i < n; ++i) {
    float* to = moe_.outputs.data() + moe_.arrived[mine[static_cast<std::size_t>(i)]].out;
    for (std::int64_t node = 0; node < nodes; ++node) {
      const float* from = out.data() + (node * n + i) * d;
      std::copy(from, from + d, to + node * d);
    }
  }
}

// Rule 4: each expert's output is completed (its tree) before it is weighted; a token's experts are
// added in the gate's order.
Status RankWorker::operator_step(const step::Combine& s) {
  const std::int64_t d = s.width;
  const std::int64_t top_k = context_.model.top_k;
  const std::int64_t n = rows(Register::Routed);
  const auto all_nodes = static_cast<std::int64_t>(s.nodes.size());
  std::vector<std::int64_t> first_node;  // of each shard
  std::int64_t nodes = 0;
  for (const std::int32_t count : s.shard_nodes) {
    first_node.push_back(nodes);
    nodes += count;
  }
  std::vector<Bytes> answers;
  for (std::size_t m = 0; m + 1 < moe_.member_begin.size(); ++m) {
    const auto begin = static_cast<std::size_t>(moe_.member_begin[m]);
    const auto end = static_cast<std::size_t>(moe_.member_begin[m + 1]);
    answers.push_back(std::as_bytes(std::span(moe_.outputs).subspan(begin, end - begin)));
  }
  std::vector<float> slots(
      static_cast<std::size_t>(n * top_k * all_nodes * d));  // (n, k, nodes, d)
  PF_TRY(
      comm_.all_to_all_v(group(GroupKind::Stage), answers, [&](std::int64_t member, Bytes bytes) {
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        for (const Wanted& wanted : moe_.wanted[static_cast<std::size_t>(member)]) {
          const auto shard = static_cast<std::size_t>(wanted.shard);
          const std::int64_t count = s.shard_nodes[shard] * d;
          const std::int64_t slot =
              ((wanted.row * top_k + wanted.k) * all_nodes + first_node[shard]) * d;
          std::copy(from, from + count, slots.data() + slot);
          from += count;
        }
        CHECK(reinterpret_cast<const std::byte*>(from) == bytes.data() + bytes.size());
      }));

  const std::vector<TreeAdd> adds = tree_finish(s.leaves, s.nodes);
  const Rows routed = resize(Register::Routed, d);
  for (std::int64_t r = 0; r < n; ++r) {
    std::fill_n(routed.row(r), d, 0.0F);
    for (std::int64_t k = 0; k < top_k; ++k) {
      const auto choice = static_cast<std::size_t>(r * top_k + k);
      if (moe_.experts[choice] == kDropped) continue;
      float* output = slots.data() + static_cast<std::int64_t>(choice) * all_nodes * d;
      for (const TreeAdd& add : adds) {
        context_.device.add(1, d, {output + add.src * d, d}, {output + add.dst * d, d});
      }
      context_.device.scaled_add(1, d, &moe_.weights[choice], {output, d}, {routed.row(r), d});
    }
  }
  return ok_status();
}

Status RankWorker::operator_step(const step::AddShared& s) {
  const std::int64_t n = rows(Register::MoeOut);
  const std::int64_t d = context_.model.d;
  if (!s.gated) {
    context_.device.add(n, d, reg(Register::Reduced), reg(Register::MoeOut));
    return ok_status();
  }
  std::vector<float> gate(static_cast<std::size_t>(n));
  const MatrixView w = matrix(s.gate);
  GemmArgs args;
  args.rows = n;
  args.x = reg(Register::Normed);
  args.w = w.matrix;
  args.n = w.n;
  args.k = w.k;
  args.y = {gate.data(), 1};
  context_.device.gemm(args);
  for (float& value : gate) value = canonical_sigmoid(value);
  context_.device.scaled_add(n, d, gate.data(), reg(Register::Reduced), reg(Register::MoeOut));
  return ok_status();
}

}  // namespace pentafold
