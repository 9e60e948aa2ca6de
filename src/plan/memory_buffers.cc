// Registers and buffers of a rank: what each step writes, and what it needs while it runs.
#include <array>

#include "plan/memory_parts.h"

namespace pentafold {
namespace {

constexpr std::int64_t kFloat = 4;
// A vector that grows by appending may hold twice what is in it.
constexpr std::int64_t kGrowth = 2;
// Positions, block tables, row numbers: what a worker notes about one row (execute/rows.h).
constexpr std::int64_t kRowNotes = 192;
constexpr std::int64_t kLogitRows = 64;  // at once, in lm_head

struct Written {
  Register reg = Register::kCount;
  std::int64_t width = 0;
};
using Writes = std::vector<Written>;

std::int64_t heads_of(const std::vector<Range>& heads, std::int64_t member) {
  return heads[static_cast<std::size_t>(member)].size();
}

// Registers that a step sizes.
struct WritesOf {
  const ModelSpec& model;

  Writes operator()(const step::Embed&) const { return {{Register::Hidden, model.d}}; }
  Writes operator()(const step::Norm& s) const { return {{s.out, s.weight.rows.size()}}; }
  Writes operator()(const step::HeadNorm&) const { return {}; }
  Writes operator()(const step::WidthNorm&) const { return {}; }
  Writes operator()(const step::Clamp&) const { return {}; }
  Writes operator()(const step::Gemm& s) const { return {{s.out, s.w.rows.size()}}; }
  Writes operator()(const step::LeafGemm& s) const {
    return {{Register::Partial, s.w.rows.size() * static_cast<std::int64_t>(s.nodes.size())}};
  }
  Writes operator()(const step::AllReduce& s) const { return {{Register::Reduced, s.width}}; }
  Writes operator()(const step::Rope&) const { return {}; }
  Writes operator()(const step::SeqToHeads& s) const {
    const std::int64_t q = heads_of(s.q_heads, s.self) * model.head_dim;
    const std::int64_t kv = heads_of(s.kv_heads, s.self) * model.head_dim;
    return {{Register::SeqQ, q}, {Register::SeqK, kv}, {Register::SeqV, kv}};
  }
  Writes operator()(const step::HeadsToSeq& s) const {
    return {{Register::Attn, s.q_held * model.head_dim}};
  }
  Writes operator()(const step::Attention& s) const {
    return {{s.out, s.q_heads.size() * model.head_dim}};
  }
  Writes operator()(const step::Activate&) const { return {}; }
  Writes operator()(const step::Route&) const { return {}; }
  Writes operator()(const step::Capacity&) const { return {}; }
  Writes operator()(const step::Dispatch&) const { return {}; }
  Writes operator()(const step::ExpertMlp&) const { return {}; }
  Writes operator()(const step::Combine& s) const { return {{Register::Routed, s.width}}; }
  Writes operator()(const step::GatherSlices& s) const { return {{Register::MoeOut, s.width}}; }
  Writes operator()(const step::AddShared&) const { return {}; }
  Writes operator()(const step::Residual&) const { return {}; }
  Writes operator()(const step::Send&) const { return {}; }
  Writes operator()(const step::Recv&) const { return {{Register::Hidden, model.d}}; }
  Writes operator()(const step::LmHead&) const { return {}; }
};

// Bytes of a step beside its registers: `passing` while it runs, `kept` until the layer's experts
// are done.
struct StepBytes {
  std::int64_t passing = 0;
  std::int64_t kept = 0;
};

struct BytesOf {
  const ModelSpec& model;
  const Plan& plan;
  const StagePlan& stage;
  const Program& program;
  RowBounds rows;

  std::int64_t members(GroupKind kind) const {
    return static_cast<std::int64_t>(program.group(kind).size());
  }
  std::int64_t floats(std::initializer_list<std::int64_t> factors) const {
    return capped_product({capped_product(factors), kFloat});
  }

