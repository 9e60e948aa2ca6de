#include "plan/lower.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/reduction_tree.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

using testing::Degrees;

constexpr Phase kPhases[] = {Phase::Prefill, Phase::Decode};

struct Lowered {
  Plan plan;
  ModelSpec model;
  std::string name;
  std::vector<RankProgram> ranks;
};

Lowered lowered(const Plan& plan, const ModelSpec& model, const std::string& name) {
  Lowered out{plan, model, model.name + " " + name, {}};
  const auto context = LoweringContext::make(out.plan, out.model);
  EXPECT_TRUE(context.ok()) << out.name;
  if (!context.ok()) return out;
  for (std::int64_t r = 0; r < plan.world(); ++r)
    out.ranks.push_back(lower_rank(*context, Rank(r)));
  return out;
}

// Every model under every fold of up to 8 ranks (blocked) or 4 (spread), and one crooked pipeline.
template <class Visit>
void for_every_plan(const Visit& visit) {
  for (const ModelSpec& model : testing::tiny_models()) {
    for (const PlacementStyle style : {PlacementStyle::Blocked, PlacementStyle::Spread}) {
      if (style == PlacementStyle::Spread && !model.has_experts()) continue;
      const std::int64_t limit = style == PlacementStyle::Blocked ? 8 : 4;
      for (const Degrees& degrees : testing::legal_degrees(model, limit, style)) {
        visit(
            lowered(testing::make_plan(degrees, model, style), model, testing::to_string(degrees)));
      }
    }
    Plan crooked = testing::make_plan({2, 2, 2, 2, 1, 1}, model);
    crooked.stages[1].dp = 1;
    crooked.stages[1].tp = 4;
    crooked.stages[1].sp = 1;
    crooked.replicas = 2;
    crooked.capacity_factor = 1.0;
    visit(lowered(crooked, model, "crooked"));
  }
}

TEST(Lower, EverySliceLiesInItsTensor) {
  for_every_plan([](const Lowered& l) {
    for (const RankProgram& rank : l.ranks) {
      for (const Phase phase : kPhases) {
        for (const Step& step : rank.of(phase).steps) {
          for (const WeightSlice& slice : weights_of(step)) {
            const TensorInfo info = tensor_info(l.model, slice.id);
            ASSERT_TRUE(slice.rows.begin >= 0 && slice.rows.end <= info.rows &&
                        slice.cols.begin >= 0 && slice.cols.end <= info.cols && slice.count() > 0)
                << l.name << " " << step_name(step) << " " << to_string(slice.id.role) << " rows "
                << slice.rows.begin << ".." << slice.rows.end;
          }
        }
      }
    }
  });
}

// held_weights: one rectangle a tensor, sorted, around every slice; all ranks hold all of the
// model.
TEST(Lower, WeightFormatsCoverTheProgramsAndTheModel) {
  for_every_plan([](const Lowered& l) {
    std::map<TensorId, std::int64_t> rows_held;
    for (const RankProgram& rank : l.ranks) {
      std::map<TensorId, WeightSlice> held;
      const std::vector<WeightSlice> list = held_weights(rank);
      for (std::size_t i = 0; i < list.size(); ++i) {
        ASSERT_TRUE(i == 0 || list[i - 1].id < list[i].id) << l.name;
        held.emplace(list[i].id, list[i]);
        if (rank.place.replica == 0) rows_held[list[i].id] += list[i].count();
      }
      for (const Phase phase : kPhases) {
        for (const Step& step : rank.of(phase).steps) {
          for (const WeightSlice& slice : weights_of(step)) {
            const WeightSlice& whole = held.at(slice.id);
            ASSERT_TRUE(hull(whole.rows, slice.rows) == whole.rows &&
                        hull(whole.cols, slice.cols) == whole.cols)
                << l.name << " " << step_name(step);
          }
        }
      }
    }
    for (const TensorInfo& info : model_tensors(l.model)) {
      ASSERT_GE(rows_held[info.id], info.count()) << l.name << " " << to_string(info.id.role);
    }
  });
}

