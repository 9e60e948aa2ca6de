// Planted faults: what is wrong with a program is found, by the check whose matter it is, in a
// sentence; what is wrong with a plan gives one sentence that says what would fix it.
#include "verify/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

// A plan, its lowered programs, and a place to break them.
struct Bench {
  ModelSpec model;
  Plan plan;
  std::vector<RankProgram> programs;

  Bench(const ModelSpec& m, const Degrees& degrees) : model(m), plan(make_plan(degrees, m)) {
    plan.file = "plan.yaml";
    for (std::size_t i = 0; i < plan.stages.size(); ++i) {
      plan.stages[i].line = static_cast<int>(10 + i);
    }
    const auto context = LoweringContext::make(plan, model);
    for (std::int64_t r = 0; context.ok() && r < plan.world(); ++r) {
      programs.push_back(lower_rank(*context, Rank(r)));
    }
  }
  std::vector<Step>& steps(std::size_t rank, Phase phase = Phase::Prefill) {
    return phase == Phase::Prefill ? programs[rank].prefill.steps : programs[rank].decode.steps;
  }
  // The n-th step of a kind.
  template <class T>
  std::size_t find(std::size_t rank, std::size_t n = 0, Phase phase = Phase::Prefill) {
    std::vector<Step>& all = steps(rank, phase);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::holds_alternative<T>(all[i]) && n-- == 0) return i;
    }
    ADD_FAILURE() << "no such step";
    return 0;
  }
  template <class T>
  T& get(std::size_t rank, std::size_t n = 0, Phase phase = Phase::Prefill) {
    return std::get<T>(steps(rank, phase)[find<T>(rank, n, phase)]);
  }
  Verdict verdict() const { return verify_programs(plan, model, programs); }
  std::string text() const { return format_verdict(verdict(), plan, model.name); }
};

std::set<std::string> checks_of(const Verdict& verdict) {
  std::set<std::string> out;
  for (const Finding& finding : verdict.failures) out.insert(finding.check);
  return out;
}

// `check` found something whose sentence contains `words`, at a line of the plan.
void expect_found(const Bench& bench, const std::string& check, const std::string& words) {
  const Verdict verdict = bench.verdict();
  for (const Finding& finding : verdict.failures) {
    if (finding.check != check) continue;
    if (finding.error.message.find(words) == std::string::npos) continue;
    EXPECT_TRUE(finding.error.to_string().starts_with("plan.yaml:1")) << finding.error.to_string();
    return;
  }
  ADD_FAILURE() << check << " did not say \"" << words << "\":\n" << bench.text();
}

TEST(VerifyPrograms, WhatLoweringMakesPasses) {
  for (const ModelSpec& model : tiny_models()) {
    Bench bench(model, {2, 2, 1, 2, 1, 1});
    EXPECT_TRUE(bench.verdict().ok()) << bench.text();
    EXPECT_EQ(bench.verdict().ranks, 8);
  }
}

// Whatever step one rank forgets, somebody notices, and the two phases are both looked at.
TEST(VerifyPrograms, EveryDroppedStepIsFound) {
  for (const ModelSpec& model : tiny_models()) {
    const Bench whole(model, {2, 1, 2, 1, model.has_experts() ? 2 : 1, 1});
    for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
      for (const std::size_t rank : {std::size_t{1}, std::size_t{2}}) {
        const std::size_t steps = Bench(whole).steps(rank, phase).size();
        for (std::size_t i = 0; i < steps; ++i) {
          Bench bench = whole;
          std::vector<Step>& mine = bench.steps(rank, phase);
          const std::string name = step_name(mine[i]);
          mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(i));
          const bool nobody_to_send =
              name == "send" && std::get<step::Send>(Bench(whole).steps(rank, phase)[i]).to.empty();
          EXPECT_TRUE(nobody_to_send || !bench.verdict().ok())
              << model.name << " rank " << rank << " " << to_string(phase) << " without step " << i
              << " (" << name << ")";
        }
      }
    }
  }
}

