#include "verify/shape_walk.h"

#include <fmt/format.h>

#include <initializer_list>

namespace pentafold {
namespace {

std::string first_of(std::initializer_list<std::string> wrongs) {
  for (const std::string& wrong : wrongs) {
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string expect(bool holds, const char* otherwise) {
  return holds ? "" : otherwise;
}

}  // namespace

ShapeWalk::ShapeWalk(const Judged& judged, const RankProgram& rank, Phase phase)
    : judged_(judged),
      rank_(rank),
      program_(rank.of(phase)),
      model_(judged.context.model),
      phase_(phase),
      next_layer_(judged.context.mesh.layers(rank.place.stage).begin) {}

std::string ShapeWalk::walk() {
  for (std::size_t i = 0; i < program_.steps.size(); ++i) {
    const std::string wrong = std::visit(*this, program_.steps[i]);
    if (!wrong.empty()) {
      return fmt::format("step {} ({}): {}", i, step_name(program_.steps[i]), wrong);
    }
  }
  return finish();
}

std::string ShapeWalk::peek(Register reg, std::int64_t width) {
  const Content& content = at(reg);
  if (content.width < 0) return fmt::format("reads {}, which is not written", to_string(reg));
  if (content.width == width) return {};
  return fmt::format("reads {} as {} wide, it was written {} wide", to_string(reg), width,
                     content.width);
}

std::string ShapeWalk::read(Register reg, std::int64_t width) {
  std::string wrong = peek(reg, width);
  at(reg).read = true;
  return wrong;
}

std::string ShapeWalk::write(Register reg, std::int64_t width) {
  const Content before = at(reg);
  at(reg) = {};
  at(reg).width = width;
  if (before.width >= 0 && !before.read) {
    return fmt::format("overwrites {}, which nobody has read", to_string(reg));
  }
  return expect(width > 0, "writes rows without a column");
}

std::string ShapeWalk::finish() {
  if (next_layer_ != judged_.context.mesh.layers(rank_.place.stage).end) {
    return fmt::format("the program ends before layer {}", next_layer_);
  }
  for (std::size_t i = 0; i < contents_.size(); ++i) {
    const auto reg = static_cast<Register>(i);
    if (reg == Register::Hidden || contents_[i].width < 0 || contents_[i].read) continue;
    return fmt::format("the program ends and nobody has read {}", to_string(reg));
  }
  return expect(at(Register::Hidden).read, "the program ends and nobody has read hidden");
}

std::string ShapeWalk::operator()(const step::Embed& s) {
  return first_of({expect(s.table.cols == Range{0, model_.d}, "looks up a part of each row"),
                   write(Register::Hidden, model_.d)});
}

std::string ShapeWalk::operator()(const step::Norm& s) {
  return first_of({expect(s.weight.rows == Range{0, model_.d}, "its weight is not d long"),
                   read(s.in, model_.d), write(s.out, model_.d)});
}

std::string ShapeWalk::operator()(const step::HeadNorm& s) {
  ++at(s.reg).norms;
  return first_of({expect(s.weight.rows.size() == model_.head_dim, "its weight is not one head"),
                   peek(s.reg, head_width(s.heads))});
}

std::string ShapeWalk::operator()(const step::WidthNorm& s) {
  ++at(s.reg).norms;
  Range all = s.group_heads.empty() ? Range{} : s.group_heads.front();
  for (const Range& heads : s.group_heads) {
    if (heads.begin > all.end) return "the heads of its group leave a gap";
    all = hull(all, heads);
  }
  const bool mine = static_cast<std::int64_t>(s.group_heads.size()) == members(GroupKind::Tensor) &&
                    s.group_heads[static_cast<std::size_t>(self(GroupKind::Tensor))] == s.heads;
  return first_of({expect(mine, "its heads are not its share of the group"),
                   expect(all == Range{0, s.total_heads}, "the group does not hold all heads"),
                   expect(s.weight.rows ==
                              Range{s.heads.begin * model_.head_dim, s.heads.end * model_.head_dim},
                          "its weight is of other heads"),
                   peek(s.reg, head_width(s.heads.size()))});
}

std::string ShapeWalk::operator()(const step::Clamp& s) {
  ++at(s.reg).clamps;
  return first_of({expect(at(s.reg).ropes == 0, "clamps after rope"), peek(s.reg, s.width)});
}

std::string ShapeWalk::operator()(const step::Gemm& s) {
  const RowSet in = row_set(s.in);
  const RowSet out = row_set(s.out);
  const bool rows = in == out || (in == RowSet::Local && out == RowSet::Slice);
  return first_of({expect(rows, "its output needs rows that its input does not have"),
                   read(s.in, s.w.cols.size()), write(s.out, s.w.rows.size())});
}

std::string ShapeWalk::operator()(const step::Rope& s) {
  ++at(s.reg).ropes;
  return peek(s.reg, head_width(s.heads));
}

// What a model does to queries and keys before attention, each once.
std::string ShapeWalk::prepared_heads(Register reg) const {
  const bool value = reg == Register::V;
  const Content& content = contents_[static_cast<std::size_t>(reg)];
  const std::int64_t norms = !value && model_.qk_norm != QkNorm::None ? 1 : 0;
  const std::int64_t clamps = model_.clip_qkv ? 1 : 0;
  const auto wrong = [&](const char* what, std::int64_t times, std::int64_t wanted) {
    return fmt::format("{} had {} {} times, the model has it {}", to_string(reg), what, times,
                       wanted);
  };
  if (content.norms != norms) return wrong("its norm", content.norms, norms);
  if (content.clamps != clamps) return wrong("its clamp", content.clamps, clamps);
  if (content.ropes != (value ? 0 : 1)) return wrong("rope", content.ropes, value ? 0 : 1);
  return {};
}

std::string ShapeWalk::sequence_tiles(const std::vector<Range>& q_heads, std::int64_t held) const {
  if (static_cast<std::int64_t>(q_heads.size()) != members(GroupKind::Sequence)) {
    return "it cuts heads over another number of ranks than its sequence group has";
  }
  std::int64_t next = 0;
  for (const Range& heads : q_heads) {
    if (heads.begin != next || heads.empty()) return "the heads of its group do not tile";
    next = heads.end;
  }
  return expect(next == held, "the heads of its group are not all heads of the shard");
}

std::string ShapeWalk::operator()(const step::SeqToHeads& s) {
  std::string wrong = first_of({sequence_tiles(s.q_heads, s.q_held),
                                expect(s.self == self(GroupKind::Sequence), "it is another member"),
                                expect(s.kv_heads.size() == s.q_heads.size(), "KV heads missing"),
                                prepared_heads(Register::Q), prepared_heads(Register::K),
                                prepared_heads(Register::V)});
  if (!wrong.empty()) return wrong;
  for (const Range& kv : s.kv_heads) {
    if (kv.empty() || kv.begin < 0 || kv.end > s.kv_held) return "sends KV heads it does not have";
  }
  const auto me = static_cast<std::size_t>(s.self);
  return first_of({read(Register::Q, head_width(s.q_held)),
                   read(Register::K, head_width(s.kv_held)),
                   read(Register::V, head_width(s.kv_held)),
                   write(Register::SeqQ, head_width(s.q_heads[me].size())),
                   write(Register::SeqK, head_width(s.kv_heads[me].size())),
                   write(Register::SeqV, head_width(s.kv_heads[me].size()))});
}

std::string ShapeWalk::operator()(const step::HeadsToSeq& s) {
  std::string wrong =
      first_of({sequence_tiles(s.q_heads, s.q_held),
                expect(s.self == self(GroupKind::Sequence), "it is another member")});
  if (!wrong.empty()) return wrong;
  const std::int64_t mine = s.q_heads[static_cast<std::size_t>(s.self)].size();
  return first_of(
      {read(Register::SeqAttn, head_width(mine)), write(Register::Attn, head_width(s.q_held))});
}

std::string ShapeWalk::operator()(const step::Attention& s) {
  const bool local = s.rows == RowSet::Local;
  if (s.layer.value != next_layer_) {
    return fmt::format("attends in layer {} where layer {} is next", s.layer.value, next_layer_);
  }
  ++next_layer_;
  if (kv_heads_.empty()) kv_heads_ = s.kv_heads;
  for (const Register reg : {s.q, s.k, s.v, s.out}) {
    if (row_set(reg) != s.rows) return "its registers have other rows than it says";
  }
  if (local != (phase_mesh(judged_.stage(rank_), phase_).sp == 1)) {
    return "it attends over a slice of the sequence";
  }
  if (s.q_heads.empty() || s.q_heads.begin < 0 || s.q_heads.end > model_.heads) {
    return "its query heads are not in the model";
  }
  std::string wrong;
  if (local) wrong = first_of({prepared_heads(s.q), prepared_heads(s.k), prepared_heads(s.v)});
  return first_of(
      {wrong,
       expect(s.kv_heads == kv_heads_of(model_, s.q_heads),
              "its KV heads are not those its query heads read"),
       expect(s.kv_heads == kv_heads_, "its KV heads differ from layer to layer"),
       expect(s.window == model_.layers[s.layer.index()].sliding_window,
              "its window is not the layer's"),
       read(s.q, head_width(s.q_heads.size())), read(s.k, head_width(s.kv_heads.size())),
       read(s.v, head_width(s.kv_heads.size())), write(s.out, head_width(s.q_heads.size()))});
}

std::string ShapeWalk::operator()(const step::Activate& s) {
  ++at(Register::Up).activations;
  std::string wrong = expect(s.gated == model_.gated_mlp, "the model's MLP has another form");
  if (s.gated) wrong = first_of({wrong, read(Register::Gate, s.width)});
  return first_of({wrong, peek(Register::Up, s.width)});
}

std::string ShapeWalk::operator()(const step::Residual& s) {
  const std::string wrong =
      first_of({expect(row_set(s.in) == RowSet::Local, "adds rows of another set"),
                read(s.in, model_.d), peek(Register::Hidden, model_.d)});
  // What was normalised is no longer the stream: the next reader needs a norm of its own.
  const bool read_before = at(Register::Normed).read;
  at(Register::Normed) = {};
  at(Register::Hidden).read = false;
  return first_of({wrong, expect(read_before, "nobody has read normed")});
}

// A holder of rows that others hold too may have nobody to hand them to.
std::string ShapeWalk::operator()(const step::Send&) {
  return read(Register::Hidden, model_.d);
}

std::string ShapeWalk::operator()(const step::Recv& s) {
  return first_of(
      {expect(!s.from.empty(), "receives rows from nobody"), write(Register::Hidden, model_.d)});
}

std::string ShapeWalk::operator()(const step::LmHead& s) {
  const auto me = static_cast<std::size_t>(self(GroupKind::Tensor));
  std::int64_t next = 0;
  for (const Range& vocab : s.group_vocab) {
    if (vocab.begin != next || vocab.end < vocab.begin) return "the group's tokens do not tile";
    next = vocab.end;
  }
  const bool mine = static_cast<std::int64_t>(s.group_vocab.size()) == members(GroupKind::Tensor) &&
                    s.group_vocab[me] == s.w.rows;
  return first_of({expect(next == model_.vocab, "the group does not cover the vocabulary"),
                   expect(mine, "its tokens are not its share of the group"),
                   read(Register::Normed, s.w.cols.size())});
}

}  // namespace pentafold