// The group over which a step's ranks must meet; none for a step of one rank.
struct Meeting {
  std::optional<GroupKind> operator()(const step::Embed&) const { return GroupKind::Tensor; }
  std::optional<GroupKind> operator()(const step::WidthNorm&) const { return GroupKind::Tensor; }
  std::optional<GroupKind> operator()(const step::AllReduce& s) const { return s.group; }
  std::optional<GroupKind> operator()(const step::SeqToHeads&) const { return GroupKind::Sequence; }
  std::optional<GroupKind> operator()(const step::HeadsToSeq&) const { return GroupKind::Sequence; }
  std::optional<GroupKind> operator()(const step::Capacity&) const { return GroupKind::Stage; }
  std::optional<GroupKind> operator()(const step::Dispatch&) const { return GroupKind::Stage; }
  std::optional<GroupKind> operator()(const step::Combine&) const { return GroupKind::Stage; }
  std::optional<GroupKind> operator()(const step::GatherSlices&) const { return GroupKind::Tensor; }
  std::optional<GroupKind> operator()(const step::LmHead&) const { return GroupKind::Tensor; }
  template <class Other>
  std::optional<GroupKind> operator()(const Other&) const {
    return std::nullopt;
  }
};

TEST(Lower, CollectivesOfAGroupComeInTheSameOrderOnAllMembers) {
  for_every_plan([](const Lowered& l) {
    for (const Phase phase : kPhases) {
      for (const GroupKind kind : {GroupKind::Tensor, GroupKind::Sequence, GroupKind::Stage}) {
        std::map<std::vector<Rank>, std::vector<std::string>> order;
        for (const RankProgram& rank : l.ranks) {
          const Program& program = rank.of(phase);
          const auto& members = program.group(kind);
          const auto self = static_cast<std::size_t>(program.self[static_cast<std::size_t>(kind)]);
          ASSERT_LT(self, members.size()) << l.name;
          ASSERT_EQ(members[self], rank.rank) << l.name;
          std::vector<std::string> mine;
          for (const Step& step : program.steps) {
            if (std::visit(Meeting{}, step) == kind) mine.emplace_back(step_name(step));
          }
          const auto [first, fresh] = order.emplace(members, mine);
          ASSERT_EQ(first->second, mine) << l.name << " " << to_string(kind);
        }
        // Groups of a kind tile the world: all members of a list agree on the list.
        std::size_t in_groups = 0;
        for (const auto& [members, steps] : order) in_groups += members.size();
        ASSERT_EQ(in_groups, l.ranks.size()) << l.name << " " << to_string(kind);
      }
    }
  });
}

// Every Send names a Recv that names it back, and peers ascend.
TEST(Lower, SendsAndReceivesMatch) {
  for_every_plan([](const Lowered& l) {
    for (const Phase phase : kPhases) {
      std::set<std::pair<Rank, Rank>> sent;
      std::set<std::pair<Rank, Rank>> received;
      for (const RankProgram& rank : l.ranks) {
        for (const Step& step : rank.of(phase).steps) {
          if (const auto* send = std::get_if<step::Send>(&step)) {
            ASSERT_TRUE(std::is_sorted(send->to.begin(), send->to.end()));
            for (const Rank to : send->to) ASSERT_TRUE(sent.emplace(rank.rank, to).second);
          }
          if (const auto* recv = std::get_if<step::Recv>(&step)) {
            ASSERT_TRUE(std::is_sorted(recv->from.begin(), recv->from.end()));
            for (const Rank from : recv->from) {
              ASSERT_TRUE(received.emplace(from, rank.rank).second);
            }
          }
        }
      }
      ASSERT_EQ(sent, received) << l.name;
      ASSERT_EQ(sent.empty(), l.plan.stages.size() == 1) << l.name;
    }
  });
}

