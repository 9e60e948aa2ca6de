// Registers and buffers of a rank: what each step writes, and what execute/worker*.cc cuts for it.
#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "plan/memory_parts.h"

namespace pentafold {
namespace {

constexpr std::int64_t kFloat = 4;
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

// What a step needs beside its registers.
struct StepBytes {
  std::int64_t passing = 0;  // while it runs
  std::vector<std::pair<Kept, std::int64_t>> kept;
};

struct BytesOf {
  const LoweringContext& context;
  const RankProgram& rank;
  const StagePlan& stage;
  const Program& program;
  const RunBounds& run;
  RowBounds rows;

  const ModelSpec& model() const { return context.model; }
  std::int64_t members(GroupKind kind) const {
    return static_cast<std::int64_t>(program.group(kind).size());
  }
  std::int64_t self(GroupKind kind) const { return program.self[static_cast<std::size_t>(kind)]; }
  static std::int64_t floats(std::initializer_list<std::int64_t> factors) {
    return cut_bytes(capped_product(factors), kFloat);
  }
  std::int64_t views(GroupKind kind) const { return cut_bytes(members(kind), kViewBytes); }
  const Placement::Reach& reach(LayerId layer) const {
    return rank.placement->reach(layer.value, rank.place.index);
  }
  // Rows of the stage that may come to this rank's experts, and outputs that they may ask for.
  std::int64_t came(LayerId layer) const {
    return std::min(rows.stage, capped_product({reach(layer).senders, rows.slice}));
  }
  std::int64_t asked(LayerId layer) const {
    return capped_product({came(layer), std::min(model().top_k, reach(layer).experts)});
  }

  StepBytes operator()(const step::Embed&) const { return {floats({rows.local, model().d}), {}}; }
  StepBytes operator()(const step::Norm& s) const { return {floats({rows.of(row_set(s.in))}), {}}; }
  StepBytes operator()(const step::HeadNorm& s) const {
    return {floats({rows.of(row_set(s.reg)), s.heads}), {}};
  }
  StepBytes operator()(const step::WidthNorm& s) const {
    const std::int64_t n = rows.of(row_set(s.reg));
    return {capped_sum({floats({n, s.heads.size()}), floats({n, s.total_heads}), floats({n})}), {}};
  }
  StepBytes operator()(const step::Clamp&) const { return {}; }
  StepBytes operator()(const step::Gemm&) const { return {}; }
  StepBytes operator()(const step::LeafGemm&) const { return {}; }
  StepBytes operator()(const step::AllReduce& s) const {
    const std::int64_t parts = members(s.group);
    const std::int64_t mine = s.member_nodes[static_cast<std::size_t>(self(s.group))];
    const std::int64_t nodes =
        std::accumulate(s.member_nodes.begin(), s.member_nodes.end(), std::int64_t{0});
    const std::int64_t share = (rows.local + parts - 1) / parts;
    return {capped_sum({mine == 1 ? 0 : floats({rows.local, mine, s.width}), views(s.group),
                        cut_bytes(capped_product({share, nodes}), 8)}),
            {}};
  }
  StepBytes operator()(const step::Rope&) const { return {}; }
  StepBytes operator()(const step::SeqToHeads& s) const {
    std::int64_t heads = 0;
    for (std::size_t i = 0; i < s.q_heads.size(); ++i) {
      heads += s.q_heads[i].size() + 2 * s.kv_heads[i].size();
    }
    return {capped_sum({floats({rows.local, heads, model().head_dim}), views(GroupKind::Sequence)}),
            {}};
  }
  StepBytes operator()(const step::HeadsToSeq&) const { return {views(GroupKind::Sequence), {}}; }
  StepBytes operator()(const step::Attention& s) const { return {floats({s.q_heads.size()}), {}}; }
  StepBytes operator()(const step::Activate&) const { return {}; }
  StepBytes operator()(const step::Route&) const {
    const std::int64_t chosen = floats({rows.slice, model().top_k});
    return {0,
            {{Kept::Experts, chosen},
             {Kept::Weights, chosen},
             {Kept::Scores, floats({rows.slice, model().experts})}}};
  }
  StepBytes operator()(const step::Capacity&) const {
    const bool ranked = context.plan.overflow == OverflowPolicy::NextBest;
    const std::int64_t entry = 1 + model().top_k + (ranked ? model().experts : 0);
    return {capped_sum({floats({rows.slice, entry}), floats({rows.stage, entry}),
                        cut_bytes(rows.stage, sizeof(void*)), floats({rows.slice, model().top_k})}),
            {}};
  }
  StepBytes operator()(const step::Dispatch& s) const {
    const std::int64_t parts = members(GroupKind::Stage);
    const std::int64_t choices = capped_product({rows.slice, model().top_k, stage.etp});
    const std::int64_t receivers = reach(s.layer).receivers;
    const std::int64_t sent =
        capped_product({rows.slice, std::min(model().top_k * stage.etp, receivers)});
    // Two counts for each message, two numbers for each choice, the rows.
    const std::int64_t encoded =
        capped_sum({capped_product({std::min(receivers, choices), 16}),
                    capped_product({choices, 8}), capped_product({sent, s.width, kFloat})});
    return {capped_sum({floats({parts, 3}), cut_bytes(parts, 3 * 8), arena_bytes(encoded),
                        views(GroupKind::Stage)}),
            {{Kept::Wanted, cut_bytes(choices, kWantedBytes)},
             {Kept::WantedBegin, floats({parts + 1})},
             {Kept::Arrived, cut_bytes(asked(s.layer), kArrivedBytes)},
             {Kept::Inputs, floats({came(s.layer), s.width})}}};
  }
  StepBytes operator()(const step::ExpertMlp& s) const {
    std::int64_t most_hidden = 0;
    std::int64_t most_nodes = 0;
    for (const step::LocalExpert& expert : s.experts) {
      most_nodes = std::max(most_nodes, static_cast<std::int64_t>(expert.nodes.size()));
      most_hidden = std::max(most_hidden, expert.up.rows.size());
    }
    const auto held = static_cast<std::int64_t>(s.experts.size());
    const std::int64_t n = asked(s.layer);
    const std::int64_t busy = std::min(held, n);  // experts whose hidden units are cut apart
    return {capped_sum({floats({model().experts}), floats({held + 1}), floats({n}), cut_bytes(n, 8),
                        cut_bytes(n, 8), cut_bytes(held, kExpertRowsBytes),
                        floats({n, most_hidden}), capped_product({busy, kArenaAlign})}),
            {{Kept::Outputs, floats({n, most_nodes, model().d})},
             {Kept::MemberBegin, cut_bytes(members(GroupKind::Stage) + 1, 8)}}};
  }
  StepBytes operator()(const step::Combine& s) const {
    const auto nodes = static_cast<std::int64_t>(s.nodes.size());
    return {capped_sum({cut_bytes(static_cast<std::int64_t>(s.shard_nodes.size()), 8),
                        views(GroupKind::Stage),
                        cut_bytes(capped_product({rows.slice, model().top_k, nodes}), 8)}),
            {}};
  }
  StepBytes operator()(const step::GatherSlices&) const { return {}; }
  StepBytes operator()(const step::AddShared& s) const {
    return {s.gated ? floats({rows.local}) : 0, {}};
  }
  StepBytes operator()(const step::Residual&) const { return {}; }
  // A row goes to every receiver that shares it; the messages of all microbatches may wait.
  StepBytes operator()(const step::Send& s) const {
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> sharing;
    std::int64_t times = 0;
    for (const Rank to : s.to) {
      if (!in_world(to)) continue;
      const PhaseCoord at = phase_coord(stage_of(to), program.phase, context.mesh.place(to).index);
      times = std::max(times, ++sharing[{at.d, at.s}]);
    }
    return {row_numbers(s.to), {{Kept::Outbox, floats({rows.step_local, times, model().d})}}};
  }
  StepBytes operator()(const step::Recv& s) const { return {row_numbers(s.from), {}}; }
  StepBytes operator()(const step::LmHead& s) const {
    const std::int64_t wanted = run.all_logits ? rows.local : std::min(rows.local, rows.requests);
    const std::int64_t at_once = std::min(kLogitRows, wanted);
    const bool gathers = self(GroupKind::Tensor) == 0 && members(GroupKind::Tensor) > 1;
    return {capped_sum({cut_bytes(wanted, 8), floats({at_once, model().d}),
                        floats({at_once, s.w.rows.size()}),
                        gathers ? floats({at_once, model().vocab}) : 0, views(GroupKind::Tensor)}),
            {}};
  }