TEST(VerifyPrograms, MissingCapacityIsFound) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 1, 1, 1});
  bench.plan.capacity_factor = 1.0;  // the programs were lowered without
  expect_found(bench, "shapes", "(dispatch): a step of the experts is missing before it");
}

TEST(Matching, SwappedExchangesOfOneGroup) {
  Bench bench(tiny_qwen2_moe(), {1, 1, 1, 2, 2, 1});
  std::swap(bench.steps(1)[bench.find<step::AllReduce>(1)],
            bench.steps(1)[bench.find<step::GatherSlices>(1)]);
  expect_found(bench, "matching",
               "rank 1 (stage 0): prefill, exchange 1 of its tensor group is gather_slices");
}

TEST(Matching, OtherSizesOnOneMember) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 2, 1});
  bench.get<step::Dispatch>(1, 2).width = 8;
  expect_found(bench, "matching", "with other sizes");
}

TEST(Matching, AnExchangeTooFew) {
  Bench bench(tiny_mixtral(), {1, 2, 1, 1, 2, 1});
  auto& steps = bench.steps(1, Phase::Decode);
  steps.erase(steps.begin() +
              static_cast<std::ptrdiff_t>(bench.find<step::Combine>(1, 3, Phase::Decode)));
  expect_found(bench, "matching",
               "decode, it makes 7 exchanges in its stage group where rank 0 "
               "makes 8");
}

TEST(Matching, SentToTheWrongRank) {
  Bench bench(tiny_mixtral(), {2, 2, 1, 1, 1, 1});
  bench.get<step::Send>(0).to = {Rank(3)};
  expect_found(bench, "matching",
               "rank 0 (stage 0): prefill, it sends rank 3 1 message(s) that are "
               "never received");
  expect_found(bench, "matching",
               "rank 2 (stage 1): prefill, it waits for 1 message(s) that rank 0 "
               "never sends");
}

TEST(Matching, RowsFromTheWrongHolder) {
  Bench bench(tiny_mixtral(), {2, 2, 1, 1, 1, 1});
  bench.get<step::Recv>(2).from = {Rank(1)};
  expect_found(bench, "matching", "nobody sends it the rows of dp group 0 slice 0");
  bench.get<step::Recv>(2).from = {Rank(0), Rank(0)};
  expect_found(bench, "matching", "come to it twice");
  bench.get<step::Recv>(2).from = {Rank(3)};
  expect_found(bench, "matching", "rank 3, which is not in the stage before");
}

TEST(Matching, AStrangersGroup) {
  Bench bench(tiny_mixtral(), {1, 2, 1, 2, 1, 1});
  bench.programs[1].prefill.groups[static_cast<std::size_t>(GroupKind::Tensor)] = {Rank(1),
                                                                                   Rank(2)};
  expect_found(bench, "matching", "the tensor group of 2 ranks is not the one of the mesh");
  bench = Bench(tiny_mixtral(), {1, 2, 1, 2, 1, 1});
  bench.programs[1].decode.self[static_cast<std::size_t>(GroupKind::Stage)] = 0;
  expect_found(bench, "matching", "it takes itself for member 0 of its stage group");
}

// Each group alone agrees, yet rank 0 waits in the tensor group while rank 1 waits in the stage's.
TEST(Deadlock, ExchangesOfTwoGroupsCrossed) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 2, 1});
  std::swap(bench.steps(1)[bench.find<step::Combine>(1)],
            bench.steps(1)[bench.find<step::GatherSlices>(1)]);
  EXPECT_FALSE(checks_of(bench.verdict()).contains("matching")) << bench.text();
  expect_found(bench, "deadlock", "nobody can go on: rank 0 at step ");
  expect_found(bench, "deadlock", "(combine), which waits for rank 1 at step ");
}

// Rank 1 wants an answer before it sends what the answer follows from.
TEST(Deadlock, AReceiveBeforeItsCause) {
  Bench bench(tiny_mixtral(), {2, 2, 1, 1, 1, 1});
  bench.steps(3).push_back(step::Send{{Rank(1)}});
  bench.steps(1).insert(bench.steps(1).end() - 1, step::Recv{{Rank(3)}});
  EXPECT_FALSE(checks_of(bench.verdict()).contains("matching")) << bench.text();
  expect_found(bench, "deadlock", "(recv), which waits for rank ");
}

