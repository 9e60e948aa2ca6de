// Expert steps of a worker: dispatch, expert_mlp, combine, shared expert.
//
// A dispatch message to one stage member is: how many rows and requests, the requests (row of this
// message, expert), then the rows. The answer holds one output per request, in the order asked, as
// the subtree sums of the shard the member holds. So the home rank alone knows tokens and weights.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

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

constexpr std::int64_t kHeadBytes = 16;  // of a message: rows and requests in it

// All outputs that the rows of Slice need, and whom to ask for them.
struct Choices {
  std::span<const std::int32_t> experts;  // (rows, top_k)
  std::int64_t top_k = 0;
  const Placement& placement;
  std::int64_t layer = 0;
  std::int64_t home = 0;

  // Calls visit(to, wanted, expert) in the order asked.
  template <class Visit>
  void each(const Visit& visit) const {
    for (std::size_t i = 0; i < experts.size(); ++i) {
      if (experts[i] == kDropped) continue;
      const auto at = static_cast<std::int64_t>(i);
      Wanted wanted{static_cast<std::int32_t>(at / top_k), static_cast<std::int32_t>(at % top_k),
                    0};
      for (const std::int32_t to : placement.serving_copy(layer, experts[i], home).ranks) {
        visit(static_cast<std::size_t>(to), wanted, experts[i]);
        ++wanted.shard;
      }
    }
  }
};

// A message to one member, by its lengths; rows come in ascending order.
struct Message {
  std::int32_t asked = 0;
  std::int32_t rows = 0;
  std::int32_t last_row = -1;

  // True when the row is not in the message yet.
  bool add(std::int32_t row) {
    ++asked;
    if (std::exchange(last_row, row) == row) return false;
    ++rows;
    return true;
  }
  std::int64_t asked_bytes() const { return asked * std::int64_t{sizeof(Asked)}; }
  std::int64_t bytes(std::int64_t row_bytes) const {
    return asked == 0 ? 0 : kHeadBytes + asked_bytes() + rows * row_bytes;
  }
};

// Where the next request, row and wanted output of a message go.
struct Cursor {
  std::int64_t asked = 0;
  std::int64_t row = 0;
  std::int64_t wanted = 0;
};

}  // namespace

// Two passes over the choices: how long every message is, then what it says.
void RankWorker::encode_requests(const step::Dispatch& s, std::pmr::vector<Bytes>& views) {
  MoeState& moe = work_->moe;
  const Choices choices{moe.experts, context_.model.top_k, *ranks_.placement, s.layer.value,
                        ranks_.place.index};
  auto messages = passing<Message>(group_size(GroupKind::Stage));
  choices.each(
      [&](std::size_t to, const Wanted& wanted, std::int32_t) { messages[to].add(wanted.row); });
  const std::int64_t row_bytes = s.width * std::int64_t{sizeof(float)};
  std::int64_t size = 0;
  for (const Message& message : messages) size += message.bytes(row_bytes);
  const std::span<std::byte> encoded = cut<std::byte>(size);
  auto cursors = passing<Cursor>(std::ssize(messages));
  moe.wanted_begin.clear();
  std::int64_t at = 0;
  std::int32_t all_asked = 0;
  for (std::size_t m = 0; m < messages.size(); ++m) {
    const Message& message = messages[m];
    const std::int64_t length = message.bytes(row_bytes);
    views.emplace_back(encoded.data() + at, static_cast<std::size_t>(length));
    moe.wanted_begin.push_back(all_asked);
    cursors[m] = {at + kHeadBytes, at + kHeadBytes + message.asked_bytes(), all_asked};
    const std::int64_t counts[2] = {message.rows, message.asked};
    if (length > 0) std::memcpy(encoded.data() + at, counts, sizeof counts);
    at += length;
    all_asked += message.asked;
  }
  moe.wanted_begin.push_back(all_asked);
  moe.wanted.resize(static_cast<std::size_t>(all_asked));

  const Rows normed = reg(Register::Normed);
  const ConstRows x{normed.row(work_->table.slice.begin - work_->table.local.begin), normed.ld};
  std::fill(messages.begin(), messages.end(), Message{});
  choices.each([&](std::size_t to, const Wanted& wanted, std::int32_t expert) {
    Cursor& cursor = cursors[to];
    if (messages[to].add(wanted.row)) {
      std::memcpy(encoded.data() + cursor.row, x.row(wanted.row),
                  static_cast<std::size_t>(row_bytes));
      cursor.row += row_bytes;
    }
    const Asked asked{messages[to].rows - 1, expert};
    std::memcpy(encoded.data() + cursor.asked, &asked, sizeof asked);
    cursor.asked += std::int64_t{sizeof asked};
    moe.wanted[static_cast<std::size_t>(cursor.wanted++)] = wanted;
  });
}