  // verify asks about programs that may be wrong.
  bool in_world(Rank rank) const { return rank.value >= 0 && rank.value < context.mesh.world(); }
  const StagePlan& stage_of(Rank rank) const {
    return context.plan.stages[context.mesh.place(rank).stage.index()];
  }
  // Which rows each of these has, one at a time.
  std::int64_t row_numbers(const std::vector<Rank>& peers) const {
    std::int64_t most = 0;
    for (const Rank peer : peers) {
      if (in_world(peer)) {
        most = std::max(most, row_bounds(run, stage_of(peer), program.phase).local);
      }
    }
    return cut_bytes(most, 8);
  }
};

// Adds what one phase needs: sizes are kept from layer to layer and phase to phase.
void add_phase(const BytesOf& bytes_of, WorkingMemory& working) {
  const auto keep = [&](Kept what, std::int64_t bytes) {
    std::int64_t& size = working.kept[static_cast<std::size_t>(what)];
    size = std::max(size, bytes);
  };
  const RowBounds& rows = bytes_of.rows;
  keep(Kept::TokenRows, cut_bytes(rows.group, kTokenRowBytes));
  keep(Kept::Positions, cut_bytes(rows.group, 8));
  keep(Kept::TableOfRow, cut_bytes(rows.group, sizeof(void*)));
  keep(Kept::BlockIds, cut_bytes(rows.blocks, 4));
  keep(Kept::FirstBlocks, cut_bytes(rows.requests, 4));
  for (const Step& step : bytes_of.program.steps) {
    for (const Written& written : std::visit(WritesOf{bytes_of.model()}, step)) {
      std::int64_t& size = working.registers[static_cast<std::size_t>(written.reg)];
      const std::int64_t n = rows.of(row_set(written.reg));
      size = std::max(size, cut_bytes(capped_product({n, written.width}), kFloat));
    }
    const StepBytes bytes = std::visit(bytes_of, step);
    working.passing = std::max(working.passing, bytes.passing);
    for (const auto& [what, size] : bytes.kept) keep(what, size);
  }
}

std::int64_t sum_of(std::span<const std::int64_t> sizes) {
  std::int64_t bytes = 0;
  for (const std::int64_t size : sizes) bytes = capped_sum({bytes, size});
  return bytes;
}

}  // namespace

std::int64_t WorkingMemory::register_bytes() const {
  return sum_of(registers);
}

std::int64_t WorkingMemory::kept_bytes() const {
  return sum_of(kept);
}

WorkingMemory working_memory(const LoweringContext& context, const RankProgram& program,
                             const RunBounds& run) {
  const StagePlan& stage = context.plan.stages[program.place.stage.index()];
  WorkingMemory working;
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    add_phase({context, program, stage, program.of(phase), run, row_bounds(run, stage, phase)},
              working);
  }
  return working;
}

}  // namespace pentafold
