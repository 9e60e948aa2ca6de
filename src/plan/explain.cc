#include "plan/explain.h"

#include <fmt/format.h>

namespace pentafold {
namespace {

std::string text(Range range) {
  return fmt::format("{}:{}", range.begin, range.end);
}

template <class T, class F>
std::string list(const std::vector<T>& items, const F& each) {
  std::string out;
  for (const T& item : items) out += fmt::format("{}{}", out.empty() ? "" : " ", each(item));
  return "[" + out + "]";
}

std::string list(const std::vector<Range>& ranges) {
  return list(ranges, [](Range range) { return text(range); });
}
std::string list(const std::vector<Rank>& ranks) {
  return list(ranks, [](Rank rank) { return rank.value; });
}
std::string list(const std::vector<std::int32_t>& numbers) {
  return list(numbers, [](std::int32_t number) { return number; });
}

struct StepText {
  const ModelSpec& model;
  const Program& program;

  std::string name(const WeightSlice& w) const {
    return fmt::format("{}[{}, {}]", checkpoint_name(model, w.id), text(w.rows), text(w.cols));
  }
  std::string group(GroupKind kind) const {
    return fmt::format("in the {} group of {}", to_string(kind), program.group(kind).size());
  }
  std::string bias(bool has, TensorId id) const {
    return has ? " + " + checkpoint_name(model, id) : "";
  }

