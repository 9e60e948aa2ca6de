// Random plans come back from their file as they were; what is written reads well.
#include "plan/plan_write.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "plan/plan_file.h"

namespace pentafold {
namespace {

bool same_experts(const StagePlan& a, const StagePlan& b) {
  return std::ranges::equal(a.explicit_placement, b.explicit_placement,
                            [](const ExplicitPlacement& x, const ExplicitPlacement& y) {
                              return x.layer == y.layer && x.expert == y.expert &&
                                     x.copies == y.copies;
                            });
}

// All but the lines where things were written.
bool same_stage(const StagePlan& a, const StagePlan& b) {
  return a.layers == b.layers && a.dp == b.dp && a.sp == b.sp && a.tp == b.tp && a.ep == b.ep &&
         a.etp == b.etp && a.placement == b.placement && same_experts(a, b);
}

bool same_requests(const SyntheticRequests& a, const SyntheticRequests& b) {
  return a.requests == b.requests && a.prompt_tokens == b.prompt_tokens &&
         a.max_tokens == b.max_tokens && a.seed == b.seed;
}

bool same_plan(const Plan& a, const Plan& b) {
  return a.file == b.file && a.model == b.model && a.replicas == b.replicas &&
         std::ranges::equal(a.stages, b.stages, same_stage) && a.microbatches == b.microbatches &&
         a.prefill_chunk == b.prefill_chunk && a.max_batch == b.max_batch &&
         a.kv_blocks == b.kv_blocks && a.weights == b.weights && a.kv == b.kv &&
         a.capacity_factor == b.capacity_factor && a.overflow == b.overflow &&
         a.device_memory_bytes == b.device_memory_bytes && same_requests(a.requests, b.requests) &&
         a.precision == b.precision && a.device == b.device && a.prefill_pool == b.prefill_pool;
}

class RandomPlan {
 public:
  explicit RandomPlan(std::uint32_t seed) : random_(seed) {}

  Plan make() {
    Plan plan;
    plan.file = pick<std::string>({"", "p.yaml", "plans/p.yaml", "../out/p.yaml", "/tmp/p.yaml"});
    plan.model = pick<std::string>({"", "qwen3-30b-a3b", "deepseek-v3.2", "/models/big one",
                                    "/odd/\"quoted\\: #yes", "/models/a.yaml"});
    if (plan.file == "plans/p.yaml" && chance()) plan.model = "models/tiny-moe";
    plan.replicas = upto(3);
    plan.microbatches = upto(8);
    plan.prefill_chunk = upto(4096);
    plan.max_batch = upto(512);
    plan.kv_blocks = chance() ? upto(1'000'000) : 0;
    if (chance()) plan.capacity_factor = static_cast<double>(upto(1000)) / 96.0;
    plan.overflow = chance() ? OverflowPolicy::NextBest : OverflowPolicy::Drop;
    if (chance())
      plan.device_memory_bytes = upto(200) * pick<std::int64_t>({1, 1 << 30, 1000000000});
    if (chance()) plan.requests = {upto(100), upto(1000), upto(1000), 17};
    if (chance()) plan.device = "h200-sxm";
    if (chance()) plan.prefill_pool = "/pools/prefill.yaml";
    make_precision(plan);
    make_stages(plan);
    return plan;
  }

 private:
  bool chance() { return random_() % 2 == 0; }
  std::int64_t upto(std::int64_t n) { return 1 + static_cast<std::int64_t>(random_()) % n; }
  template <class T>
  T pick(std::vector<T> of) {
    return of[random_() % of.size()];
  }

  void make_precision(Plan& plan) {
    const auto format = [&] { return kNumberFormats[random_() % kNumberFormats.size()]; };
    if (chance()) {
      plan.precision = {format(), format(), format(), format()};
      return;
    }
    if (chance()) {
      plan.weights =
          weights_in(pick<NumberFormat>({NumberFormat::BF16, NumberFormat::F16, NumberFormat::F32,
                                         NumberFormat::INT8, NumberFormat::INT4}));
    }
    if (chance()) plan.kv = pick<NumberFormat>({NumberFormat::BF16, NumberFormat::INT8});
  }

  StagePlan stage() {
    StagePlan out;
    out.layers = upto(60);
    out.dp = upto(3);
    out.sp = upto(2);
    out.tp = upto(3);
    out.ep = upto(8);
    out.etp = upto(2);
    out.placement = pick<PlacementStyle>(
        {PlacementStyle::Blocked, PlacementStyle::Spread, PlacementStyle::Explicit});
    if (out.placement != PlacementStyle::Explicit) return out;
    for (std::int64_t e = upto(4) - 1; e >= 0; --e) {
      ExplicitPlacement entry;
      entry.layer = chance() ? upto(60) : -1;
      entry.expert = e;
      const std::int64_t copies = upto(3);
      for (std::int64_t c = 0; c < copies; ++c) {
        ExpertCopy copy{{static_cast<std::int32_t>(upto(9))}, c > 0 && c + 1 == copies};
        if (out.etp == 2) copy.ranks.push_back(static_cast<std::int32_t>(upto(9)));
        entry.copies.push_back(copy);
      }
      out.explicit_placement.push_back(entry);
    }
    return out;
  }

  void make_stages(Plan& plan) {
    const auto kinds = static_cast<std::size_t>(upto(3));
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      plan.stages.insert(plan.stages.end(), static_cast<std::size_t>(upto(4)), stage());
    }
    if (!chance()) return;
    StagePlan open = stage();  // pp: n
    if (open.placement == PlacementStyle::Explicit) return;
    open.layers = 0;
    plan.stages.assign(static_cast<std::size_t>(upto(4)), open);
  }

  std::mt19937 random_;
};

TEST(PlanWrite, RandomPlansComeBack) {
  RandomPlan random(7);
  for (int i = 0; i < 2000; ++i) {
    const Plan plan = random.make();
    const std::string text = format_plan(plan, std::vector<std::string>{"made: by\nhand", "{"});
    const auto again = parse_plan(text, plan.file);
    ASSERT_TRUE(again.ok()) << again.error().to_string() << "\n" << text;
    ASSERT_TRUE(same_plan(*again, plan)) << text << format_plan(*again);
  }
}

TEST(PlanWrite, AlikeStagesAndSharedDegreesStandOnce) {
  Plan plan;
  plan.model = "qwen3-30b-a3b";
  plan.device = "h200-sxm";
  plan.device_memory_bytes = 141'000'000'000;
  plan.precision =
      Precision{NumberFormat::FP8, NumberFormat::FP8, NumberFormat::BF16, NumberFormat::BF16};
  StagePlan stage;
  stage.layers = 12;
  stage.tp = stage.ep = 2;
  plan.stages.assign(4, stage);
  EXPECT_EQ(format_plan(plan, std::vector<std::string>{"TTFT 0.4 s"}),
            "# TTFT 0.4 s\nmodel: qwen3-30b-a3b\ndevice: h200-sxm\ndevice_memory: 141GB\n"
            "precision: fp8\ndp: 1\nsp: 1\ntp: 2\nep: 2\netp: 1\nstages:\n"
            "  - {layers: 12, repeat: 4}\nmicrobatches: 1\nprefill_chunk: 512\nmax_batch: 64\n");
}

}  // namespace
}  // namespace pentafold
