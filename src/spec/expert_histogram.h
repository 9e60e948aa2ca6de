// ExpertHistogram: how often each expert of each layer was chosen, as somebody counted it.
//
// Two forms are read. CSV with the columns layer (or moe_layer), expert and count, in any order;
// rows of the same layer and expert add up (tasks, domains), other columns are passed over, but
// counts of two models or of two kinds of choice (columns model and kind) are refused. JSON as
// `pentafold run --stats --json` writes it: routing[].layer and routing[].chosen, the choices of
// the gate before any capacity refuses one. Layers count in the model from 0, dense ones included.
// Format: docs/workload-format.md. Cost: one pass; at most 2^20 counts. Held by
// spec/expert_histogram_test.cc and tests/fuzz/expert_histogram_fuzz.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/model_shape.h"

namespace pentafold {

struct ExpertHistogram {
  std::string file;                  // where it was read
  std::int64_t experts = 0;          // one more than the highest that is mentioned
  std::vector<std::int64_t> layers;  // counted ones, ascending
  std::vector<std::int64_t> counts;  // (layers x experts)

  std::span<const std::int64_t> row(std::size_t index) const {
    const auto n = static_cast<std::size_t>(experts);
    return std::span(counts).subspan(index * n, n);
  }
  friend bool operator==(const ExpertHistogram&, const ExpertHistogram&) = default;
};

// Errors name the file, and the line (CSV, syntax of JSON) or the key (JSON).
Result<ExpertHistogram> parse_expert_histogram(const std::string& text, const std::string& file);
Result<ExpertHistogram> load_expert_histogram(const std::string& path);

// Why `histogram` cannot be the model's: it has no experts, or fewer, or the layer is dense.
Status check_fits(const ExpertHistogram& histogram, const ModelShape& model);

}  // namespace pentafold