template <class Kind>
std::vector<Kind> steps_of(const Program& program) {
  std::vector<Kind> out;
  for (const Step& step : program.steps) {
    if (const auto* one = std::get_if<Kind>(&step)) out.push_back(*one);
  }
  return out;
}

// Rank `member` of the tensor group, in the same phase.
const Program& member_of(const Lowered& l, const Program& program, Phase phase, std::size_t t) {
  return l.ranks[program.group(GroupKind::Tensor)[t].index()].of(phase);
}

// What an all_reduce expects of a member is what that member's leaf gemm makes, and all of it
// together tiles the tree.
TEST(Lower, AllReducesExpectWhatLeafGemmsMake) {
  for_every_plan([](const Lowered& l) {
    for (const Phase phase : kPhases) {
      for (const RankProgram& rank : l.ranks) {
        const Program& program = rank.of(phase);
        const auto reduces = steps_of<step::AllReduce>(program);
        for (std::size_t i = 0; i < reduces.size(); ++i) {
          std::int64_t next = 0;
          ASSERT_EQ(reduces[i].member_nodes.size(), program.group(GroupKind::Tensor).size());
          for (std::size_t t = 0; t < reduces[i].member_nodes.size(); ++t) {
            const auto gemms = steps_of<step::LeafGemm>(member_of(l, program, phase, t));
            ASSERT_EQ(gemms.size(), reduces.size());
            const step::LeafGemm& gemm = gemms[i];
            ASSERT_EQ(static_cast<std::size_t>(reduces[i].member_nodes[t]), gemm.nodes.size());
            ASSERT_EQ(gemm.leaves, reduces[i].leaves);
            ASSERT_EQ(gemm.w.rows.size(), reduces[i].width);
            ASSERT_EQ(gemm.w.cols.begin, next * gemm.leaf_width) << l.name;
            for (const Range& node : gemm.nodes) {
              ASSERT_EQ(node.begin, next) << l.name;
              next = node.end;
            }
            ASSERT_EQ(gemm.w.cols.end, next * gemm.leaf_width) << l.name;
          }
          ASSERT_EQ(next, reduces[i].leaves) << l.name;
        }
      }
    }
  });
}

// Heads: the group's queries tile the model's, every query's KV head is at hand, and the decode
// cache is a part of what prefill fills.
TEST(Lower, HeadsTileAndDecodeReadsWhatPrefillWrote) {
  for_every_plan([](const Lowered& l) {
    const std::int64_t per_kv = l.model.heads / l.model.kv_heads;
    for (const RankProgram& rank : l.ranks) {
      const auto prefill = steps_of<step::Attention>(rank.prefill);
      const auto decode = steps_of<step::Attention>(rank.decode);
      ASSERT_EQ(prefill.size(), decode.size());
      for (std::size_t i = 0; i < prefill.size(); ++i) {
        // sp trades rows for heads: both phases end with the same heads on the rank.
        ASSERT_EQ(prefill[i].q_heads, decode[i].q_heads) << l.name;
        ASSERT_EQ(prefill[i].kv_heads, decode[i].kv_heads) << l.name;
        ASSERT_EQ(prefill[i].layer, decode[i].layer);
        for (std::int64_t q = decode[i].q_heads.begin; q < decode[i].q_heads.end; ++q) {
          ASSERT_TRUE(decode[i].kv_heads.contains(q / per_kv)) << l.name;
        }
        std::int64_t next = 0;
        const std::size_t tp = rank.decode.group(GroupKind::Tensor).size();
        for (std::size_t t = 0; t < tp; ++t) {
          const Program& member = member_of(l, rank.decode, Phase::Decode, t);
          const Range q = steps_of<step::Attention>(member)[i].q_heads;
          ASSERT_EQ(q.begin, next) << l.name;
          next = q.end;
        }
        ASSERT_EQ(next, l.model.heads) << l.name;
      }
    }
  });
}

