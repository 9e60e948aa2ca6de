#include "plan/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/tiny_models.h"

namespace pentafold {
namespace {

StagePlan stage_of(std::int64_t ranks, std::int64_t ep, std::int64_t etp, PlacementStyle style) {
  StagePlan stage;
  stage.dp = ranks;
  stage.ep = ep;
  stage.etp = etp;
  stage.placement = style;
  stage.line = 4;
  return stage;
}

Placement built(const StagePlan& stage, Range layers, const ModelSpec& model) {
  auto placement = Placement::build({}, stage, layers, model);
  EXPECT_TRUE(placement.ok()) << (placement.ok() ? "" : placement.error().to_string());
  return *placement;
}

Error refusal(const StagePlan& stage, const ModelSpec& model) {
  Plan plan;
  plan.file = "some.yaml";
  const auto placement = Placement::build(plan, stage, {0, model.num_layers()}, model);
  EXPECT_FALSE(placement.ok());
  return placement.ok() ? Error{} : placement.error();
}

template <class Visit>
void for_every_fold(const ModelSpec& model, const Visit& visit) {
  for (const PlacementStyle style : {PlacementStyle::Blocked, PlacementStyle::Spread}) {
    for (std::int64_t ep = 1; ep <= 8; ++ep) {
      for (std::int64_t etp = 1; etp <= 4; ++etp) {
        for (std::int64_t edp = 1; edp <= 3; ++edp) {
          if (style == PlacementStyle::Blocked && model.experts % ep != 0) continue;
          visit(stage_of(ep * etp * edp, ep, etp, style));
        }
      }
    }
  }
}

// Reach bounds what any choice of experts brings together: counted again, home by home.
TEST(Placement, ReachIsWhoServesWhom) {
  const ModelSpec model = testing::tiny_qwen2_moe();
  for_every_fold(model, [&](const StagePlan& stage) {
    const Placement placement = built(stage, {0, 4}, model);
    for (std::int64_t layer = 0; layer < 4; ++layer) {
      if (!model.layers[static_cast<std::size_t>(layer)].moe) continue;
      std::map<std::int64_t, std::set<std::int64_t>> senders;
      std::map<std::int64_t, std::set<std::int64_t>> receivers;
      std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> served;
      for (std::int64_t expert = 0; expert < model.experts; ++expert) {
        for (std::int64_t home = 0; home < stage.ranks(); ++home) {
          for (const std::int32_t rank : placement.serving_copy(layer, expert, home).ranks) {
            senders[rank].insert(home);
            receivers[home].insert(rank);
            ++served[{rank, home}];
          }
        }
      }
      for (std::int64_t rank = 0; rank < stage.ranks(); ++rank) {
        const Placement::Reach& reach = placement.reach(layer, rank);
        EXPECT_EQ(reach.senders, std::ssize(senders[rank]));
        EXPECT_EQ(reach.receivers, std::ssize(receivers[rank]));
        std::int64_t most = 0;
        for (std::int64_t home = 0; home < stage.ranks(); ++home) {
          most = std::max(most, served[{rank, home}]);
        }
        EXPECT_EQ(reach.experts, most);
      }
    }
  });
}

TEST(Placement, EveryExpertHasEtpShardsOnDistinctRanksInEveryRepeat) {
  const ModelSpec model = testing::tiny_qwen2_moe();
  for_every_fold(model, [&](const StagePlan& stage) {
    const Placement placement = built(stage, {0, 4}, model);
    for (std::int64_t layer = 0; layer < 4; ++layer) {
      for (std::int64_t e = 0; e < model.experts; ++e) {
        const auto& copies = placement.copies(layer, e);
        if (!model.layers[static_cast<std::size_t>(layer)].moe) {
          EXPECT_TRUE(copies.empty());
          continue;
        }
        ASSERT_EQ(static_cast<std::int64_t>(copies.size()), stage.edp());
        std::set<std::int32_t> ranks;
        for (std::size_t x = 0; x < copies.size(); ++x) {
          EXPECT_FALSE(copies[x].backup);
          ASSERT_EQ(static_cast<std::int64_t>(copies[x].ranks.size()), stage.etp);
          const std::int64_t group = copies[x].ranks[0] / stage.etp % stage.ep;
          for (std::int64_t i = 0; i < stage.etp; ++i) {
            // r = (x * ep + g) * etp + i, the mesh of plan/mesh.h.
            const std::int64_t r =
                (static_cast<std::int64_t>(x) * stage.ep + group) * stage.etp + i;
            EXPECT_EQ(copies[x].ranks[static_cast<std::size_t>(i)], r);
            EXPECT_LT(r, stage.ranks());
            ranks.insert(static_cast<std::int32_t>(r));
          }
        }
        EXPECT_EQ(static_cast<std::int64_t>(ranks.size()), stage.edp() * stage.etp);
      }
    }
  });
}

TEST(Placement, BlockedGivesGroupsEqualRunsOfExperts) {
  const ModelSpec model = testing::tiny_mixtral();
  for (const std::int64_t ep : {1, 2, 4, 8}) {
    const Placement placement = built(stage_of(ep, ep, 1, PlacementStyle::Blocked), {0, 4}, model);
    for (std::int64_t layer = 0; layer < 4; ++layer) {
      for (std::int64_t e = 0; e < model.experts; ++e) {
        EXPECT_EQ(placement.copies(layer, e)[0].ranks[0], e / (model.experts / ep));
      }
    }
  }
}

// Dealt over the (layer, expert) pairs of the whole stage: totals differ by at most one, dense
// layers take no turn.
TEST(Placement, SpreadIsBalancedWithinOne) {
  for (const ModelSpec& model : {testing::tiny_mixtral(), testing::tiny_qwen2_moe()}) {
    for (std::int64_t ep = 1; ep <= 24; ++ep) {
      for (const Range layers : {Range{0, 4}, Range{1, 4}, Range{2, 3}}) {
        const Placement placement =
            built(stage_of(ep, ep, 1, PlacementStyle::Spread), layers, model);
        std::vector<std::int64_t> load(static_cast<std::size_t>(ep), 0);
        for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
          for (std::int64_t r = 0; r < ep; ++r) {
            load[static_cast<std::size_t>(r)] +=
                static_cast<std::int64_t>(placement.held_by(layer, r).size());
          }
        }
        const auto [low, high] = std::minmax_element(load.begin(), load.end());
        EXPECT_LE(*high - *low, 1) << "ep " << ep;
      }
    }
  }
}

// held_by is the inverse of copies.
TEST(Placement, HeldByListsEveryShardOnceAscending) {
  const ModelSpec model = testing::tiny_mixtral();
  for_every_fold(model, [&](const StagePlan& stage) {
    const Placement placement = built(stage, {1, 3}, model);
    for (std::int64_t layer = 1; layer < 3; ++layer) {
      std::int64_t held = 0;
      for (std::int64_t r = 0; r < stage.ranks(); ++r) {
        std::int64_t before = -1;
        for (const Placement::Held& h : placement.held_by(layer, r)) {
          EXPECT_GT(h.expert, before);
          before = h.expert;
          ++held;
          const auto& copies = placement.copies(layer, h.expert);
          EXPECT_TRUE(std::any_of(copies.begin(), copies.end(), [&](const ExpertCopy& c) {
            return c.ranks[static_cast<std::size_t>(h.shard)] == r && c.backup == h.backup;
          }));
        }
      }
      EXPECT_EQ(held, model.experts * stage.edp() * stage.etp);
    }
  });
}

TEST(Placement, ARankServesItselfAndRepeatsServeTheirOwnBlock) {
  const ModelSpec model = testing::tiny_mixtral();
  for_every_fold(model, [&](const StagePlan& stage) {
    const Placement placement = built(stage, {0, 1}, model);
    for (std::int64_t e = 0; e < model.experts; ++e) {
      for (std::int64_t home = 0; home < stage.ranks(); ++home) {
        const ExpertCopy& copy = placement.serving_copy(0, e, home);
        const std::int64_t block = stage.ep * stage.etp;
        EXPECT_EQ(copy.ranks[0] / block, home / block);
      }
    }
  });
}

// Explicit: expert 0 everywhere, others on one rank each with a backup on the next.
StagePlan explicit_stage() {
  StagePlan stage = stage_of(4, 4, 1, PlacementStyle::Explicit);
  for (std::int32_t e = 0; e < 8; ++e) {
    ExplicitPlacement entry;
    entry.expert = e;
    entry.line = 20 + e;
    if (e == 0) {
      for (std::int32_t r = 0; r < 4; ++r) entry.copies.push_back({{r}, false});
    } else {
      entry.copies = {{{e % 4}, false}, {{(e + 1) % 4}, true}};
    }
    stage.explicit_placement.push_back(entry);
  }
  return stage;
}

TEST(Placement, ExplicitServesReplicasAtHomeAndNeverABackup) {
  const ModelSpec model = testing::tiny_mixtral();
  const Placement placement = built(explicit_stage(), {0, 4}, model);
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    for (std::int32_t home = 0; home < 4; ++home) {
      EXPECT_EQ(placement.serving_copy(layer, 0, home).ranks, std::vector<std::int32_t>{home});
      for (std::int32_t e = 1; e < 8; ++e) {
        const ExpertCopy& copy = placement.serving_copy(layer, e, home);
        EXPECT_FALSE(copy.backup);
        EXPECT_EQ(copy.ranks, std::vector<std::int32_t>{e % 4});
      }
      for (const Placement::Held& h : placement.held_by(layer, home)) {
        EXPECT_EQ(h.backup, h.expert != 0 && h.expert % 4 != home);
      }
    }
  }
}

