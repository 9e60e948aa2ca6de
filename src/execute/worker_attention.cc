// Attention steps of a worker: head norms across shards, sequence <-> heads, and the KV cache.
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/reduction_tree.h"
#include "execute/worker.h"

namespace pentafold {

// The sum over all heads must not depend on how heads are spread: every rank receives each head's
// own sum of squares and adds all of them in the one tree over heads.
Status RankWorker::operator_step(const step::WidthNorm& s) {
  const std::int64_t head_dim = context_.model.head_dim;
  const std::int64_t n = rows(s.reg);
  const std::int64_t mine = s.heads.size();
  const Rows x = reg(s.reg);
  std::pmr::vector<float> sums = passing<float>(n * mine);
  device_->sum_squares(n * mine, head_dim, {x.data, head_dim}, sums.data());

  std::pmr::vector<float> all = passing<float>(n * s.total_heads);  // (rows, heads)
  PF_TRY(comm_.all_gather_v(
      group(GroupKind::Tensor), as_bytes_of(sums), [&](std::int64_t member, Bytes bytes) {
        const Range heads = s.group_heads[static_cast<std::size_t>(member)];
        CHECK(static_cast<std::int64_t>(bytes.size()) == n * heads.size() * 4);
        for (std::int64_t r = 0; r < n; ++r) {
          std::memcpy(all.data() + r * s.total_heads + heads.begin,
                      bytes.data() + r * heads.size() * 4,
                      static_cast<std::size_t>(heads.size()) * 4);
        }
      }));

  const std::vector<TreeAdd> adds =
      tree_finish(s.total_heads, tree_cover_all(s.total_heads, s.total_heads));
  std::pmr::vector<float> totals = passing<float>(n);
  for (std::int64_t r = 0; r < n; ++r) {
    float* row = all.data() + r * s.total_heads;
    for (const TreeAdd& add : adds) row[add.dst] += row[add.src];
    totals[static_cast<std::size_t>(r)] = row[0];
  }
  const std::int64_t width = mine * head_dim;
  device_->normalise(n, width, x, totals.data(), static_cast<float>(s.total_heads * head_dim),
                     static_cast<float>(context_.model.norm_eps), vector(s.weight), x);
  return ok_status();
}

namespace {

// Copies columns [cols) of every row behind each other.
void pack_columns(std::pmr::vector<float>& out, ConstRows in, std::int64_t rows, Range cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    out.insert(out.end(), in.row(r) + cols.begin, in.row(r) + cols.end);
  }
}

const float* unpack_columns(Rows out, std::int64_t first_row, std::int64_t rows, Range cols,
                            const float* from) {
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(out.row(first_row + r) + cols.begin, from,
                static_cast<std::size_t>(cols.size()) * sizeof(float));
    from += cols.size();
  }
  return from;
}

Range columns(Range heads, std::int64_t head_dim) {
  return {heads.begin * head_dim, heads.end * head_dim};
}

}  // namespace