  StepBytes operator()(const step::Embed&) const {
    return {floats({rows.local, model.d, kGrowth}), 0};
  }
  StepBytes operator()(const step::Norm& s) const {
    return {floats({rows.of(row_set(s.in)), 2}), 0};  // sums, scales
  }
  StepBytes operator()(const step::HeadNorm& s) const {
    return {floats({rows.of(row_set(s.reg)), s.heads, 2}), 0};
  }
  StepBytes operator()(const step::WidthNorm& s) const {
    return {floats({rows.of(row_set(s.reg)), s.heads.size() + s.total_heads + 2}), 0};
  }
  StepBytes operator()(const step::Clamp&) const { return {}; }
  StepBytes operator()(const step::Gemm&) const { return {}; }
  StepBytes operator()(const step::LeafGemm&) const { return {}; }
  StepBytes operator()(const step::AllReduce& s) const {
    const std::int64_t parts = members(s.group);
    std::int64_t nodes = 0;
    std::int64_t most = 0;
    for (const std::int32_t count : s.member_nodes) {
      nodes += count;
      most = std::max<std::int64_t>(most, count);
    }
    const std::int64_t share = (rows.local + parts - 1) / parts;
    const std::int64_t packed = most > 1 ? floats({rows.local, most, s.width, kGrowth}) : 0;
    return {capped_sum({packed, floats({share, nodes, s.width, kGrowth})}), 0};
  }
  StepBytes operator()(const step::Rope&) const { return {}; }
  StepBytes operator()(const step::SeqToHeads& s) const {
    std::int64_t heads = 0;
    for (std::size_t i = 0; i < s.q_heads.size(); ++i) {
      heads += s.q_heads[i].size() + 2 * s.kv_heads[i].size();
    }
    return {floats({rows.local, heads, model.head_dim, kGrowth}), 0};
  }
  StepBytes operator()(const step::HeadsToSeq&) const { return {}; }
  StepBytes operator()(const step::Attention& s) const {
    return {floats({s.q_heads.size() + model.head_dim}), 0};
  }
  StepBytes operator()(const step::Activate&) const { return {}; }
  StepBytes operator()(const step::Route&) const {
    // Experts and weights of the choice, scores of all.
    return {0, floats({rows.slice, 2 * model.top_k + model.experts})};
  }
  StepBytes operator()(const step::Capacity&) const {
    const bool ranked = plan.overflow == OverflowPolicy::NextBest;
    const std::int64_t entry = 1 + model.top_k + (ranked ? model.experts : 0);
    const std::int64_t all = capped_sum({rows.slice, rows.stage});
    return {capped_sum({floats({all, entry, kGrowth}), floats({rows.stage, 2, kGrowth}),
                        floats({rows.slice, model.top_k})}),
            0};
  }
  StepBytes operator()(const step::Dispatch& s) const {
    const std::int64_t parts = members(GroupKind::Stage);
    const std::int64_t asked = capped_product({rows.slice, model.top_k, stage.etp});
    const std::int64_t sent =
        capped_product({rows.slice, std::min(model.top_k * stage.etp, parts)});
    // Requests and row numbers are collected, then encoded with the rows.
    return {capped_sum({floats({asked, 2 * (1 + kGrowth)}), floats({sent, kGrowth}),
                        floats({sent, s.width}), capped_product({parts, 96})}),
            capped_sum({floats({asked, 3, kGrowth}), capped_product({parts, 48})})};
  }
  // Worst case: every row of the stage comes here, and asks for as many experts as are here.
  StepBytes operator()(const step::ExpertMlp& s) const {
    const std::int64_t held = static_cast<std::int64_t>(s.experts.size());
    const std::int64_t asked = capped_product({rows.stage, std::min(model.top_k, held)});
    const std::int64_t came = held == 0 ? 0 : rows.stage;
    std::int64_t hidden = 0;
    std::int64_t nodes = 0;
    for (const step::LocalExpert& expert : s.experts) {
      hidden = std::max(hidden, expert.up.rows.size());
      nodes = std::max(nodes, static_cast<std::int64_t>(expert.nodes.size()));
    }
    const std::int64_t one_expert = floats({came, (1 + nodes) * model.d + 2 * hidden});
    return {capped_sum({one_expert, floats({asked, 2, kGrowth})}),
            capped_sum({floats({came, model.d}), floats({asked, nodes, model.d, kGrowth}),
                        floats({asked, 6, kGrowth})})};
  }
  StepBytes operator()(const step::Combine& s) const {
    const auto nodes = static_cast<std::int64_t>(s.nodes.size());
    return {floats({rows.slice, model.top_k, nodes, s.width}), 0};
  }
  StepBytes operator()(const step::GatherSlices&) const { return {}; }
  StepBytes operator()(const step::AddShared&) const { return {floats({rows.local}), 0}; }
  StepBytes operator()(const step::Residual&) const { return {}; }
  // Messages of all microbatches of a step may wait for a slow next stage.
  StepBytes operator()(const step::Send& s) const {
    const auto to = static_cast<std::int64_t>(s.to.size());
    const std::int64_t of_step = (rows.step_group + program_sp() - 1) / program_sp();
    return {capped_sum({floats({rows.local, model.d, kGrowth}), floats({to, of_step, model.d})}),
            0};
  }
  StepBytes operator()(const step::Recv& s) const {
    return {capped_product({rows.local, static_cast<std::int64_t>(s.from.size()), 8}), 0};
  }
  StepBytes operator()(const step::LmHead& s) const {
    const std::int64_t at_once = std::min(kLogitRows, rows.local);
    const bool gathers = program.self[static_cast<std::size_t>(GroupKind::Tensor)] == 0;
    const std::int64_t width =
        kGrowth * model.d + s.w.rows.size() + (gathers ? model.vocab : std::int64_t{0});
    return {capped_sum({floats({at_once, width}), capped_product({rows.local, 8, kGrowth})}), 0};
  }

