// Steps of a worker that only move or sum rows: embedding, all_reduce, pipeline, logits.
#include <algorithm>
#include <cstring>
#include <numeric>

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
  const std::int64_t n = work_->table.rows(RowSet::Local);
  const Rows hidden = resize(Register::Hidden, d);
  const Held& held = held_.at(s.table.id);
  std::pmr::vector<float> mine = passing_room<float>(n * d);
  for (std::int64_t r = 0; r < n; ++r) {
    const std::int64_t token =
        work_->table.group[static_cast<std::size_t>(work_->table.local.begin + r)].token;
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
          const auto& row =
              work_->table.group[static_cast<std::size_t>(work_->table.local.begin + r)];
          if (members > 1 && !theirs.contains(row.token)) continue;
          std::memcpy(hidden.row(r), from, static_cast<std::size_t>(d) * sizeof(float));
          from += d;
        }
      });
}

// Exchange chunks, add in tree order, gather: two steps, each member sums its share of the rows.
Status RankWorker::operator_step(const step::AllReduce& s) {
  const std::int64_t n = work_->table.rows(RowSet::Local);
  const std::int64_t members = group_size(GroupKind::Tensor);
  const std::int64_t me = self(GroupKind::Tensor);
  const Rows out = resize(Register::Reduced, s.width);
  const float* partial = reg(Register::Partial).data;  // (nodes, rows, width)
  const std::int64_t my_nodes = s.member_nodes[static_cast<std::size_t>(me)];

  std::pmr::vector<float> packed = passing_room<float>(my_nodes == 1 ? 0 : n * my_nodes * s.width);
  std::pmr::vector<Bytes> messages = passing_room<Bytes>(members);
  for (std::int64_t m = 0; m < members; ++m) {
    const Range theirs = split(n, members, m);
    const auto chunk = static_cast<std::size_t>(theirs.size() * s.width);
    if (my_nodes == 1) {
      messages.push_back(std::as_bytes(std::span(partial + theirs.begin * s.width, chunk)));
      continue;
    }
    const std::size_t begin = packed.size();
    for (std::int64_t node = 0; node < my_nodes; ++node) {
      const float* from = partial + (node * n + theirs.begin) * s.width;
      packed.insert(packed.end(), from, from + chunk);
    }
    messages.push_back(std::as_bytes(std::span(packed).subspan(begin)));
  }

  const Range mine = split(n, members, me);
  const Rows share{out.row(mine.begin), s.width};
  const std::vector<TreeAdd> adds = tree_finish(s.leaves, tree_cover_all(s.leaves, members));
  const std::int64_t all_nodes =
      std::accumulate(s.member_nodes.begin(), s.member_nodes.end(), std::int64_t{0});
  // Subtree sums are read where their ranks left them: (my rows, nodes of all members).
  auto nodes = passing<const float*>(mine.size() * all_nodes);
  std::int64_t first_node = 0;
  PF_TRY(
      comm_.all_to_all_v(group(GroupKind::Tensor), messages, [&](std::int64_t member, Bytes bytes) {
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        const std::int64_t theirs = s.member_nodes[static_cast<std::size_t>(member)];
        CHECK(std::ssize(bytes) == theirs * mine.size() * s.width * 4);
        for (std::int64_t node = 0; node < theirs; ++node) {
          for (std::int64_t r = 0; r < mine.size(); ++r) {
            nodes[static_cast<std::size_t>(r * all_nodes + first_node + node)] =
                from + (node * mine.size() + r) * s.width;
          }
        }
        first_node += theirs;
        if (member + 1 != members) return;
        const float* bias = s.has_bias ? vector({s.bias, {0, s.width}, {0, 1}}) : nullptr;
        device_->sum_trees({mine.size(), s.width, 1, all_nodes, nodes, adds, nullptr, bias, share});
      }));
  return comm_.all_gather_v(group(GroupKind::Tensor), row_bytes(share, 0, mine.size()),
                            [&](std::int64_t member, Bytes bytes) {
                              const Range theirs = split(n, members, member);
                              CHECK(std::ssize(bytes) == theirs.size() * s.width * 4);
                              if (member != me && !bytes.empty()) {
                                std::memcpy(out.row(theirs.begin), bytes.data(), bytes.size());
                              }
                            });
}

