// ExpertProfile: which part of a layer's choices falls on each expert.
//
// Even; Zipf with an exponent; or counted, with a row for every layer that somebody measured. A row
// of tokens picks an expert once, so no share exceeds 1 / top_k: what that cuts off goes to the
// rest.
// Cost: O(layers x experts log experts). Held by predict/expert_profile_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "spec/model_shape.h"
#include "spec/workload.h"

namespace pentafold {

struct ExpertProfile {
  // Shares by layer and expert, each layer's sum 1; empty: even in all.
  std::vector<std::vector<double>> layers;
  std::vector<std::int64_t>
      numbers;  // of those layers in the model; empty where they stand for any
  // Share e is the model's expert e; else the order says nothing, and hot experts may be anywhere.
  bool named = false;

  bool even() const { return layers.empty(); }
};

// experts >= 1, 1 <= top_k <= experts, skew >= 0 (0: even).
ExpertProfile power_law_profile(std::int64_t experts, std::int64_t top_k, double skew);
// Of the layers of `kind`; of all counted layers as wide as it where none of its own was counted,
// even where there is none of those. The histogram fits the model (check_fits).
ExpertProfile counted_profile(const ExpertHistogram& histogram, const ModelShape& model,
                              std::size_t kind);
// What the workload says of the layers of `kind`; even where it has no experts.
ExpertProfile expert_profile(const ModelShape& model, std::size_t kind, const Workload& workload);

}  // namespace pentafold