  std::int64_t program_sp() const { return members(GroupKind::Sequence); }
};

}  // namespace

std::int64_t register_bytes(const LoweringContext& context, const RankProgram& program,
                            std::int64_t blocks_per_group) {
  const StagePlan& stage = context.plan.stages[program.place.stage.index()];
  std::array<std::int64_t, static_cast<std::size_t>(Register::kCount)> most{};
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    const RowBounds rows = row_bounds(context.plan, stage, phase, blocks_per_group);
    for (const Step& step : program.of(phase).steps) {
      for (const Written& written : std::visit(WritesOf{context.model}, step)) {
        std::int64_t& size = most[static_cast<std::size_t>(written.reg)];
        size =
            std::max(size, capped_product({rows.of(row_set(written.reg)), written.width, kFloat}));
      }
    }
  }
  std::int64_t bytes = 0;
  for (const std::int64_t size : most) bytes = capped_sum({bytes, size});
  return bytes;
}

std::int64_t buffer_bytes(const LoweringContext& context, const RankProgram& program,
                          std::int64_t blocks_per_group) {
  const StagePlan& stage = context.plan.stages[program.place.stage.index()];
  std::int64_t most = 0;
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    const Program& steps = program.of(phase);
    const BytesOf bytes_of{context.model, context.plan, stage, steps,
                           row_bounds(context.plan, stage, phase, blocks_per_group)};
    std::int64_t passing = 0;
    // Kept buffers are reused from layer to layer: the most of each kind of step.
    std::array<std::int64_t, std::variant_size_v<Step>> kept{};
    for (const Step& step : steps.steps) {
      const StepBytes bytes = std::visit(bytes_of, step);
      passing = std::max(passing, bytes.passing);
      kept[step.index()] = std::max(kept[step.index()], bytes.kept);
    }
    std::int64_t all = capped_sum({passing, capped_product({bytes_of.rows.group, kRowNotes})});
    for (const std::int64_t bytes : kept) all = capped_sum({all, bytes});
    most = std::max(most, all);
  }
  return most;
}

}  // namespace pentafold
