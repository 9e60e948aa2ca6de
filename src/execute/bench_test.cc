#include "execute/bench.h"

#include <gtest/gtest.h>

#include "execute/speed_limits.h"
#include "plan/plan_file.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

const std::vector<BenchJob> kJobs = {{StepKind::Prefill, 24, 0, 0},
                                     {StepKind::Prefill, 1, 0, 0},
                                     {StepKind::Decode, 1, 3, 2},
                                     {StepKind::Decode, 5, 40, 3}};

struct Work {
  double flop = 0;
  double bytes = 0;
};

Work work_of(const BenchRow& row) {
  Work sum;
  for (const auto& [name, time] : row.operators) {
    sum.flop += time.flop;
    sum.bytes += time.bytes;
  }
  return sum;
}

std::vector<BenchRow> run_all(const std::string& degrees, const ModelSpec& model) {
  Plan plan = parse_plan_shorthand(degrees).value();
  EXPECT_TRUE(resolve_layers(plan, model.num_layers()).ok());
  EngineOptions options;
  options.threads_per_rank = 1;
  auto contender =
      BenchContender::start(plan, model, WeightSource::synthetic(model), options, kJobs);
  EXPECT_TRUE(contender.ok());
  for (std::size_t job = 0; job < kJobs.size(); ++job) {
    EXPECT_TRUE(contender->run(job, false).ok());
    EXPECT_TRUE(contender->run(job, true).ok());
  }
  return contender->rows();
}

// Two ways to count: the model's formula, and what the ranks' steps saw when they ran.
TEST(Bench, OneRankComputesWhatTheModelAsksFor) {
  for (const ModelSpec& model : {testing::tiny_mixtral(), testing::tiny_qwen2_moe()}) {
    for (const BenchRow& row : run_all("tp=1", model)) {
      const double steps =
          row.job.kind == StepKind::Decode ? static_cast<double>(row.job.steps) : 1;
      EXPECT_DOUBLE_EQ(work_of(row).flop, row.flop * steps) << model.name << " " << row.job.size;
      EXPECT_NEAR(work_of(row).bytes, row.bytes * steps, 1e-6 * row.bytes);
      EXPECT_EQ(row.tokens, static_cast<double>(row.job.size));
      EXPECT_GT(row.seconds, 0);
    }
  }
}

// However ranks share the work, memory has to deliver the same; so no plan looks faster than it is.
TEST(Bench, PlansReadTheSameBytes) {
  const ModelSpec model = testing::tiny_mixtral();
  const auto one = run_all("tp=1", model);
  for (const char* degrees : {"tp=2,ep=2", "dp=2,ep=2", "tp=2,ep=1,etp=2", "pp=2"}) {
    const auto rows = run_all(degrees, model);
    for (std::size_t job = 0; job < kJobs.size(); ++job) {
      if (kJobs[job].kind == StepKind::Prefill) continue;  // dp cuts the prompt
      EXPECT_NEAR(rows[job].bytes, one[job].bytes, 1e-6 * one[job].bytes) << degrees << " " << job;
      EXPECT_DOUBLE_EQ(rows[job].flop, one[job].flop);
    }
  }
}

TEST(Bench, RequestsHoldTheJobsTokens) {
  const Plan plan = parse_plan_shorthand("dp=3,ep=3").value();
  std::size_t tokens = 0;
  const auto prefill = job_requests({StepKind::Prefill, 100, 0, 0}, plan, 17);
  EXPECT_EQ(prefill.size(), 3U);
  for (const Request& request : prefill) {
    tokens += request.prompt.size();
    EXPECT_EQ(request.max_tokens, 1);
    for (const std::int32_t token : request.prompt) EXPECT_LT(token, 17);
  }
  EXPECT_EQ(tokens, 100U);
  EXPECT_EQ(job_requests({StepKind::Prefill, 2, 0, 0}, plan, 17).size(), 2U);
  const auto decode = job_requests({StepKind::Decode, 4, 10, 6}, plan, 17);
  ASSERT_EQ(decode.size(), 4U);
  for (const Request& request : decode) {
    EXPECT_EQ(request.prompt.size(), 10U);
    EXPECT_EQ(request.max_tokens, 7);
  }
}

TEST(SpeedLimits, AreAboveNothing) {
  const SlabVector<std::byte> buffer = make_probe_buffer(true);
  SpeedProbe probe(2, buffer);
  probe.sample();
  probe.sample();
  EXPECT_EQ(probe.limits().threads, 2);
  EXPECT_GT(probe.limits().flops, 0);
  EXPECT_GT(probe.limits().bytes_per_s, 0);
}

}  // namespace
}  // namespace pentafold