  std::string operator()(const step::Embed& s) const {
    return fmt::format("token rows of {} -> hidden, {}", name(s.table), group(GroupKind::Tensor));
  }
  std::string operator()(const step::Norm& s) const {
    return fmt::format("{} by {} -> {}", to_string(s.in), name(s.weight), to_string(s.out));
  }
  std::string operator()(const step::HeadNorm& s) const {
    return fmt::format("{} heads of {} by {}", s.heads, to_string(s.reg), name(s.weight));
  }
  std::string operator()(const step::WidthNorm& s) const {
    return fmt::format("heads {} of {} in {} by {}, {}", text(s.heads), s.total_heads,
                       to_string(s.reg), name(s.weight), group(GroupKind::Tensor));
  }
  std::string operator()(const step::Clamp& s) const {
    return fmt::format("{} ({} wide) to +-{}", to_string(s.reg), s.width, s.limit);
  }
  std::string operator()(const step::Gemm& s) const {
    return fmt::format("{} x {}{} -> {}", to_string(s.in), name(s.w), bias(s.has_bias, s.bias),
                       to_string(s.out));
  }
  std::string operator()(const step::LeafGemm& s) const {
    return fmt::format("{} x {} -> partial sums of leaves {} of {}", to_string(s.in), name(s.w),
                       list(s.nodes), s.leaves);
  }
  std::string operator()(const step::AllReduce& s) const {
    return fmt::format("tree over {} leaves, {} wide, members bring {}{} -> reduced, {}", s.leaves,
                       s.width, list(s.member_nodes), bias(s.has_bias, s.bias), group(s.group));
  }
  std::string operator()(const step::Rope& s) const {
    return fmt::format("{} heads of {}", s.heads, to_string(s.reg));
  }
  std::string operator()(const step::SeqToHeads& s) const {
    const auto me = static_cast<std::size_t>(s.self);
    return fmt::format("{} query and {} KV heads of its rows for heads {} and {} of all rows, {}",
                       s.q_held, s.kv_held, text(s.q_heads[me]), text(s.kv_heads[me]),
                       group(GroupKind::Sequence));
  }
  std::string operator()(const step::HeadsToSeq& s) const {
    return fmt::format("heads {} of all rows for {} heads of its rows, {}",
                       text(s.q_heads[static_cast<std::size_t>(s.self)]), s.q_held,
                       group(GroupKind::Sequence));
  }
  std::string operator()(const step::Attention& s) const {
    return fmt::format("layer {}, query heads {} over KV heads {}, {} rows{} -> {}", s.layer.value,
                       text(s.q_heads), text(s.kv_heads), to_string(s.rows),
                       s.window > 0 ? fmt::format(", window {}", s.window) : "", to_string(s.out));
  }
  std::string operator()(const step::Activate& s) const {
    return fmt::format("{} ({} wide)", s.gated ? "act(gate) * up -> up" : "act(up) -> up", s.width);
  }
  std::string operator()(const step::Route& s) const {
    return fmt::format("layer {}: {} of {} experts a row", s.layer.value, model.top_k,
                       model.experts);
  }
  std::string operator()(const step::Capacity& s) const {
    return fmt::format("layer {}: who overflows, {}", s.layer.value, group(GroupKind::Stage));
  }
  std::string operator()(const step::Dispatch& s) const {
    return fmt::format("layer {}: rows ({} wide) to the ranks of their experts, {}", s.layer.value,
                       s.width, group(GroupKind::Stage));
  }
  // Each expert by id and by the hidden units of its shard; one line however many there are.
  std::string operator()(const step::ExpertMlp& s) const {
    std::string out = fmt::format("layer {}: {} experts", s.layer.value, s.experts.size());
    for (const step::LocalExpert& expert : s.experts) {
      out += fmt::format("{} {} units [{}:{}]", &expert == s.experts.data() ? ":" : ",",
                         expert.expert.value, expert.up.rows.begin, expert.up.rows.end);
    }
    if (!s.experts.empty()) out += " (" + name(s.experts.front().down) + ", ...)";
    return out;
  }
  std::string operator()(const step::Combine& s) const {
    return fmt::format(
        "layer {}: outputs ({} wide) home, {} shards bring {} of {} leaves -> "
        "routed, {}",
        s.layer.value, s.width, s.shard_nodes.size(), list(s.shard_nodes), s.leaves,
        group(GroupKind::Stage));
  }
  std::string operator()(const step::GatherSlices& s) const {
    return fmt::format("routed ({} wide) -> moe_out, {}", s.width, group(GroupKind::Tensor));
  }
  std::string operator()(const step::AddShared& s) const {
    return s.gated ? fmt::format("moe_out += sigmoid(normed x {}) * reduced", name(s.gate))
                   : "moe_out += reduced";
  }
  std::string operator()(const step::Residual& s) const {
    return fmt::format("hidden += {}", to_string(s.in));
  }
  std::string operator()(const step::Send& s) const {
    return fmt::format("hidden to ranks {}", list(s.to));
  }
  std::string operator()(const step::Recv& s) const {
    return fmt::format("hidden from ranks {}", list(s.from));
  }
  std::string operator()(const step::LmHead& s) const {
    return fmt::format("normed x {} -> logits at the first member, {}", name(s.w),
                       group(GroupKind::Tensor));
  }
};

std::string format_phase(const LoweringContext& context, const Program& program) {
  std::string out =
      fmt::format("{}: dp group {}, sequence slice {}, tensor shard {}\n", to_string(program.phase),
                  program.coord.d, program.coord.s, program.coord.t);
  for (const GroupKind kind : {GroupKind::Tensor, GroupKind::Sequence, GroupKind::Stage}) {
    out += fmt::format("  {} group {}, member {}\n", to_string(kind), list(program.group(kind)),
                       program.self[static_cast<std::size_t>(kind)]);
  }
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    out += fmt::format("  {:>4} {}\n", i, format_step(context.model, program, program.steps[i]));
  }
  return out;
}

}  // namespace

std::string format_step(const ModelSpec& model, const Program& program, const Step& step) {
  return fmt::format("{}: {}", step_name(step), std::visit(StepText{model, program}, step));
}

std::string format_program(const LoweringContext& context, const RankProgram& program) {
  const RankPlace& place = program.place;
  const StagePlan& stage = context.plan.stages[place.stage.index()];
  const Range layers = context.mesh.layers(place.stage);
  std::string out = fmt::format("rank {} of {}: replica {}, stage {} (layers {}..{}), index {}\n",
                                program.rank.value, context.plan.world(), place.replica,
                                place.stage.value, layers.begin, layers.end - 1, place.index);
  out += fmt::format(
      "attention mesh dp{} x sp{} x tp{}, expert mesh edp{} x ep{} x etp{}: expert "
      "repeat {}, group {}, shard {}\n",
      stage.dp, stage.sp, stage.tp, stage.edp(), stage.ep, stage.etp,
      place.index / (stage.ep * stage.etp), place.index / stage.etp % stage.ep,
      place.index % stage.etp);
  return out + format_phase(context, program.prefill) + format_phase(context, program.decode);
}

}  // namespace pentafold
