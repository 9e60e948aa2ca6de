// Routing statistics: how evenly the experts of each layer were used.
//
// Counts are integers and scores are summed in fixed point, so the totals are the same whatever the
// plan and the order in which ranks report. Source: load-balance loss of Switch Transformers (arXiv
// 2101.03961), E * sum_e f_e P_e: 1.0 when perfectly even.
// Cost: O(layers x experts). Held by report/report_test.cc.
#pragma once

#include <cstdint>
#include <vector>

namespace pentafold {

struct LayerRouting {
  std::int64_t tokens = 0;
  std::int64_t wanted = 0;             // tokens * top_k
  std::vector<std::int64_t> chosen;    // the gate's choices, by expert, before any capacity
  std::vector<std::int64_t> assigned;  // choices an expert took
  std::vector<std::int64_t> refused;   // first choices that its capacity refused
  std::vector<std::int64_t> score;     // sum of router probabilities, in units of 2^-32

  void add(const LayerRouting& other);
};

struct RoutingSummary {
  double max_over_mean = 0;  // busiest expert against the mean
  double cv = 0;             // standard deviation / mean
  double overflow_rate = 0;  // refused / wanted
  double balance_loss = 0;
};

struct RoutingStats {
  std::vector<LayerRouting> layers;  // of the model; dense layers empty

  void resize(std::int64_t layer_count, std::int64_t experts);
  void add(const RoutingStats& other);
  RoutingSummary layer(std::size_t index) const;
  RoutingSummary total() const;  // mean over layers with tokens; max of max_over_mean
};

constexpr double kScoreUnit = 0x1.0p-32;

}  // namespace pentafold
