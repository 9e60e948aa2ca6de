#include "plan/worker.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "plan/mesh.h"
#include "plan/placement.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

using testing::tiny_models;

// Equal layers a stage where they divide; the last stage takes the rest.
std::vector<std::int64_t> cut(std::int64_t layers, std::int64_t pp) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(pp), layers / pp);
  out.back() += layers % pp;
  return out;
}

// Every worker whose stages have at most `limit` ranks in all, legal or not.
template <class Visit>
void for_each_degrees(std::int64_t layers, std::int64_t limit, const Visit& visit) {
  Worker w;
  for (std::int64_t pp = 1; pp <= std::min(layers, limit); ++pp) {
    w.stage_layers = cut(layers, pp);
    for (w.dp = 1; pp * w.dp <= limit; ++w.dp) {
      for (w.sp = 1; pp * w.dp * w.sp <= limit; ++w.sp) {
        for (w.tp = 1; pp * w.dp * w.sp * w.tp <= limit; ++w.tp) {
          for (w.ep = 1; w.ep <= limit; ++w.ep) {
            for (w.etp = 1; w.ep * w.etp <= limit; ++w.etp) visit(w);
          }
        }
      }
    }
  }
}

// The engine judges stage by stage and asks nothing of experts in a stage without any; a worker is
// judged for the whole model. So they agree where each stage has an expert layer, or none has.
bool all_stages_alike(const ModelSpec& model, const Worker& w) {
  std::size_t layer = 0;
  std::set<bool> has;
  for (const std::int64_t n : w.stage_layers) {
    bool moe = false;
    for (std::int64_t i = 0; i < n; ++i) moe |= model.layers[layer++].moe;
    has.insert(moe);
  }
  return has.size() == 1;
}

TEST(Worker, FoldsWhereTheEngineFolds) {
  for (const ModelSpec& model : tiny_models()) {
    const ModelShape shape = shape_of(model);
    int legal = 0;
    int illegal = 0;
    for_each_degrees(model.num_layers(), 16, [&](const Worker& w) {
      const auto failure = folding_failure(shape, w);
      (failure ? illegal : legal) += 1;
      const bool engine = folding_failures(plan_of(w, shape, 1), model).empty();
      if (all_stages_alike(model, w)) {
        ASSERT_EQ(!failure, engine) << model.name << " " << describe(w) << failure.value_or("");
      } else if (!failure) {
        ASSERT_TRUE(engine) << model.name << " " << describe(w);
      }
    });
    EXPECT_GT(legal, 20) << model.name;
    EXPECT_GT(illegal, 20) << model.name;
  }
}

TEST(Worker, ComesBackFromItsPlan) {
  for (const ModelSpec& model : tiny_models()) {
    const ModelShape shape = shape_of(model);
    for_each_degrees(model.num_layers(), 8, [&](Worker w) {
      w.microbatches = 3;
      w.chunk = 96;
      w.batch = 5;
      w.precision = {NumberFormat::FP8, NumberFormat::BF16, NumberFormat::BF16, NumberFormat::FP8};
      for (const std::int64_t redundant : {std::int64_t{0}, w.ep, 2 * w.ep}) {
        w.redundant = redundant;
        if (folding_failure(shape, w)) continue;
        const Plan plan = plan_of(w, shape, 2);
        EXPECT_EQ(plan.world(), 2 * w.gpus());
        const auto back = worker_of(plan, shape);
        ASSERT_TRUE(back.ok());
        ASSERT_EQ(*back, shape.experts() > 0 ? w : [&] {
          Worker dense = w;
          dense.redundant = 0;
          return dense;
        }()) << describe(w);
      }
    });
  }
}