Status RankWorker::operator_step(const step::Dispatch& s) {
  auto views = passing_room<Bytes>(group_size(GroupKind::Stage));
  encode_requests(s, views);
  work_->moe.arrived.clear();
  work_->moe.inputs.clear();
  return comm_.all_to_all_v(group(GroupKind::Stage), views, [&](std::int64_t member, Bytes bytes) {
    if (bytes.empty()) return;
    std::int64_t counts[2];
    std::memcpy(counts, bytes.data(), sizeof counts);
    const std::byte* at = bytes.data() + sizeof counts;
    const auto first_row = static_cast<std::int32_t>(std::ssize(work_->moe.inputs) / s.width);
    for (std::int64_t i = 0; i < counts[1]; ++i) {
      Asked asked;
      std::memcpy(&asked, at + i * std::int64_t{sizeof asked}, sizeof asked);
      work_->moe.arrived.push_back(
          {static_cast<std::int32_t>(member), first_row + asked.row, asked.expert, 0});
    }
    at += counts[1] * std::int64_t{sizeof(Asked)};
    const std::size_t before = work_->moe.inputs.size();
    work_->moe.inputs.resize(before + static_cast<std::size_t>(counts[0] * s.width));
    std::memcpy(work_->moe.inputs.data() + before, at,
                (work_->moe.inputs.size() - before) * sizeof(float));
  });
}

Status RankWorker::operator_step(const step::ExpertMlp& s) {
  const std::int64_t d = context_.model.d;
  constexpr std::int32_t kNotHere = -1;
  auto here = passing<std::int32_t>(context_.model.experts);  // index into s.experts
  std::fill(here.begin(), here.end(), kNotHere);
  for (std::size_t e = 0; e < s.experts.size(); ++e) {
    here[s.experts[e].expert.index()] = static_cast<std::int32_t>(e);
  }
  // Outputs lie by member, then in the order asked, so that each answer is one contiguous message.
  work_->moe.member_begin.assign(static_cast<std::size_t>(group_size(GroupKind::Stage)) + 1, 0);
  auto first = passing<std::int32_t>(std::ssize(s.experts) + 1);  // of each expert, in order
  std::int64_t size = 0;
  for (Arrived& arrived : work_->moe.arrived) {
    const std::int32_t e = here[static_cast<std::size_t>(arrived.expert)];
    CHECK(e != kNotHere, "tokens are sent only to ranks that hold the expert");
    arrived.out = size;
    size += std::ssize(s.experts[static_cast<std::size_t>(e)].nodes) * d;
    work_->moe.member_begin[static_cast<std::size_t>(arrived.member) + 1] = size;
    ++first[static_cast<std::size_t>(e) + 1];
  }
  for (std::size_t m = 1; m < work_->moe.member_begin.size(); ++m) {
    work_->moe.member_begin[m] =
        std::max(work_->moe.member_begin[m], work_->moe.member_begin[m - 1]);
  }
  work_->moe.outputs.resize(static_cast<std::size_t>(size));
  std::partial_sum(first.begin(), first.end(), first.begin());
  auto order = passing<std::int32_t>(std::ssize(work_->moe.arrived));  // by expert, then as arrived
  for (std::size_t i = 0; i < work_->moe.arrived.size(); ++i) {
    const std::int32_t e = here[static_cast<std::size_t>(work_->moe.arrived[i].expert)];
    order[static_cast<std::size_t>(first[static_cast<std::size_t>(e)]++)] =
        static_cast<std::int32_t>(i);
  }
  const auto x = cut<const float*>(std::ssize(order));
  const auto y = cut<float*>(std::ssize(order));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Arrived& arrived = work_->moe.arrived[static_cast<std::size_t>(order[i])];
    x[i] = work_->moe.inputs.data() + std::int64_t{arrived.row} * d;
    y[i] = work_->moe.outputs.data() + arrived.out;
  }
  auto experts = passing_room<ExpertRows>(std::ssize(s.experts));
  std::size_t begin = 0;
  for (std::size_t e = 0; e < s.experts.size(); ++e) {
    const auto end = static_cast<std::size_t>(first[e]);  // moved on to the next expert's first
    if (end > begin) {
      experts.push_back(
          expert_rows(s.experts[e], x.subspan(begin, end - begin), y.subspan(begin, end - begin)));
    }
    begin = end;
  }
  device_->expert_mlp({experts, s.leaf_width,
                       context_.model.activation == Activation::Silu ? ExpertActivation::Silu
                                                                     : ExpertActivation::Relu});
  return ok_status();
}

