#include "base/reduction_tree.h"
#include "plan/lower_parts.h"

namespace pentafold {
namespace {

// The heads this rank's phase gives it, in the model's numbering.
struct HeadShard {
  Range q;   // projected here
  Range kv;  // projected here
};

HeadShard head_shard(const PhaseView& view, std::int64_t t) {
  const Range q = tensor_shard(view.stage, view.phase, view.model().heads, t);
  return {q, kv_heads_of(view.model(), q)};
}

Range times(Range heads, std::int64_t head_dim) {
  return {heads.begin * head_dim, heads.end * head_dim};
}

void project(const PhaseView& view, LayerId layer, const HeadShard& mine, std::vector<Step>& out) {
  struct Projection {
    TensorRole weight, bias;
    Register reg;
    Range heads;
  };
  const ModelSpec& model = view.model();
  for (const Projection& p : {Projection{TensorRole::Q, TensorRole::QBias, Register::Q, mine.q},
                              Projection{TensorRole::K, TensorRole::KBias, Register::K, mine.kv},
                              Projection{TensorRole::V, TensorRole::VBias, Register::V, mine.kv}}) {
    const Range rows = times(p.heads, model.head_dim);
    step::Gemm gemm{
        Register::Normed, p.reg, {{p.weight, layer.value, -1}, rows, {0, model.d}}, {}, false};
    if (model.qkv_bias) {
      gemm.bias = {p.bias, layer.value, -1};
      gemm.has_bias = true;
    }
    out.push_back(gemm);
  }
}

void normalise_heads(const PhaseView& view, LayerId layer, const HeadShard& mine,
                     std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  const auto norm = [&](TensorRole role, Register reg, Range heads, std::int64_t total, bool kv) {
    const TensorId id{role, layer.value, -1};
    if (model.qk_norm == QkNorm::PerHead) {
      out.push_back(step::HeadNorm{reg, view.whole(id), heads.size()});
      return;
    }
    step::WidthNorm width{reg, {id, times(heads, model.head_dim), {0, 1}}, heads, total, {}};
    for (std::int64_t t = 0; t < view.mesh.tp; ++t) {
      const HeadShard member = head_shard(view, t);
      width.group_heads.push_back(kv ? member.kv : member.q);
    }
    out.push_back(width);
  };
  if (model.qk_norm == QkNorm::None) return;
  norm(TensorRole::QNorm, Register::Q, mine.q, model.heads, false);
  norm(TensorRole::KNorm, Register::K, mine.kv, model.kv_heads, true);
}

void clamp_and_rotate(const PhaseView& view, const HeadShard& mine, std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  if (model.clip_qkv) {
    const double limit = *model.clip_qkv;
    out.push_back(step::Clamp{Register::Q, mine.q.size() * model.head_dim, limit});
    out.push_back(step::Clamp{Register::K, mine.kv.size() * model.head_dim, limit});
    out.push_back(step::Clamp{Register::V, mine.kv.size() * model.head_dim, limit});
  }
  out.push_back(step::Rope{Register::Q, mine.q.size()});
  out.push_back(step::Rope{Register::K, mine.kv.size()});
}

Range relative(Range r, std::int64_t origin) {
  return {r.begin - origin, r.end - origin};
}

void attend(const PhaseView& view, LayerId layer, const HeadShard& mine, std::vector<Step>& out) {
  const std::int64_t window = view.model().layers[layer.index()].sliding_window;
  if (view.mesh.sp == 1) {
    out.push_back(step::Attention{layer, Register::Q, Register::K, Register::V, Register::Attn,
                                  RowSet::Local, mine.q, mine.kv, window});
    return;
  }
  step::SeqToHeads there;
  for (std::int64_t s = 0; s < view.mesh.sp; ++s) {
    const Range q = split(mine.q, view.mesh.sp, s);
    there.q_heads.push_back(relative(q, mine.q.begin));
    there.kv_heads.push_back(relative(kv_heads_of(view.model(), q), mine.kv.begin));
  }
  there.self = view.coord.s;
  there.q_held = mine.q.size();
  there.kv_held = mine.kv.size();
  const Range q = split(mine.q, view.mesh.sp, view.coord.s);
  const step::HeadsToSeq back{there.q_heads, there.self, there.q_held};
  out.push_back(std::move(there));
  out.push_back(step::Attention{layer, Register::SeqQ, Register::SeqK, Register::SeqV,
                                Register::SeqAttn, RowSet::Group, q, kv_heads_of(view.model(), q),
                                window});
  out.push_back(back);
}

void project_out(const PhaseView& view, LayerId layer, const HeadShard& mine,
                 std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  const std::int64_t leaves = model.attention_leaves();
  out.push_back(step::LeafGemm{
      Register::Attn,
      {{TensorRole::O, layer.value, -1}, {0, model.d}, times(mine.q, model.head_dim)},
      leaves,
      tree_cover(leaves, mine.q),
      model.head_dim});
  step::AllReduce reduce;
  reduce.leaves = leaves;
  reduce.width = model.d;
  for (const Range& shard : view.shards(leaves)) {
    reduce.member_nodes.push_back(static_cast<std::int32_t>(tree_cover(leaves, shard).size()));
  }
  if (model.o_bias) {
    reduce.bias = {TensorRole::OBias, layer.value, -1};
    reduce.has_bias = true;
  }
  out.push_back(std::move(reduce));
  out.push_back(step::Residual{Register::Reduced});
}

}  // namespace

void lower_attention(const PhaseView& view, LayerId layer, std::vector<Step>& out) {
  const HeadShard mine = head_shard(view, view.coord.t);
  out.push_back(step::Norm{Register::Hidden, Register::Normed,
                           view.whole({TensorRole::InputNorm, layer.value, -1})});
  project(view, layer, mine, out);
  normalise_heads(view, layer, mine, out);
  clamp_and_rotate(view, mine, out);
  attend(view, layer, mine, out);
  project_out(view, layer, mine, out);
}

}  // namespace pentafold