Status RankWorker::operator_step(const step::Send& s) {
  const auto& stages = context_.plan.stages;
  const StagePlan& target = stages[ranks_.place.stage.index() + 1];
  const ConstRows hidden = reg(Register::Hidden);
  const std::int64_t d = context_.model.d;
  const RowTable& table = work_->table;
  for (const Rank to : s.to) {
    work_->scratch.rewind(0);
    const std::pmr::vector<std::int64_t> wanted = local_row_numbers(
        {*batch_, segments_}, target, context_.mesh.place(to).index, &work_->scratch);
    std::pmr::vector<float>& outbox = work_->outbox;
    const std::size_t begin = outbox.size();
    for (std::int64_t r = 0; r < table.local.size(); ++r) {
      const TokenRow& row = table.group[static_cast<std::size_t>(table.local.begin + r)];
      if (!std::binary_search(wanted.begin(), wanted.end(), row.number)) continue;
      outbox.insert(outbox.end(), hidden.row(r), hidden.row(r) + d);
    }
    PF_TRY(comm_.lend(to, std::as_bytes(std::span(outbox).subspan(begin))));
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
    work_->scratch.rewind(0);
    const std::pmr::vector<std::int64_t> theirs = local_row_numbers(
        {*batch_, segments_}, source, context_.mesh.place(from).index, &work_->scratch);
    PF_TRY(comm_.recv(from, [&](Bytes bytes) {
      const auto* at = reinterpret_cast<const float*>(bytes.data());
      std::size_t left = bytes.size();
      for (std::int64_t r = 0; r < work_->table.local.size(); ++r) {
        const auto& row =
            work_->table.group[static_cast<std::size_t>(work_->table.local.begin + r)];
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
  CHECK(received == work_->table.local.size(), "every row comes from exactly one sender");
  return ok_status();
}

// Vocabulary shards meet at the group's first member, a few rows at a time to bound memory.
Status RankWorker::operator_step(const step::LmHead& s) {
  const auto gives_logits = [&](std::int64_t r) {
    return context_.all_logits ||
           work_->table.group[static_cast<std::size_t>(work_->table.local.begin + r)].samples;
  };
  const std::int64_t local = work_->table.local.size();
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < local; ++r) count += gives_logits(r) ? 1 : 0;
  std::pmr::vector<std::int64_t> wanted = passing_room<std::int64_t>(count);  // of Local
  for (std::int64_t r = 0; r < local; ++r) {
    if (gives_logits(r)) wanted.push_back(r);
  }
  const std::int64_t mark = work_->scratch.used();
  constexpr std::size_t kRowsAtOnce = 64;
  for (std::size_t first = 0; first < wanted.size(); first += kRowsAtOnce) {
    const std::size_t some = std::min(kRowsAtOnce, wanted.size() - first);
    PF_TRY(emit_logits(s, std::span(wanted).subspan(first, some)));
    work_->scratch.rewind(mark);
  }
  return ok_status();
}

Status RankWorker::emit_logits(const step::LmHead& s, std::span<const std::int64_t> wanted) {
  const std::int64_t d = context_.model.d;
  const auto n = static_cast<std::int64_t>(wanted.size());
  const ConstRows normed = reg(Register::Normed);
  std::pmr::vector<float> x = passing_room<float>(n * d);
  for (const std::int64_t r : wanted) x.insert(x.end(), normed.row(r), normed.row(r) + d);
  const std::int64_t mine = s.w.rows.size();
  const std::span<float> shard = cut<float>(n * mine);
  const MatrixPart w = matrix(s.w);
  GemmArgs args;
  args.rows = n;
  args.x = {x.data(), d};
  args.w = w.w;
  args.n = w.n;
  args.k = w.k;
  args.y = {shard.data(), mine};
  device_->gemm(args);

  const std::int64_t vocab = context_.model.vocab;
  const std::int64_t members = group_size(GroupKind::Tensor);
  const auto publish = [&](ConstRows logits) {
    team_.run(n, [&](std::int64_t i) {
      const auto& row = work_->table.group[static_cast<std::size_t>(
          work_->table.local.begin + wanted[static_cast<std::size_t>(i)])];
      context_.on_logits({row.request, row.position, row.samples,
                          std::span(logits.row(i), static_cast<std::size_t>(vocab))});
    });
  };
  if (members == 1) {
    publish({shard.data(), vocab});
    return ok_status();
  }
  const bool root = self(GroupKind::Tensor) == 0;
  const std::span<float> logits = cut<float>(root ? n * vocab : 0);
  std::pmr::vector<Bytes> messages = passing<Bytes>(members);
  messages.front() = std::as_bytes(shard);
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
  if (root) publish({logits.data(), vocab});
  return ok_status();
}

// MoeOut = slices of the tensor group in order.
Status RankWorker::operator_step(const step::GatherSlices& s) {
  const std::int64_t n = work_->table.rows(RowSet::Local);
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
