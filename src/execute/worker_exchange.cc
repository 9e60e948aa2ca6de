// Steps of a worker that only move or sum rows: embedding, all_reduce, pipeline, logits.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/reduction_tree.h"
#include "execute/worker.h"

namespace pentafold {
namespace {

void widen_row(const WeightMatrix& table, std::int64_t row, float* out) {
  const auto size = static_cast<std::int64_t>(size_of(table.dtype));
  const std::byte* at = table.bytes.data() + row * table.k * size;
  for (std::int64_t i = 0; i < table.k; ++i) out[i] = load_f32(at + i * size, table.dtype);
}

Bytes row_bytes(ConstRows rows, std::int64_t first, std::int64_t count) {
  return std::as_bytes(std::span(rows.row(first), static_cast<std::size_t>(count * rows.ld)));
}

}  // namespace

// Rows travel from the rank that owns the token; nothing is added, so -0.0 stays -0.0.
Status RankWorker::operator_step(const step::Embed& s) {
  const std::int64_t d = context_.model.d;
  const std::int64_t n = table_.rows(RowSet::Local);
  const Rows hidden = resize(Register::Hidden, d);
  const Held& held = held_.at(s.table.id);
  std::vector<float> mine;
  for (std::int64_t r = 0; r < n; ++r) {
    const std::int64_t token = table_.group[static_cast<std::size_t>(table_.local.begin + r)].token;
    if (!s.table.rows.contains(token)) continue;
    mine.resize(mine.size() + static_cast<std::size_t>(d));
    widen_row(*held.table, token - held.slice.rows.begin, mine.data() + mine.size() - d);
  }
  const std::int64_t members = group_size(GroupKind::Tensor);
  return comm_.all_gather_v(
      group(GroupKind::Tensor), as_bytes_of(mine), [&](std::int64_t member, Bytes bytes) {
        const Range theirs = tensor_shard(stage_, program_->phase, context_.model.vocab, member);
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        for (std::int64_t r = 0; r < n; ++r) {
          const auto& row = table_.group[static_cast<std::size_t>(table_.local.begin + r)];
          if (members > 1 && !theirs.contains(row.token)) continue;
          std::memcpy(hidden.row(r), from, static_cast<std::size_t>(d) * sizeof(float));
          from += d;
        }
      });
}

// Exchange chunks, add in tree order, gather: two steps, each member sums its share of the rows.
Status RankWorker::operator_step(const step::AllReduce& s) {
  const std::int64_t n = table_.rows(RowSet::Local);
  const std::int64_t members = group_size(GroupKind::Tensor);
  const std::int64_t me = self(GroupKind::Tensor);
  const Rows out = resize(Register::Reduced, s.width);
  const float* partial = reg(Register::Partial).data;  // (nodes, rows, width)
  const std::int64_t my_nodes = s.member_nodes[static_cast<std::size_t>(me)];

  std::vector<std::vector<float>> packed;
  std::vector<Bytes> messages;
  for (std::int64_t m = 0; m < members; ++m) {
    const Range theirs = split(n, members, m);
    const auto chunk = static_cast<std::size_t>(theirs.size() * s.width);
    if (my_nodes == 1) {
      messages.push_back(std::as_bytes(std::span(partial + theirs.begin * s.width, chunk)));
      continue;
    }
    auto& message = packed.emplace_back();
    for (std::int64_t node = 0; node < my_nodes; ++node) {
      const float* from = partial + (node * n + theirs.begin) * s.width;
      message.insert(message.end(), from, from + chunk);
    }
    messages.push_back(as_bytes_of(message));
  }

  const Range rows = split(n, members, me);
  const std::int64_t chunk = rows.size() * s.width;
  std::vector<float> slots;  // (all nodes, my rows, width)
  PF_TRY(comm_.all_to_all_v(group(GroupKind::Tensor), messages, [&](std::int64_t, Bytes bytes) {
    const auto* from = reinterpret_cast<const float*>(bytes.data());
    slots.insert(slots.end(), from, from + bytes.size() / sizeof(float));
  }));
  for (const TreeAdd& add : tree_finish(s.leaves, tree_cover_all(s.leaves, members))) {
    context_.device.add(1, chunk, {slots.data() + add.src * chunk, chunk},
                        {slots.data() + add.dst * chunk, chunk});
  }
  if (s.has_bias) {
    const ConstRows bias{vector({s.bias, {0, s.width}, {0, 1}}), 0};  // every row the same
    context_.device.add(rows.size(), s.width, bias, {slots.data(), s.width});
  }
  return comm_.all_gather_v(
      group(GroupKind::Tensor),
      std::as_bytes(std::span(slots.data(), static_cast<std::size_t>(chunk))),
      [&](std::int64_t member, Bytes bytes) {
        const Range theirs = split(n, members, member);
        CHECK(static_cast<std::int64_t>(bytes.size()) == theirs.size() * s.width * 4);
        if (!bytes.empty()) std::memcpy(out.row(theirs.begin), bytes.data(), bytes.size());
      });
}

Status RankWorker::operator_step(const step::Send& s) {
  const auto& stages = context_.plan.stages;
  const StagePlan& target = stages[ranks_.place.stage.index() + 1];
  const ConstRows hidden = reg(Register::Hidden);
  const std::int64_t d = context_.model.d;
  for (const Rank to : s.to) {
    const std::vector<std::int64_t> wanted = local_row_numbers(
        *batch_, segments_, target, program_->phase, context_.mesh.place(to).index);
    std::vector<float> message;
    for (std::int64_t r = 0; r < table_.local.size(); ++r) {
      const auto& row = table_.group[static_cast<std::size_t>(table_.local.begin + r)];
      if (!std::binary_search(wanted.begin(), wanted.end(), row.number)) continue;
      message.insert(message.end(), hidden.row(r), hidden.row(r) + d);
    }
    PF_TRY(comm_.send(to, as_bytes_of(message)));
  }
  return ok_status();
}

Status RankWorker::operator_step(const step::Recv& s) {
  const auto& stages = context_.plan.stages;
  const StagePlan& source = stages[ranks_.place.stage.index() - 1];
  const std::int64_t d = context_.model.d;
  const Rows hidden = resize(Register::Hidden, d);
  std::int64_t received = 0;
  for (const Rank from : s.from) {
    const std::vector<std::int64_t> theirs = local_row_numbers(
        *batch_, segments_, source, program_->phase, context_.mesh.place(from).index);
    PF_TRY(comm_.recv(from, [&](Bytes bytes) {
      const auto* at = reinterpret_cast<const float*>(bytes.data());
      std::size_t left = bytes.size();
      for (std::int64_t r = 0; r < table_.local.size(); ++r) {
        const auto& row = table_.group[static_cast<std::size_t>(table_.local.begin + r)];
        if (!std::binary_search(theirs.begin(), theirs.end(), row.number)) continue;
        const auto size = static_cast<std::size_t>(d) * sizeof(float);
        CHECK(left >= size, "both sides of a hand-over derive the same rows");
        std::memcpy(hidden.row(r), at, size);
        at += d;
        left -= size;
        ++received;
      }
    }));
  }
  CHECK(received == table_.local.size(), "every row comes from exactly one sender");
  return ok_status();
}

// Vocabulary shards meet at the group's first member, a few rows at a time to bound memory.
Status RankWorker::operator_step(const step::LmHead& s) {
  std::vector<std::int64_t> wanted;  // of Local
  for (std::int64_t r = 0; r < table_.local.size(); ++r) {
    const auto& row = table_.group[static_cast<std::size_t>(table_.local.begin + r)];
    if (context_.all_logits || row.samples) wanted.push_back(r);
  }
  constexpr std::size_t kRowsAtOnce = 64;
  for (std::size_t first = 0; first < wanted.size(); first += kRowsAtOnce) {
    const std::size_t count = std::min(kRowsAtOnce, wanted.size() - first);
    PF_TRY(emit_logits(s, std::span(wanted).subspan(first, count)));
  }
  return ok_status();
}

Status RankWorker::emit_logits(const step::LmHead& s, std::span<const std::int64_t> wanted) {
  const std::int64_t d = context_.model.d;
  const auto n = static_cast<std::int64_t>(wanted.size());
  const ConstRows normed = reg(Register::Normed);
  std::vector<float> x;
  for (const std::int64_t r : wanted) x.insert(x.end(), normed.row(r), normed.row(r) + d);
  const std::int64_t mine = s.w.rows.size();
  std::vector<float> shard(static_cast<std::size_t>(n * mine));
  const MatrixView w = matrix(s.w);
  GemmArgs args;
  args.rows = n;
  args.x = {x.data(), d};
  args.w = w.matrix;
  args.n = w.n;
  args.k = w.k;
  args.y = {shard.data(), mine};
  context_.device.gemm(args);

  const std::int64_t vocab = context_.model.vocab;
  const bool root = self(GroupKind::Tensor) == 0;
  std::vector<float> logits(root ? static_cast<std::size_t>(n * vocab) : 0);
  std::vector<Bytes> messages(static_cast<std::size_t>(group_size(GroupKind::Tensor)));
  messages.front() = as_bytes_of(shard);
  PF_TRY(
      comm_.all_to_all_v(group(GroupKind::Tensor), messages, [&](std::int64_t member, Bytes bytes) {
        if (!root) return;
        const Range theirs = s.group_vocab[static_cast<std::size_t>(member)];
        const ConstRows from{reinterpret_cast<const float*>(bytes.data()), theirs.size()};
        for (std::int64_t r = 0; r < n; ++r) {
          std::memcpy(logits.data() + r * vocab + theirs.begin, from.row(r),
                      static_cast<std::size_t>(theirs.size()) * sizeof(float));
        }
      }));
  if (!root) return ok_status();
  for (std::int64_t i = 0; i < n; ++i) {
    const auto& row = table_.group[static_cast<std::size_t>(table_.local.begin +
                                                            wanted[static_cast<std::size_t>(i)])];
    context_.on_logits({row.request, row.position, row.samples,
                        std::span(logits).subspan(static_cast<std::size_t>(i * vocab),
                                                  static_cast<std::size_t>(vocab))});
  }
  return ok_status();
}

// MoeOut = slices of the tensor group in order.
Status RankWorker::operator_step(const step::GatherSlices& s) {
  const std::int64_t n = table_.rows(RowSet::Local);
  const std::int64_t members = group_size(GroupKind::Tensor);
  const Rows out = resize(Register::MoeOut, s.width);
  return comm_.all_gather_v(
      group(GroupKind::Tensor), row_bytes(reg(Register::Routed), 0, rows(Register::Routed)),
      [&](std::int64_t member, Bytes bytes) {
        const Range theirs = split(n, members, member);
        CHECK(static_cast<std::int64_t>(bytes.size()) == theirs.size() * s.width * 4);
        if (!bytes.empty()) std::memcpy(out.row(theirs.begin), bytes.data(), bytes.size());
      });
}

}  // namespace pentafold
