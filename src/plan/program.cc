#include "plan/program.h"

#include "base/check.h"
#include "plan/lower.h"

namespace pentafold {

const char* to_string(Register reg) {
  switch (reg) {
    case Register::Hidden:
      return "hidden";
    case Register::Normed:
      return "normed";
    case Register::Q:
      return "q";
    case Register::K:
      return "k";
    case Register::V:
      return "v";
    case Register::SeqQ:
      return "seq_q";
    case Register::SeqK:
      return "seq_k";
    case Register::SeqV:
      return "seq_v";
    case Register::SeqAttn:
      return "seq_attn";
    case Register::Attn:
      return "attn";
    case Register::Gate:
      return "gate";
    case Register::Up:
      return "up";
    case Register::Partial:
      return "partial";
    case Register::Reduced:
      return "reduced";
    case Register::RouterLogits:
      return "router_logits";
    case Register::Routed:
      return "routed";
    case Register::MoeOut:
      return "moe_out";
    case Register::kCount:
      break;
  }
  return "?";
}

const char* to_string(RowSet rows) {
  switch (rows) {
    case RowSet::Local:
      return "local";
    case RowSet::Group:
      return "group";
    case RowSet::Slice:
      return "slice";
  }
  return "?";
}

RowSet row_set(Register reg) {
  switch (reg) {
    case Register::SeqQ:
    case Register::SeqK:
    case Register::SeqV:
    case Register::SeqAttn:
      return RowSet::Group;
    case Register::RouterLogits:
    case Register::Routed:
      return RowSet::Slice;
    case Register::Hidden:
    case Register::Normed:
    case Register::Q:
    case Register::K:
    case Register::V:
    case Register::Attn:
    case Register::Gate:
    case Register::Up:
    case Register::Partial:
    case Register::Reduced:
    case Register::MoeOut:
    case Register::kCount:
      break;
  }
  return RowSet::Local;
}

const char* to_string(GroupKind kind) {
  switch (kind) {
    case GroupKind::Tensor:
      return "tensor";
    case GroupKind::Sequence:
      return "sequence";
    case GroupKind::Stage:
      return "stage";
  }
  return "?";
}

namespace {

struct Name {
  const char* operator()(const step::Embed&) const { return "embed"; }
  const char* operator()(const step::Norm&) const { return "norm"; }
  const char* operator()(const step::HeadNorm&) const { return "head_norm"; }
  const char* operator()(const step::WidthNorm&) const { return "width_norm"; }
  const char* operator()(const step::Clamp&) const { return "clamp"; }
  const char* operator()(const step::Gemm&) const { return "gemm"; }
  const char* operator()(const step::LeafGemm&) const { return "leaf_gemm"; }
  const char* operator()(const step::AllReduce&) const { return "all_reduce"; }
  const char* operator()(const step::Rope&) const { return "rope"; }
  const char* operator()(const step::SeqToHeads&) const { return "seq_to_heads"; }
  const char* operator()(const step::HeadsToSeq&) const { return "heads_to_seq"; }
  const char* operator()(const step::Attention&) const { return "attention"; }
  const char* operator()(const step::Activate&) const { return "activate"; }
  const char* operator()(const step::Route&) const { return "route"; }
  const char* operator()(const step::Capacity&) const { return "capacity"; }
  const char* operator()(const step::Dispatch&) const { return "dispatch"; }
  const char* operator()(const step::ExpertMlp&) const { return "expert_mlp"; }
  const char* operator()(const step::Combine&) const { return "combine"; }
  const char* operator()(const step::GatherSlices&) const { return "gather_slices"; }
  const char* operator()(const step::AddShared&) const { return "add_shared"; }
  const char* operator()(const step::Residual&) const { return "residual"; }
  const char* operator()(const step::Send&) const { return "send"; }
  const char* operator()(const step::Recv&) const { return "recv"; }
  const char* operator()(const step::LmHead&) const { return "lm_head"; }
};

struct Weights {
  std::vector<WeightSlice> operator()(const step::Embed& s) const { return {s.table}; }
  std::vector<WeightSlice> operator()(const step::Norm& s) const { return {s.weight}; }
  std::vector<WeightSlice> operator()(const step::HeadNorm& s) const { return {s.weight}; }
  std::vector<WeightSlice> operator()(const step::WidthNorm& s) const { return {s.weight}; }
  std::vector<WeightSlice> operator()(const step::Clamp&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Gemm& s) const {
    if (!s.has_bias) return {s.w};
    return {s.w, WeightSlice{s.bias, s.w.rows, {0, 1}}};
  }
  std::vector<WeightSlice> operator()(const step::LeafGemm& s) const { return {s.w}; }
  std::vector<WeightSlice> operator()(const step::AllReduce& s) const {
    if (!s.has_bias) return {};
    return {WeightSlice{s.bias, {0, s.width}, {0, 1}}};
  }
  std::vector<WeightSlice> operator()(const step::Rope&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::SeqToHeads&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::HeadsToSeq&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Attention&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Activate&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Route&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Capacity&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Dispatch&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::ExpertMlp& s) const {
    std::vector<WeightSlice> out;
    for (const step::LocalExpert& e : s.experts) {
      if (!e.gate.rows.empty()) out.push_back(e.gate);
      out.push_back(e.up);
      out.push_back(e.down);
    }
    return out;
  }
  std::vector<WeightSlice> operator()(const step::Combine&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::GatherSlices&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::AddShared& s) const {
    if (!s.gated) return {};
    return {s.gate};
  }
  std::vector<WeightSlice> operator()(const step::Residual&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Send&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::Recv&) const { return {}; }
  std::vector<WeightSlice> operator()(const step::LmHead& s) const { return {s.w}; }
};

}  // namespace

const char* step_name(const Step& step) {
  return std::visit(Name{}, step);
}

std::vector<WeightSlice> weights_of(const Step& step) {
  return std::visit(Weights{}, step);
}

}  // namespace pentafold
