#include "plan/mesh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "support/tiny_models.h"

namespace pentafold {
namespace {

constexpr Phase kPhases[] = {Phase::Prefill, Phase::Decode};

// Every (dp, sp, tp) with at most `limit` ranks.
std::vector<StagePlan> stages_up_to(std::int64_t limit) {
  std::vector<StagePlan> out;
  for (std::int64_t dp = 1; dp <= limit; ++dp) {
    for (std::int64_t sp = 1; dp * sp <= limit; ++sp) {
      for (std::int64_t tp = 1; dp * sp * tp <= limit; ++tp) {
        StagePlan stage;
        stage.layers = 1;
        stage.dp = dp;
        stage.sp = sp;
        stage.tp = tp;
        out.push_back(stage);
      }
    }
  }
  return out;
}

std::string name(const StagePlan& s) {
  return "dp" + std::to_string(s.dp) + " sp" + std::to_string(s.sp) + " tp" + std::to_string(s.tp);
}

TEST(Mesh, PhaseCoordsAreABijection) {
  for (const StagePlan& stage : stages_up_to(24)) {
    for (const Phase phase : kPhases) {
      const PhaseMesh mesh = phase_mesh(stage, phase);
      ASSERT_EQ(mesh.dp * mesh.sp * mesh.tp, stage.ranks()) << name(stage);
      std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> seen;
      for (std::int64_t index = 0; index < stage.ranks(); ++index) {
        const PhaseCoord c = phase_coord(stage, phase, index);
        EXPECT_TRUE((Range{0, mesh.dp}.contains(c.d) && Range{0, mesh.sp}.contains(c.s) &&
                     Range{0, mesh.tp}.contains(c.t)))
            << name(stage) << " rank " << index;
        EXPECT_EQ(phase_index(stage, phase, c), index) << name(stage);
        seen.insert({c.d, c.s, c.t});
      }
      EXPECT_EQ(static_cast<std::int64_t>(seen.size()), stage.ranks()) << name(stage);
    }
  }
}

// "r = (d * tp + t) * sp + s", and a rank keeps its data-parallel group in both phases.
TEST(Mesh, PrefillNumberingIsTheDocumentedOne) {
  for (const StagePlan& stage : stages_up_to(24)) {
    for (std::int64_t r = 0; r < stage.ranks(); ++r) {
      const PhaseCoord c = phase_coord(stage, Phase::Prefill, r);
      EXPECT_EQ((c.d * stage.tp + c.t) * stage.sp + c.s, r);
      EXPECT_EQ(phase_coord(stage, Phase::Decode, r).d, c.d);
      EXPECT_EQ(phase_coord(stage, Phase::Decode, r).s, 0);
    }
  }
}

TEST(Mesh, TensorShardsTileInOrder) {
  for (const StagePlan& stage : stages_up_to(12)) {
    for (const Phase phase : kPhases) {
      for (std::int64_t n = 0; n <= 100; ++n) {
        std::int64_t next = 0;
        for (std::int64_t t = 0; t < phase_mesh(stage, phase).tp; ++t) {
          const Range shard = tensor_shard(stage, phase, n, t);
          ASSERT_EQ(shard.begin, next) << name(stage) << " n " << n << " t " << t;
          ASSERT_GE(shard.end, shard.begin);
          next = shard.end;
        }
        ASSERT_EQ(next, n) << name(stage);
      }
    }
  }
}

// What a rank reads in decode it already holds for prefill, whatever is cut.
TEST(Mesh, DecodeShardsNestInPrefillShards) {
  for (const StagePlan& stage : stages_up_to(16)) {
    for (std::int64_t n = 0; n <= 200; ++n) {
      for (std::int64_t r = 0; r < stage.ranks(); ++r) {
        const Range outer =
            tensor_shard(stage, Phase::Prefill, n, phase_coord(stage, Phase::Prefill, r).t);
        const Range inner =
            tensor_shard(stage, Phase::Decode, n, phase_coord(stage, Phase::Decode, r).t);
        ASSERT_TRUE(inner.begin >= outer.begin && inner.end <= outer.end)
            << name(stage) << " n " << n << " rank " << r;
      }
    }
  }
}

TEST(Mesh, KvHeadsAreExactlyThoseOfTheQueryHeads) {
  ModelSpec model = testing::tiny_mixtral();
  for (const std::int64_t kv_heads : {1, 2, 4, 8}) {
    model.kv_heads = kv_heads;
    for (std::int64_t begin = 0; begin < model.heads; ++begin) {
      for (std::int64_t end = begin + 1; end <= model.heads; ++end) {
        std::set<std::int64_t> read;
        for (std::int64_t q = begin; q < end; ++q) read.insert(q * kv_heads / model.heads);
        const Range kv = kv_heads_of(model, {begin, end});
        EXPECT_EQ(kv.begin, *read.begin());
        EXPECT_EQ(kv.end, *read.rbegin() + 1);
      }
    }
  }
}

TEST(Mesh, WorldNumberingIsABijection) {
  const std::vector<StagePlan> kinds = stages_up_to(4);
  for (std::int64_t replicas = 1; replicas <= 3; ++replicas) {
    Plan plan;
    plan.replicas = replicas;
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      plan.stages.push_back(kinds[i]);
      plan.stages.back().layers = 1 + static_cast<std::int64_t>(i % 3);
      const Mesh mesh(plan);
      ASSERT_EQ(mesh.world(), plan.world());
      std::int64_t next = 0;  // replica-major, then stage, then index
      for (std::int64_t r = 0; r < replicas; ++r) {
        for (std::size_t s = 0; s < plan.stages.size(); ++s) {
          for (std::int64_t index = 0; index < plan.stages[s].ranks(); ++index, ++next) {
            const StageId stage(static_cast<std::int64_t>(s));
            EXPECT_EQ(mesh.rank_at(r, stage, index), Rank(next));
            const RankPlace place = mesh.place(Rank(next));
            EXPECT_EQ(place.replica, r);
            EXPECT_EQ(place.stage, stage);
            EXPECT_EQ(place.index, index);
          }
        }
      }
      EXPECT_EQ(next, mesh.world());
    }
  }
}

TEST(Mesh, LayersTileTheModelInStageOrder) {
  Plan plan;
  for (const std::int64_t layers : {2, 1, 5, 3}) plan.stages.emplace_back().layers = layers;
  const Mesh mesh(plan);
  std::int64_t next = 0;
  for (std::int64_t s = 0; s < 4; ++s) {
    const Range layers = mesh.layers(StageId(s));
    EXPECT_EQ(layers.begin, next);
    EXPECT_EQ(layers.size(), plan.stages[static_cast<std::size_t>(s)].layers);
    for (std::int64_t l = layers.begin; l < layers.end; ++l) EXPECT_EQ(mesh.stage_of_layer(l), s);
    next = layers.end;
  }
  EXPECT_EQ(next, 11);
}

// The rows a rank carries, by brute force: `rows[g]` rows of scheduling group g, numbered in turn.
std::vector<std::int64_t> rows_of(const StagePlan& stage, Phase phase, std::int64_t index,
                                  const std::vector<std::int64_t>& rows) {
  const PhaseCoord c = phase_coord(stage, phase, index);
  std::vector<std::int64_t> group;
  std::int64_t number = 0;
  for (std::size_t g = 0; g < rows.size(); ++g) {
    for (std::int64_t i = 0; i < rows[g]; ++i, ++number) {
      if (static_cast<std::int64_t>(g) % stage.dp == c.d) group.push_back(number);
    }
  }
  const Range local =
      split(static_cast<std::int64_t>(group.size()), phase_mesh(stage, phase).sp, c.s);
  return {group.begin() + local.begin, group.begin() + local.end};
}

// 840 = lcm(1..8) groups is what any pair of stages up to 8 ranks schedules by; rows are uneven.
TEST(Mesh, EveryRowOfAReceiverHasExactlyOneSender) {
  std::vector<std::int64_t> rows(840, 0);
  for (std::size_t g = 0; g < rows.size(); ++g) rows[g] = g % 5 == 3 ? 2 : (g % 3 == 0 ? 1 : 0);
  const std::vector<StagePlan> stages = stages_up_to(8);
  for (const Phase phase : kPhases) {
    std::vector<std::vector<std::vector<std::int64_t>>> held;  // by stage, member
    for (const StagePlan& stage : stages) {
      auto& members = held.emplace_back();
      for (std::int64_t i = 0; i < stage.ranks(); ++i) {
        members.push_back(rows_of(stage, phase, i, rows));
      }
    }
    for (std::size_t a = 0; a < stages.size(); ++a) {
      for (std::size_t b = 0; b < stages.size(); ++b) {
        for (std::int64_t to = 0; to < stages[b].ranks(); ++to) {
          const auto senders = pipeline_senders(stages[a], stages[b], phase, to);
          std::vector<std::int64_t> offered;
          for (const std::int64_t from : senders) {
            ASSERT_TRUE((Range{0, stages[a].ranks()}.contains(from)));
            const auto& theirs = held[a][static_cast<std::size_t>(from)];
            offered.insert(offered.end(), theirs.begin(), theirs.end());
          }
          std::sort(offered.begin(), offered.end());
          ASSERT_EQ(std::adjacent_find(offered.begin(), offered.end()), offered.end())
              << "a row comes twice: " << name(stages[a]) << " -> " << name(stages[b]);
          const auto& mine = held[b][static_cast<std::size_t>(to)];
          ASSERT_TRUE(std::includes(offered.begin(), offered.end(), mine.begin(), mine.end()))
              << "a row is missing: " << name(stages[a]) << " -> " << name(stages[b]);
          if (stages[a].dp != stages[b].dp) continue;
          if (phase_mesh(stages[a], phase).sp != phase_mesh(stages[b], phase).sp) continue;
          ASSERT_EQ(offered, mine) << "no superset where dp and sp agree";
        }
      }
    }
  }
}

struct Fault {
  const char* what;
  void (*plant)(Plan& plan);
  std::vector<std::string> words;  // in one of the sentences
};

Plan sound_plan() {
  Plan plan;
  plan.file = "some.yaml";
  for (int i = 0; i < 2; ++i) {
    StagePlan& stage = plan.stages.emplace_back();
    stage.layers = 2;
    stage.tp = 2;
    stage.ep = 2;
    stage.line = 10 + i;
  }
  return plan;
}

const Fault kFaults[] = {
    {"no stage", [](Plan& p) { p.stages.clear(); }, {"no pipeline stage"}},
    {"too few layers", [](Plan& p) { p.stages[0].layers = 1; }, {"3 layers", "sum to 4"}},
    {"an empty stage", [](Plan& p) { p.stages[0].layers = 0; }, {"stage 0 holds no layer"}},
    {"heads",
     [](Plan& p) { p.stages[1].tp = 3; },
     {"stage 1", "tp = 3", "8 attention heads", "1, 2, 4, 8"}},
    {"heads by sp", [](Plan& p) { p.stages[1].sp = 3; }, {"tp x sp = 2 x 3 = 6", "heads"}},
    {"shared expert", [](Plan& p) { p.stages[0].tp = 16; }, {"leaves of the shared expert"}},
    {"dense MLP", [](Plan& p) { p.stages[0].tp = 5; }, {"leaves of the dense MLP"}},
    {"vocabulary", [](Plan& p) { p.stages[0].tp = 64; }, {"vocabulary of 53"}},
    {"fold", [](Plan& p) { p.stages[0].ep = 3; }, {"ep x etp = 3 x 1 = 3", "1 x 1 x 2 = 2"}},
    {"etp",
     [](Plan& p) { p.stages[0].dp = 3, p.stages[0].ep = 1, p.stages[0].etp = 3; },
     {"etp = 3", "16"}},
    {"blocked",
     [](Plan& p) { p.stages[0].dp = 3, p.stages[0].ep = 6; },
     {"ep = 6 does not divide 8 experts", "spread"}},
    {"spread",
     [](Plan& p) {
       p.stages[0].dp = 16, p.stages[0].ep = 32, p.stages[0].placement = PlacementStyle::Spread;
     },
     {"ep = 32", "1 layers x 8 experts = 8"}},
};

TEST(Mesh, EveryKindOfFoldingFailureHasItsSentence) {
  const ModelSpec model = testing::tiny_qwen2_moe();  // layer 1 is dense, a shared expert
  EXPECT_TRUE(folding_failures(sound_plan(), model).empty());
  for (const Fault& fault : kFaults) {
    Plan plan = sound_plan();
    fault.plant(plan);
    const std::vector<Error> failures = folding_failures(plan, model);
    const auto names_it = [&](const Error& e) {
      return std::all_of(fault.words.begin(), fault.words.end(), [&](const std::string& word) {
        return e.message.find(word) != std::string::npos;
      });
    };
    const auto found = std::find_if(failures.begin(), failures.end(), names_it);
    std::string all;
    for (const Error& e : failures) {
      all += e.to_string() + "\n";
      EXPECT_EQ(e.code, ErrorCode::InfeasiblePlan);
      EXPECT_EQ(e.file, "some.yaml");
    }
    EXPECT_NE(found, failures.end()) << fault.what << ":\n" << all;
  }
}

TEST(Mesh, AFailureNamesTheLineOfItsStageAndAllAreListed) {
  Plan plan = sound_plan();
  plan.stages[0].tp = 3;
  plan.stages[1].tp = 5;
  std::set<int> lines;
  for (const Error& e : folding_failures(plan, testing::tiny_mixtral())) lines.insert(e.line);
  EXPECT_EQ(lines, (std::set<int>{10, 11}));
}

}  // namespace
}  // namespace pentafold
