// collective_cost: seconds of one collective over nested link domains.
//
// A group of `ranks` spans `span` consecutive devices (more when it is strided). On each level it
// reaches, bytes cross that level's link once per device, and latencies add up along a tree:
//   all_reduce: reduce-scatter inward, all-reduce of the shares outward, all-gather back,
//               2 (n - 1) / n x bytes / bandwidth on a level of n parts;
//   all_to_all: a row travels to another domain once, however many of its copies go there, and is
//               copied on inside (DeepEP's forwarding): levels run side by side, the slowest
//               counts.
// Source: Thakur et al. 2005 (trees, recursive halving); DeepEP (two-level dispatch).
// Cost: O(levels). Held by predict/collective_cost_test.cc.
#pragma once

#include <cstdint>

#include "predict/cost_constants.h"
#include "spec/cluster.h"

namespace pentafold {

struct Group {
  std::int64_t ranks = 1;
  std::int64_t span = 1;  // consecutive devices from the first to the last member
};

// `bytes`: of the whole message on each rank.
double all_reduce_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          double bytes);
// `bytes`: of the gathered result.
double all_gather_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          double bytes);
double send_seconds(const ClusterSpec& cluster, const CostConstants& constants, std::int64_t span,
                    double bytes);

// Rows that leave each rank for the homes of their experts.
struct Exchange {
  double rows = 0;       // of each rank
  double row_bytes = 0;  //
  double homes = 1;      // expert groups: a row picks `picks` of them
  double picks = 1;      // top_k
  double shards = 1;     // ranks of each home
};
double all_to_all_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          const Exchange& exchange);

}  // namespace pentafold
