// What each step says to other ranks.
#include "verify/checks.h"

namespace pentafold {
namespace {

using Terms = std::vector<std::int64_t>;

void append(Terms& terms, const std::vector<Range>& ranges) {
  terms.push_back(static_cast<std::int64_t>(ranges.size()));
  for (const Range& range : ranges) terms.insert(terms.end(), {range.begin, range.end});
}

void append(Terms& terms, const std::vector<std::int32_t>& counts) {
  terms.push_back(static_cast<std::int64_t>(counts.size()));
  terms.insert(terms.end(), counts.begin(), counts.end());
}

void append(Terms& terms, TensorId id) {
  terms.insert(terms.end(), {static_cast<std::int64_t>(id.role), id.layer, id.expert});
}

Communication exchange(GroupKind group, Terms terms) {
  Communication out;
  out.exchange = Exchange{group, std::move(terms)};
  return out;
}

struct CommunicationOf {
  Communication operator()(const step::Embed& s) const {
    Terms terms{s.table.cols.begin, s.table.cols.end};
    append(terms, s.table.id);
    return exchange(GroupKind::Tensor, std::move(terms));
  }
  Communication operator()(const step::Norm&) const { return {}; }
  Communication operator()(const step::HeadNorm&) const { return {}; }
  Communication operator()(const step::WidthNorm& s) const {
    Terms terms{static_cast<std::int64_t>(s.reg), s.total_heads};
    append(terms, s.weight.id);
    append(terms, s.group_heads);
    return exchange(GroupKind::Tensor, std::move(terms));
  }
  Communication operator()(const step::Clamp&) const { return {}; }
  Communication operator()(const step::Gemm&) const { return {}; }
  Communication operator()(const step::LeafGemm&) const { return {}; }
  Communication operator()(const step::AllReduce& s) const {
    Terms terms{s.leaves, s.width, s.has_bias ? 1 : 0};
    append(terms, s.bias);
    append(terms, s.member_nodes);
    return exchange(s.group, std::move(terms));
  }
  Communication operator()(const step::Rope&) const { return {}; }
  Communication operator()(const step::SeqToHeads& s) const {
    Terms terms{s.q_held, s.kv_held};
    append(terms, s.q_heads);
    append(terms, s.kv_heads);
    return exchange(GroupKind::Sequence, std::move(terms));
  }
  Communication operator()(const step::HeadsToSeq& s) const {
    Terms terms{s.q_held};
    append(terms, s.q_heads);
    return exchange(GroupKind::Sequence, std::move(terms));
  }
  Communication operator()(const step::Attention&) const { return {}; }
  Communication operator()(const step::Activate&) const { return {}; }
  Communication operator()(const step::Route&) const { return {}; }
  Communication operator()(const step::Capacity& s) const {
    return exchange(GroupKind::Stage, {s.layer.value});
  }
  Communication operator()(const step::Dispatch& s) const {
    return exchange(GroupKind::Stage, {s.layer.value, s.width});
  }
  Communication operator()(const step::ExpertMlp&) const { return {}; }
  Communication operator()(const step::Combine& s) const {
    Terms terms{s.layer.value, s.width, s.leaves};
    append(terms, s.shard_nodes);
    append(terms, s.nodes);
    return exchange(GroupKind::Stage, std::move(terms));
  }
  Communication operator()(const step::GatherSlices& s) const {
    return exchange(GroupKind::Tensor, {s.width});
  }
  Communication operator()(const step::AddShared&) const { return {}; }
  Communication operator()(const step::Residual&) const { return {}; }
  Communication operator()(const step::Send& s) const {
    Communication out;
    out.sends = s.to;
    return out;
  }
  Communication operator()(const step::Recv& s) const {
    Communication out;
    out.receives = s.from;
    return out;
  }
  Communication operator()(const step::LmHead& s) const {
    Terms terms;
    append(terms, s.w.id);
    append(terms, s.group_vocab);
    return exchange(GroupKind::Tensor, std::move(terms));
  }
};

}  // namespace

Communication communication_of(const Step& step) {
  return std::visit(CommunicationOf{}, step);
}

}  // namespace pentafold