TEST(Lower, LogitsOfTheGroupTileTheVocabulary) {
  for_every_plan([](const Lowered& l) {
    for (const Phase phase : kPhases) {
      for (const RankProgram& rank : l.ranks) {
        const Program& program = rank.of(phase);
        const bool last = rank.place.stage.index() + 1 == l.plan.stages.size();
        const auto heads = steps_of<step::LmHead>(program);
        ASSERT_EQ(heads.size(), last ? 1U : 0U);
        ASSERT_EQ(steps_of<step::Embed>(program).size(), rank.place.stage.value == 0 ? 1U : 0U);
        if (!last) continue;
        std::int64_t next = 0;
        for (const Range& part : heads[0].group_vocab) {
          ASSERT_EQ(part.begin, next);
          next = part.end;
        }
        ASSERT_EQ(next, l.model.vocab) << l.name;
        const auto self =
            static_cast<std::size_t>(program.self[static_cast<std::size_t>(GroupKind::Tensor)]);
        ASSERT_EQ(heads[0].group_vocab[self], heads[0].w.rows) << l.name;
      }
    }
  });
}

// Each (layer, expert, shard) is computed exactly edp times in the world, by who the table names;
// shards bring the nodes that combine expects.
TEST(Lower, ExpertsAreWhereThePlacementSays) {
  for_every_plan([](const Lowered& l) {
    if (!l.model.has_experts()) return;
    std::map<std::tuple<std::int32_t, std::int32_t, std::int64_t>, std::int64_t> homes;
    for (const RankProgram& rank : l.ranks) {
      const auto mlps = steps_of<step::ExpertMlp>(rank.decode);
      const auto combines = steps_of<step::Combine>(rank.decode);
      ASSERT_EQ(mlps.size(), combines.size());
      for (std::size_t i = 0; i < mlps.size(); ++i) {
        const std::int64_t leaves = mlps[i].leaves;
        ASSERT_EQ(leaves * mlps[i].leaf_width, l.model.expert_hidden);
        ASSERT_EQ(combines[i].nodes, tree_cover_all(leaves, std::ssize(combines[i].shard_nodes)));
        for (const step::LocalExpert& e : mlps[i].experts) {
          ++homes[{mlps[i].layer.value, e.expert.value, e.shard}];
          ASSERT_EQ(
              static_cast<std::size_t>(combines[i].shard_nodes[static_cast<std::size_t>(e.shard)]),
              e.nodes.size());
          ASSERT_EQ(e.down.cols, e.up.rows);
          ASSERT_EQ(e.nodes.front().begin * mlps[i].leaf_width, e.up.rows.begin);
          ASSERT_EQ(e.nodes.back().end * mlps[i].leaf_width, e.up.rows.end);
        }
      }
    }
    for (const auto& [home, times] : homes) {
      const std::int64_t stage = Mesh(l.plan).stage_of_layer(std::get<0>(home));
      const StagePlan& s = l.plan.stages[static_cast<std::size_t>(stage)];
      ASSERT_EQ(times, s.edp() * l.plan.replicas) << l.name;
    }
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < l.model.layers.size(); ++i) {
      const std::int64_t stage = Mesh(l.plan).stage_of_layer(static_cast<std::int64_t>(i));
      if (!l.model.layers[i].moe) continue;
      wanted += static_cast<std::size_t>(l.model.experts *
                                         l.plan.stages[static_cast<std::size_t>(stage)].etp);
    }
    ASSERT_EQ(homes.size(), wanted) << l.name;
  });
}

TEST(Lower, APlanThatDoesNotFoldIsRefusedWithItsFirstFailure) {
  const ModelSpec model = testing::tiny_mixtral();
  const Plan plan = testing::make_plan({1, 1, 1, 3, 1, 1}, model);
  const auto context = LoweringContext::make(plan, model);
  ASSERT_FALSE(context.ok());
  EXPECT_EQ(context.error().message, folding_failures(plan, model).front().message);
}

}  // namespace
}  // namespace pentafold
