#include "predict/pipeline_spans.h"

#include <algorithm>

namespace pentafold {

std::vector<PipelineSpan> pipeline_spans(std::span<const double> stage_s, std::int64_t microbatches,
                                         std::int64_t steps) {
  std::vector<PipelineSpan> spans;
  std::vector<double> stage_free(stage_s.size(), 0);
  std::vector<double> microbatch_free(
      static_cast<std::size_t>(std::max<std::int64_t>(microbatches, 0)), 0);
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t m = 0; m < microbatches; ++m) {
      double& ready = microbatch_free[static_cast<std::size_t>(m)];
      for (std::size_t s = 0; s < stage_s.size(); ++s) {
        const double start = std::max(ready, stage_free[s]);
        ready = start + stage_s[s];
        stage_free[s] = ready;
        spans.push_back({step, m, static_cast<std::int64_t>(s), start, ready});
      }
    }
  }
  return spans;
}

}  // namespace pentafold