ExpertRows RankWorker::expert_rows(const step::LocalExpert& expert, std::span<const float* const> x,
                                   std::span<float* const> y) {
  const std::int64_t width = expert.up.rows.size();
  const MatrixPart gate = expert.gate.rows.empty() ? MatrixPart{} : matrix(expert.gate);
  float* hidden = cut<float>(std::ssize(x) * width).data();
  return {x, y, gate, matrix(expert.up), matrix(expert.down), expert.nodes, hidden};
}

// Rule 4: each expert's output is completed (its tree) before it is weighted; a token's experts are
// added in the gate's order.
Status RankWorker::operator_step(const step::Combine& s) {
  const std::int64_t d = s.width;
  const std::int64_t top_k = context_.model.top_k;
  const std::int64_t n = rows(Register::Routed);
  const auto all_nodes = static_cast<std::int64_t>(s.nodes.size());
  auto first_node = passing_room<std::int64_t>(std::ssize(s.shard_nodes));  // of each shard
  std::int64_t nodes = 0;
  for (const std::int32_t count : s.shard_nodes) {
    first_node.push_back(nodes);
    nodes += count;
  }
  auto answers = passing_room<Bytes>(group_size(GroupKind::Stage));
  for (std::size_t m = 0; m + 1 < work_->moe.member_begin.size(); ++m) {
    const auto begin = static_cast<std::size_t>(work_->moe.member_begin[m]);
    const auto end = static_cast<std::size_t>(work_->moe.member_begin[m + 1]);
    answers.push_back(std::as_bytes(std::span(work_->moe.outputs).subspan(begin, end - begin)));
  }
  // Outputs are read where their experts left them.
  auto nodes_of = passing<const float*>(n * top_k * all_nodes);  // (n, k, nodes); null: dropped
  const std::int64_t last = group_size(GroupKind::Stage) - 1;
  const Rows routed = resize(Register::Routed, d);
  const std::vector<TreeAdd> adds = tree_finish(s.leaves, s.nodes);
  return comm_.all_to_all_v(
      group(GroupKind::Stage), answers, [&](std::int64_t member, Bytes bytes) {
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        const auto first =
            static_cast<std::size_t>(work_->moe.wanted_begin[static_cast<std::size_t>(member)]);
        const auto count_of = static_cast<std::size_t>(
                                  work_->moe.wanted_begin[static_cast<std::size_t>(member) + 1]) -
                              first;
        for (const Wanted& wanted : std::span(work_->moe.wanted).subspan(first, count_of)) {
          const auto shard = static_cast<std::size_t>(wanted.shard);
          const std::int64_t slot = (wanted.row * top_k + wanted.k) * all_nodes + first_node[shard];
          for (std::int64_t node = 0; node < s.shard_nodes[shard]; ++node) {
            nodes_of[static_cast<std::size_t>(slot + node)] = from;
            from += d;
          }
        }
        CHECK(reinterpret_cast<const std::byte*>(from) == bytes.data() + bytes.size());
        if (member != last) return;
        device_->sum_trees(
            {n, d, top_k, all_nodes, nodes_of, adds, work_->moe.weights.data(), nullptr, routed});
      });
}

Status RankWorker::operator_step(const step::AddShared& s) {
  const std::int64_t n = rows(Register::MoeOut);
  const std::int64_t d = context_.model.d;
  if (!s.gated) {
    device_->add(n, d, reg(Register::Reduced), reg(Register::MoeOut));
    return ok_status();
  }
  auto gate = passing<float>(n);
  const MatrixPart w = matrix(s.gate);
  GemmArgs args;
  args.rows = n;
  args.x = reg(Register::Normed);
  args.w = w.w;
  args.n = w.n;
  args.k = w.k;
  args.y = {gate.data(), 1};
  device_->gemm(args);
  for (float& value : gate) value = canonical_sigmoid(value);
  device_->scaled_add(n, d, gate.data(), reg(Register::Reduced), reg(Register::MoeOut));
  return ok_status();
}

}  // namespace pentafold
