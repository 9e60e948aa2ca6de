// The promise, exhaustively at small size: every legal (pp, dp, sp, tp, ep, etp) with a product of
// at most 8, every placement, on a tiny model of every family, gives the bits of one rank: all
// logits and all sampled tokens, with prompts whole or in chunks of 1, 7 and 64, batches of 1, 3
// and 8 requests submitted in different orders, one or two microbatches, and with an expert
// capacity.
//
// A plan runs a different part of the scenario list each (so every pair of degrees and scenario
// kind occurs many times over the cube); every sixteenth plan, if of product 8, runs all of it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "base/random.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

// Dropless results must not depend on chunk, batch limit or order, so scenarios with equal prompts
// share one expected outcome.
struct Case {
  Scenario scenario;
  std::size_t prompts = 0;  // index of the expected outcome
};

std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::size_t i) { return mix64(seed * 64 + i); });
  return order;
}

const std::vector<std::vector<std::int64_t>>& prompt_sets() {
  static const std::vector<std::vector<std::int64_t>> sets = {
      {19}, {17, 9, 3}, {13, 5, 1, 8, 2, 11, 3, 7}, {70}, {66, 9, 3}, {65, 5, 1, 8, 2, 11, 3, 7}};
  return sets;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  const SamplingOptions sampled{0.9, 0, 0.95, 5};
  for (std::size_t set = 0; set < prompt_sets().size(); ++set) {
    const bool is_long = set >= 3;
    for (const std::int64_t chunk :
         is_long ? std::vector<std::int64_t>{512, 64} : std::vector<std::int64_t>{512, 1, 7}) {
      const auto& lengths = prompt_sets()[set];
      const std::uint64_t seed = set * 8 + static_cast<std::uint64_t>(chunk);
      // A batch limit of 3 makes eight requests wait for each other.
      const std::int64_t batch = chunk == 7 ? 3 : 8;
      cases.push_back({{lengths, 3, chunk, batch, sampled, shuffled(lengths.size(), seed)}, set});
    }
  }
  return cases;
}

// Two live copies and a backup of every expert on ranks drawn at random, as far as ranks suffice.
void place_explicitly(Plan& plan, const ModelSpec& model) {
  for (StagePlan& stage : plan.stages) {
    if (stage.placement != PlacementStyle::Explicit) continue;
    for (std::int64_t expert = 0; expert < model.experts; ++expert) {
      const auto ranks = shuffled(static_cast<std::size_t>(stage.ranks()),
                                  static_cast<std::uint64_t>(expert + 31));
      ExplicitPlacement entry;
      entry.expert = expert;
      const auto etp = static_cast<std::size_t>(stage.etp);
      for (std::size_t copy = 0; copy < 3 && (copy + 1) * etp <= ranks.size(); ++copy) {
        ExpertCopy home;
        for (std::size_t i = 0; i < etp; ++i) {
          home.ranks.push_back(static_cast<std::int32_t>(ranks[copy * etp + i]));
        }
        home.backup = copy == 2;
        entry.copies.push_back(home);
      }
      stage.explicit_placement.push_back(entry);
    }
  }
}

// Sanitizers take a sample: every n-th plan, n from the environment. 1: all.
std::size_t stride() {
  const char* text = std::getenv("PENTAFOLD_CUBE_STRIDE");
  return text == nullptr ? 1 : static_cast<std::size_t>(std::max(1, std::atoi(text)));
}

struct Expected {
  std::vector<Outcome> by_prompts;
};

Expected expect_from_one_rank(const ModelSpec& model, const std::vector<Case>& cases) {
  Expected expected;
  expected.by_prompts.resize(prompt_sets().size());
  PlanRunner one(make_plan({}, model), model);
  std::vector<bool> known(prompt_sets().size(), false);
  for (const Case& c : cases) {
    Outcome outcome = one.run(c.scenario);
    if (known[c.prompts]) {
      EXPECT_EQ(outcome, expected.by_prompts[c.prompts])
          << model.name << ": chunking or order changed one rank's bits";
    }
    expected.by_prompts[c.prompts] = std::move(outcome);
    known[c.prompts] = true;
  }
  return expected;
}

class Cube : public ::testing::TestWithParam<ModelSpec> {};

TEST_P(Cube, EveryPlanGivesTheBitsOfOneRank) {
  const ModelSpec& model = GetParam();
  const std::vector<Case> cases = all_cases();
  const Expected expected = expect_from_one_rank(model, cases);
  std::size_t plans = 0;
  for (const PlacementStyle placement :
       {PlacementStyle::Blocked, PlacementStyle::Spread, PlacementStyle::Explicit}) {
    if (!model.has_experts() && placement != PlacementStyle::Blocked) continue;
    for (const Degrees& degrees : legal_degrees(model, 8, placement)) {
      Plan plan = make_plan(degrees, model, placement);
      if (placement == PlacementStyle::Explicit && degrees.ep != 1) continue;  // the table decides
      if (plans++ % stride() != 0) continue;
      place_explicitly(plan, model);
      plan.microbatches = 1 + static_cast<std::int64_t>(plans % 2);
      PlanRunner runner(plan, model);
      const bool full = plan.world() == 8 && plans % 16 == 0;
      const std::size_t share = full ? 1 : cases.size() / 2;
      for (std::size_t i = plans % share; i < cases.size(); i += share) {
        EXPECT_EQ(runner.run(cases[i].scenario), expected.by_prompts[cases[i].prompts])
            << model.name << " " << to_string(degrees) << " placement "
            << static_cast<int>(placement) << " case " << i;
      }
    }
  }
  fmt::print("{}: {} plans, every {}. run\n", model.name, plans, stride());
}

// With a capacity, what shares a step matters by definition; the plan still must not.
TEST_P(Cube, WithACapacityTheSameStepsGiveTheSameBits) {
  const ModelSpec& model = GetParam();
  if (!model.has_experts()) return;  // nothing to overflow
  const std::vector<Case> cases = all_cases();
  std::int64_t refused = 0;
  std::size_t plans = 0;
  for (const double factor : {1.0, 1.25}) {
    for (const OverflowPolicy policy : {OverflowPolicy::Drop, OverflowPolicy::NextBest}) {
      std::vector<Outcome> expected;
      Plan alone = make_plan({}, model);
      alone.capacity_factor = factor;
      alone.overflow = policy;
      PlanRunner one(alone, model);
      for (const Case& c : cases) {
        expected.push_back(one.run(c.scenario));
        for (const LayerRouting& layer : one.last_report.routing.layers) {
          refused += std::accumulate(layer.refused.begin(), layer.refused.end(), std::int64_t{0});
        }
      }
      for (const Degrees& degrees : legal_degrees(model, 8, PlacementStyle::Blocked)) {
        if (plans++ % (3 * stride()) != 0) continue;
        Plan plan = make_plan(degrees, model);
        plan.capacity_factor = factor;
        plan.overflow = policy;
        plan.microbatches = 1 + static_cast<std::int64_t>(plans % 2);
        const std::size_t i = plans / 3 % cases.size();
        EXPECT_EQ(PlanRunner(plan, model).run(cases[i].scenario), expected[i])
            << model.name << " " << to_string(degrees) << " capacity " << factor << " case " << i;
      }
    }
  }
  EXPECT_GT(refused, 0) << "no expert ever overflowed: the test would prove nothing";
}

INSTANTIATE_TEST_SUITE_P(Families, Cube, ::testing::ValuesIn(tiny_models()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace pentafold::testing