TEST(Conservation, AShiftedSliceIsHeldTwiceAndNever) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 2, 1});
  auto& gemm = bench.get<step::Gemm>(1);
  gemm.w.rows = {gemm.w.rows.begin - 4, gemm.w.rows.end - 4};
  expect_found(bench, "conservation",
               "layers.0.self_attn.q_proj.weight: in tensor group 0 rows "
               "[12, 16) are held 2 times, not 1");
  auto& down = bench.get<step::LeafGemm>(0, 1, Phase::Decode);
  down.w.cols = {down.w.cols.begin, down.w.cols.end - 4};
  expect_found(bench, "conservation", "columns [12, 16) are held 0 times, not 1");
}

TEST(Conservation, AMissingExpert) {
  Bench bench(tiny_mixtral(), {1, 2, 1, 1, 2, 1});
  auto& experts = bench.get<step::ExpertMlp>(1, 2).experts;
  experts.erase(experts.begin());
  expect_found(bench, "conservation", "layers.2.");
  expect_found(bench, "conservation", "experts.4.");
  expect_found(bench, "conservation", "are held 0 times, not 1");
  expect_found(bench, "shapes", "expert 4 lives here by the placement, and is missing");
}

TEST(Conservation, AnExpertInTheWrongPlace) {
  Bench bench(tiny_mixtral(), {1, 2, 1, 1, 2, 1});
  auto& home = bench.get<step::ExpertMlp>(1).experts;
  bench.get<step::ExpertMlp>(0).experts.push_back(home.back());
  expect_found(bench, "conservation", "rank 0 holds it, the placement does not put it there");
  expect_found(bench, "shapes", "expert 7 does not live here by the placement");
}

TEST(Conservation, WhatAnotherStageHolds) {
  Bench bench(tiny_mixtral(), {2, 1, 1, 1, 1, 1});
  bench.get<step::Norm>(0).weight.id.layer = 3;
  expect_found(bench, "conservation", "rank 0 reads it, but it does not belong to this stage");
  expect_found(bench, "conservation", "rows [0, 24) are held 0 times, not 1");
}

TEST(Conservation, KvHeadsOfOtherQueries) {
  Bench bench(tiny_olmoe(), {1, 1, 1, 4, 1, 1});
  auto& key = bench.get<step::Gemm>(2, 1);
  key.w.rows = {0, 4};
  expect_found(bench, "conservation", "rank 2 reads rows [0, 4), its query heads need [8, 12)");
}

TEST(Conservation, DecodeReadsWhatPrefillDoesNotHold) {
  Bench bench(tiny_mixtral(), {1, 1, 2, 2, 1, 1});
  for (const std::size_t rank : {std::size_t{0}, std::size_t{3}}) {
    auto& gemm = bench.get<step::Gemm>(rank, 0, Phase::Decode);
    gemm.w.rows = rank == 0 ? Range{24, 32} : Range{0, 8};
  }
  expect_found(bench, "conservation", "rank 0 (stage 0): decode reads rows [24, 32)");
}

TEST(Shapes, ChangedWidths) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 1, 1});
  bench.get<step::Rope>(0).heads = 3;
  expect_found(bench, "shapes", "(rope): reads q as 12 wide, it was written 16 wide");
  bench = Bench(tiny_mixtral(), {1, 1, 1, 2, 1, 1});
  bench.get<step::AllReduce>(0).width = 12;
  expect_found(bench, "shapes", "(all_reduce): reads partial as 12 wide, it was written 24 wide");
}

TEST(Shapes, TreesThatDoNotClose) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 1, 2});
  bench.get<step::LeafGemm>(1).nodes = {{4, 6}, {6, 8}};
  expect_found(bench, "shapes", "its subtrees are not the cover of its leaves");
  bench = Bench(tiny_mixtral(), {1, 1, 1, 2, 1, 2});
  bench.get<step::AllReduce>(0).member_nodes = {1, 2};
  expect_found(bench, "shapes", "it expects 2 subtrees of member 1, which brings 1");
  bench = Bench(tiny_mixtral(), {1, 1, 1, 2, 1, 2});
  bench.get<step::Combine>(0).nodes.pop_back();
  expect_found(bench, "shapes", "its subtrees do not make the experts' tree");
}

