// pipeline_spans: when each stage of a pipeline works on which microbatch.
//
// A stage takes the microbatches in turn, each when the stage before has handed it over; a decode
// step's microbatch comes round again once the last stage has made its token. So m equal
// microbatches over stage times t_s take sum t_s + (m - 1) max t_s once, and
// max(sum t_s, m x max t_s) a step when they go round, which is what predict/worker_cost.h says of
// passes and decode steps; here it is drawn out, for traces to look at.
// Source: GPipe (arXiv 1811.06965). Cost: O(steps x microbatches x stages).
// Held by predict/pipeline_spans_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pentafold {

struct PipelineSpan {
  std::int64_t step = 0;
  std::int64_t microbatch = 0;
  std::int64_t stage = 0;
  double start_s = 0;
  double end_s = 0;
};

// `stage_s`: seconds of one microbatch on each stage, not negative. In order of step, microbatch,
// stage; the first starts at 0.
std::vector<PipelineSpan> pipeline_spans(std::span<const double> stage_s, std::int64_t microbatches,
                                         std::int64_t steps);

}  // namespace pentafold