Status RankWorker::operator_step(const step::SeqToHeads& s) {
  const std::int64_t head_dim = context_.model.head_dim;
  const std::int64_t members = group_size(GroupKind::Sequence);
  const std::int64_t local = work_->table.rows(RowSet::Local);
  std::int64_t heads = 0;
  for (std::size_t m = 0; m < s.q_heads.size(); ++m) {
    heads += s.q_heads[m].size() + 2 * s.kv_heads[m].size();
  }
  std::pmr::vector<float> packed = passing_room<float>(local * heads * head_dim);
  std::pmr::vector<Bytes> messages = passing_room<Bytes>(members);
  for (std::int64_t m = 0; m < members; ++m) {
    const std::size_t begin = packed.size();
    pack_columns(packed, reg(Register::Q), local,
                 columns(s.q_heads[static_cast<std::size_t>(m)], head_dim));
    const Range kv = columns(s.kv_heads[static_cast<std::size_t>(m)], head_dim);
    pack_columns(packed, reg(Register::K), local, kv);
    pack_columns(packed, reg(Register::V), local, kv);
    messages.push_back(std::as_bytes(std::span(packed).subspan(begin)));
  }
  const std::int64_t q = s.q_heads[static_cast<std::size_t>(s.self)].size() * head_dim;
  const std::int64_t kv = s.kv_heads[static_cast<std::size_t>(s.self)].size() * head_dim;
  const Rows seq_q = resize(Register::SeqQ, q);
  const Rows seq_k = resize(Register::SeqK, kv);
  const Rows seq_v = resize(Register::SeqV, kv);
  return comm_.all_to_all_v(
      group(GroupKind::Sequence), messages, [&](std::int64_t member, Bytes bytes) {
        const Range theirs = split(work_->table.rows(RowSet::Group), members, member);
        CHECK(static_cast<std::int64_t>(bytes.size()) == theirs.size() * (q + 2 * kv) * 4);
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        from = unpack_columns(seq_q, theirs.begin, theirs.size(), {0, q}, from);
        from = unpack_columns(seq_k, theirs.begin, theirs.size(), {0, kv}, from);
        unpack_columns(seq_v, theirs.begin, theirs.size(), {0, kv}, from);
      });
}

Status RankWorker::operator_step(const step::HeadsToSeq& s) {
  const std::int64_t head_dim = context_.model.head_dim;
  const std::int64_t members = group_size(GroupKind::Sequence);
  const ConstRows in = reg(Register::SeqAttn);
  const std::int64_t q = s.q_heads[static_cast<std::size_t>(s.self)].size() * head_dim;
  // A member's rows are contiguous in SeqAttn: nothing to pack.
  std::pmr::vector<Bytes> messages = passing_room<Bytes>(members);
  for (std::int64_t m = 0; m < members; ++m) {
    const Range theirs = split(work_->table.rows(RowSet::Group), members, m);
    messages.push_back(std::as_bytes(
        std::span(in.row(theirs.begin), static_cast<std::size_t>(theirs.size() * q))));
  }
  const Rows out = resize(Register::Attn, s.q_held * head_dim);
  const std::int64_t local = work_->table.rows(RowSet::Local);
  return comm_.all_to_all_v(
      group(GroupKind::Sequence), messages, [&](std::int64_t member, Bytes bytes) {
        const Range cols = columns(s.q_heads[static_cast<std::size_t>(member)], head_dim);
        CHECK(static_cast<std::int64_t>(bytes.size()) == local * cols.size() * 4);
        unpack_columns(out, 0, local, cols, reinterpret_cast<const float*>(bytes.data()));
      });
}

Status RankWorker::operator_step(const step::Attention& s) {
  const ModelSpec& model = context_.model;
  CHECK(s.kv_heads == kv_heads_, "prefill and decode must agree on the cached heads");
  const std::int64_t in_stage = s.layer.value - context_.mesh.layers(ranks_.place.stage).begin;
  KvAppendArgs append;
  append.rows = work_->table.rows(s.rows);
  append.k = reg(s.k);
  append.v = reg(s.v);
  append.positions = positions(s.rows);
  append.block_tables = block_tables(s.rows);
  append.cache = kv_->layer(in_stage);
  device_->kv_append(append);

  const std::int64_t group = model.heads / model.kv_heads;
  std::pmr::vector<std::int32_t> kv_of_q = passing_room<std::int32_t>(s.q_heads.size());
  for (std::int64_t h = s.q_heads.begin; h < s.q_heads.end; ++h) {
    kv_of_q.push_back(static_cast<std::int32_t>(h / group - s.kv_heads.begin));
  }
  AttentionArgs args;
  args.rows = append.rows;
  args.q_heads = s.q_heads.size();
  args.kv_of_q = kv_of_q;
  args.q = reg(s.q);
  args.out = resize(s.out, s.q_heads.size() * model.head_dim);
  args.positions = append.positions;
  args.block_tables = append.block_tables;
  args.cache = append.cache;
  args.window = s.window;
  args.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(model.head_dim)));
  device_->attention(args);
  return ok_status();
}

}  // namespace pentafold