TEST(Shapes, AttentionOfOtherHeads) {
  Bench bench(tiny_olmoe(), {1, 1, 2, 2, 1, 1});
  bench.get<step::Attention>(0).kv_heads = {1, 2};
  expect_found(bench, "shapes", "its KV heads are not those its query heads read");
  bench = Bench(tiny_olmoe(), {1, 1, 2, 2, 1, 1});
  bench.get<step::HeadsToSeq>(3).q_heads = {{0, 1}, {2, 4}};
  expect_found(bench, "shapes", "the heads of its group do not tile");
  bench = Bench(tiny_sliding(), {1, 1, 1, 1, 1, 1});
  bench.get<step::Attention>(0, 1).window = 0;
  expect_found(bench, "shapes", "its window is not the layer's");
}

TEST(Shapes, AVocabularyWithAGap) {
  Bench bench(tiny_mixtral(), {1, 1, 1, 2, 1, 1});
  for (const std::size_t rank : {std::size_t{0}, std::size_t{1}}) {
    bench.get<step::LmHead>(rank).group_vocab.back().end = 52;
  }
  expect_found(bench, "shapes", "the group does not cover the vocabulary");
}

TEST(VerifyPrograms, ProgramsOfAnotherPlan) {
  Bench bench(tiny_mixtral(), {1, 2, 1, 1, 1, 1});
  bench.programs.pop_back();
  const Verdict verdict = bench.verdict();
  ASSERT_EQ(verdict.failures.size(), 1U);
  EXPECT_NE(verdict.failures[0].error.message.find("lower every rank once"), std::string::npos);
}

// One fault in the plan, one sentence, with what would fix it.
void expect_one_sentence(const Plan& plan, const ModelSpec& model, const std::string& check,
                         const std::string& remedy) {
  const Verdict verdict = verify(plan, model);
  ASSERT_EQ(verdict.failures.size(), 1U) << format_verdict(verdict, plan, model.name);
  EXPECT_EQ(verdict.failures[0].check, check);
  EXPECT_NE(verdict.failures[0].error.message.find(remedy), std::string::npos)
      << verdict.failures[0].error.to_string();
}

Plan broken(const Degrees& degrees, const std::function<void(Plan&)>& how) {
  Plan plan = make_plan(degrees, tiny_mixtral());
  how(plan);
  return plan;
}

TEST(BrokenPlans, EachGivesOneSentenceWithTheRemedy) {
  const ModelSpec model = tiny_mixtral();
  const auto as_is = [](Plan&) {};
  expect_one_sentence(broken({1, 1, 1, 3, 1, 1}, as_is), model, "folding",
                      "tp = 3 does not divide 8 attention heads; possible degrees: 1, 2, 4, 8");
  expect_one_sentence(broken({1, 3, 1, 1, 3, 1}, as_is), model, "folding",
                      "ep = 3 does not divide 8 experts; use a divisor");
  expect_one_sentence(broken({1, 2, 1, 2, 2, 4}, as_is), model, "folding",
                      "the first must divide the second");
  expect_one_sentence(broken({2, 1, 1, 1, 1, 1}, [](Plan& p) { ++p.stages[1].layers; }), model,
                      "folding", "stage layer counts must sum to 4");
}