// Where no copy is at home, every live copy gets its share of the homes.
TEST(Placement, ReplicasElsewhereTakeTurns) {
  const ModelSpec model = testing::tiny_mixtral();
  StagePlan stage = explicit_stage();
  stage.dp = 12;
  stage.explicit_placement[3].copies = {{{0}, false}, {{11}, true}, {{1}, false}, {{2}, false}};
  const Placement placement = built(stage, {0, 4}, model);
  std::map<std::int32_t, int> served;
  for (std::int64_t home = 3; home < 12; ++home) {
    const ExpertCopy& copy = placement.serving_copy(2, 3, home);
    EXPECT_FALSE(copy.backup);
    ++served[copy.ranks[0]];
  }
  EXPECT_EQ(served.size(), 3U);
}

TEST(Placement, AnEntryForOneLayerCountsThereAlone) {
  const ModelSpec model = testing::tiny_mixtral();
  StagePlan stage = explicit_stage();
  ExplicitPlacement more;
  more.layer = 2;
  more.expert = 5;
  more.copies = {{{3}, false}};
  stage.explicit_placement.push_back(more);
  const Placement placement = built(stage, {0, 4}, model);
  EXPECT_EQ(placement.copies(1, 5).size(), 2U);
  ASSERT_EQ(placement.copies(2, 5).size(), 3U);
  EXPECT_EQ(placement.copies(2, 5).back(), more.copies.front());
}

TEST(Placement, WhatATableLacksIsSaid) {
  const ModelSpec model = testing::tiny_mixtral();
  const auto expect_refusal = [&](std::vector<ExpertCopy> copies, const std::string& word) {
    StagePlan stage = explicit_stage();
    stage.explicit_placement[6].copies = std::move(copies);
    const Error error = refusal(stage, model);
    EXPECT_EQ(error.code, ErrorCode::InfeasiblePlan);
    EXPECT_EQ(error.file, "some.yaml");
    EXPECT_NE(error.message.find("layer 0 expert 6"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find(word), std::string::npos) << error.message;
  };
  expect_refusal({}, "no live copy");
  expect_refusal({{{1}, true}}, "no live copy");
  expect_refusal({{{1, 2}, false}}, "a copy names 2 ranks, etp = 1");
  expect_refusal({{{}, false}}, "a copy names 0 ranks");
  expect_refusal({{{4}, false}}, "rank 4 is not in the stage's 0..3");
  expect_refusal({{{-1}, false}}, "rank -1 is not");
  expect_refusal({{{2}, false}, {{2}, true}}, "rank 2 appears twice");
}

}  // namespace
}  // namespace pentafold