TEST(Worker, RedundantCopiesAreBuildableAndApart) {
  int checked = 0;
  for (const ModelSpec& model : tiny_models()) {
    if (!model.has_experts()) continue;
    const ModelShape shape = shape_of(model);
    for_each_degrees(model.num_layers(), 8, [&](Worker w) {
      if (w.ep == 1) return;
      for (w.redundant = 1; w.redundant <= model.experts; ++w.redundant) {
        if (folding_failure(shape, w)) continue;
        ++checked;
        const Plan plan = plan_of(w, shape, 1);
        const auto placement =
            Placement::build(plan, plan.stages[0], {0, w.stage_layers[0]}, model);
        ASSERT_TRUE(placement.ok()) << describe(w) << placement.error().message;
        for (std::int64_t layer = 0; layer < w.stage_layers[0]; ++layer) {
          if (!model.layers[static_cast<std::size_t>(layer)].moe) continue;
          std::map<std::int64_t, std::int64_t> held;  // experts of each rank
          for (std::int64_t e = 0; e < model.experts; ++e) {
            std::set<std::int64_t> groups;
            for (const ExpertCopy& copy : placement->copies(layer, e)) {
              EXPECT_TRUE(groups.insert(copy.ranks.front() / w.etp).second) << describe(w);
              for (const std::int32_t rank : copy.ranks) ++held[rank];
            }
          }
          EXPECT_EQ(static_cast<std::int64_t>(held.size()), w.stage_ranks());
          for (const auto& [rank, n] : held) {
            EXPECT_EQ(n, (model.experts + w.redundant) / w.ep) << describe(w) << " rank " << rank;
          }
        }
      }
    });
  }
  EXPECT_GT(checked, 100);
}

TEST(Worker, RefusesCopiesWithoutAGroupOfTheirOwn) {
  const ModelSpec model = testing::tiny_mixtral();
  const ModelShape shape = shape_of(model);
  Worker w;
  w.stage_layers = {model.num_layers()};
  w.redundant = 1;
  ASSERT_TRUE(folding_failure(shape, w));
  EXPECT_NE(folding_failure(shape, w)->find("no room for 1 redundant"), std::string::npos);
  w.dp = w.ep = 2;
  w.redundant = model.experts;
  EXPECT_FALSE(folding_failure(shape, w));
  w.redundant = model.experts + 2;
  EXPECT_TRUE(folding_failure(shape, w));
}

TEST(Worker, RefusesPlansItCannotPrice) {
  const ModelSpec model = testing::tiny_mixtral();
  const ModelShape shape = shape_of(model);
  Plan plan;
  EXPECT_FALSE(worker_of(plan, shape).ok());
  plan.stages.resize(2);
  plan.stages[0].layers = plan.stages[1].layers = 1;
  plan.stages[1].tp = 2;
  const auto uneven = worker_of(plan, shape);
  ASSERT_FALSE(uneven.ok());
  EXPECT_EQ(uneven.error().code, ErrorCode::Unsupported);
  plan.stages[1].tp = 1;
  EXPECT_TRUE(worker_of(plan, shape).ok());
  plan.stages[0].ep = plan.stages[1].ep = 2;  // on one rank
  EXPECT_FALSE(worker_of(plan, shape).ok());
  plan.stages[0].ep = plan.stages[1].ep = 0;
  EXPECT_FALSE(worker_of(plan, shape).ok());
}

// Entries of single layers and backups do not add up to copies that no layer has.
TEST(Worker, CountsCopiesOfOneLayer) {
  const ModelSpec model = testing::tiny_mixtral();
  const ModelShape shape = shape_of(model);
  Worker w;
  w.stage_layers = {model.num_layers()};
  w.dp = w.ep = 2;
  w.redundant = 2;
  Plan plan = plan_of(w, shape, 1);
  std::vector<ExplicitPlacement> by_layer;
  for (std::int64_t layer = 0; layer < model.num_layers(); ++layer) {
    for (ExplicitPlacement entry : plan.stages[0].explicit_placement) {
      entry.layer = layer;
      entry.copies.push_back({{0}, true});
      by_layer.push_back(std::move(entry));
    }
  }
  plan.stages[0].explicit_placement = std::move(by_layer);
  EXPECT_EQ(worker_of(plan, shape)->redundant, 2);
}

}  // namespace
}  // namespace pentafold