TEST(BrokenPlans, MemoryTooSmall) {
  const ModelSpec model = tiny_mixtral();
  const auto sized = [&](std::int64_t memory) {
    return broken({2, 1, 1, 2, 2, 1}, [&](Plan& p) {
      p.kv_blocks = 4;
      p.device_memory_bytes = memory;
    });
  };
  const Verdict free = verify(sized(0), model);
  ASSERT_TRUE(free.ok());
  EXPECT_TRUE(verify(sized(free.most_total), model).ok());
  expect_one_sentence(sized(free.most_total - 1), model, "fit", "do not fit; lower prefill_chunk");
  const auto starved = [](Plan& p) {
    p.device_memory_bytes = 10'000;
    p.max_batch = p.prefill_chunk = 1;
  };
  expect_one_sentence(broken({1, 1, 1, 1, 1, 1}, starved), model, "fit",
                      "cut the weights over more ranks");
  const auto pooled = [](Plan& p) {
    p.device_memory_bytes = 1'000'000;
    p.max_batch = p.prefill_chunk = 1;
    p.kv_blocks = 10'000;
  };
  expect_one_sentence(broken({1, 1, 1, 1, 1, 1}, pooled), model, "fit", "lower kv_blocks");
}

TEST(BrokenPlans, RequestsThatNeverFitTheCache) {
  const auto requests = [](Plan& p) {
    p.kv_blocks = 2;
    p.requests = {3, 30, 3, 0};
  };
  expect_one_sentence(broken({1, 1, 1, 1, 1, 1}, requests), tiny_mixtral(), "fit",
                      "raise kv_blocks to at least 3");
}

Plan explicit_plan(const std::function<void(std::vector<ExplicitPlacement>&)>& how) {
  return broken({1, 2, 1, 1, 2, 1}, [&](Plan& p) {
    p.stages[0].placement = PlacementStyle::Explicit;
    for (std::int64_t e = 0; e < 8; ++e) {
      p.stages[0].explicit_placement.push_back(
          {-1, e, {{{static_cast<std::int32_t>(e % 2)}, false}}, static_cast<int>(e)});
    }
    how(p.stages[0].explicit_placement);
  });
}

TEST(BrokenPlans, Placements) {
  const ModelSpec model = tiny_mixtral();
  const auto expect = [&](const std::string& remedy,
                          const std::function<void(std::vector<ExplicitPlacement>&)>& how) {
    expect_one_sentence(explicit_plan(how), model, "placement", remedy);
  };
  expect("no live copy; list it", [](auto& table) { table.pop_back(); });
  expect("must not share a rank", [](auto& table) { table[3].copies.push_back({{1}, false}); });
  expect("not in the stage's 0..1", [](auto& table) { table[3].copies[0].ranks = {2}; });
  expect("names expert 8, the model has experts 0..7",
         [](auto& table) { table.push_back({-1, 8, {{{0}, false}}, 3}); });
  expect("names layer 4, the stage holds layers 0..3",
         [](auto& table) { table.push_back({4, 1, {{{0}, false}}, 3}); });
  // Two copies and a backup are no fault: parameters are then held more often.
  const Plan twice = explicit_plan([](auto& table) { table[3].copies.push_back({{0}, true}); });
  const Verdict verdict = verify(twice, model);
  EXPECT_TRUE(verdict.ok()) << format_verdict(verdict, twice, model.name);
  const Verdict once = verify(explicit_plan([](auto&) {}), model);
  EXPECT_EQ(verdict.held_parameters - once.held_parameters, 4 * 3 * 24 * 16);
}

TEST(FormatVerdict, SaysWhatWasFound) {
  const ModelSpec model = tiny_qwen2_moe();
  Plan plan = make_plan({2, 1, 2, 1, 2, 1}, model);
  plan.replicas = 2;
  plan.requests = {4, 20, 4, 0};
  const std::string good = format_verdict(verify(plan, model), plan, model.name);
  for (const char* part :
       {"pp2 dp1 sp2 tp1 ep2 etp1 x2 can run qwen2_moe", "8 ranks in 2 replica(s)", "weights", "KV",
        "all_reduce", "dispatch", "held 2."}) {
    EXPECT_NE(good.find(part), std::string::npos) << part << " in\n" << good;
  }
  plan.stages[0].tp = 7;
  const std::string bad = format_verdict(verify(plan, model), plan, model.name);
  EXPECT_NE(bad.find("cannot run"), std::string::npos);
  EXPECT_NE(bad.find("[folding] "), std::string::npos) << bad;
}

}  // namespace
}  // namespace pentafold::testing
