#include "predict/pipeline_spans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "predict/worker_cost.h"

namespace pentafold {
namespace {

struct Case {
  std::vector<double> stage_s;
  std::int64_t microbatches = 1;
  PipelineTime time;
};

Case random_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  Case c;
  c.microbatches = 1 + random() % 9;
  for (std::uint32_t stages = 1 + random() % 6; stages > 0; --stages) {
    c.stage_s.push_back(static_cast<double>(random() % 64) / 64);
    c.time.add(c.stage_s.back(), 1);
  }
  return c;
}

double end_of(const std::vector<PipelineSpan>& spans) {
  double end = 0;
  for (const PipelineSpan& span : spans) end = std::max(end, span.end_s);
  return end;
}

TEST(PipelineSpans, OnePassTakesWhatTheCostModelSays) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const Case c = random_case(seed);
    PipelineTime of_pass;  // stage totals over all microbatches
    const auto m = static_cast<double>(c.microbatches);
    for (const double s : c.stage_s) of_pass.add(s * m, 1);
    EXPECT_NEAR(end_of(pipeline_spans(c.stage_s, c.microbatches, 1)),
                prefill_pass_seconds(of_pass, c.microbatches, 0), 1e-9);
  }
}

TEST(PipelineSpans, DecodeStepsComeRoundAtTheRateOfTheCostModel) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const Case c = random_case(seed);
    const double early = end_of(pipeline_spans(c.stage_s, c.microbatches, 20));
    const double late = end_of(pipeline_spans(c.stage_s, c.microbatches, 30));
    EXPECT_NEAR(late - early, 10 * decode_step_seconds(c.time, c.microbatches, 0), 1e-9);
  }
}

TEST(PipelineSpans, AStageDoesOneThingAtATimeAndInOrder) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    const Case c = random_case(seed);
    std::map<std::int64_t, double> stage_free;
    std::map<std::pair<std::int64_t, std::int64_t>, double> handed;  // (step, microbatch)
    for (const PipelineSpan& span : pipeline_spans(c.stage_s, c.microbatches, 3)) {
      EXPECT_GE(span.start_s, stage_free[span.stage]);
      EXPECT_GE(span.start_s, (handed[{span.step, span.microbatch}]));
      stage_free[span.stage] = handed[{span.step, span.microbatch}] = span.end_s;
    }
  }
}

// The idle part of the stages goes to nothing as microbatches grow.
TEST(PipelineSpans, TheBubbleVanishesWithMicrobatches) {
  const std::vector<double> stages = {1, 1, 1, 1};
  double before = 1;
  for (const std::int64_t m : {1, 2, 4, 16, 64, 256}) {
    const double idle = 1 - static_cast<double>(m) / end_of(pipeline_spans(stages, m, 1));
    EXPECT_LT(idle, before);
    EXPECT_NEAR(idle, 3.0 / static_cast<double>(m + 3), 1e-9);
    before = idle;
  }
}

}  // namespace
}  // namespace pentafold
