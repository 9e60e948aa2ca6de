// lattice: every combination of degrees, batch and chunk that the planner considers.
//
// Stage sizes are the divisors and multiples of the scale-up domain; within one every legal
// dp x sp x tp and ep x etp x edp, each with every number of stages (even, and balanced by weight),
// batch per dp group, microbatches, chunk and, per precision, one or two levels of redundant
// experts. Nothing is left out by default; grids are fixed, so that a better device never loses a
// candidate. for_each_worker walks all of it plainly: what search must agree with.
// Cost: of walking, the product of the axes. Held by planner/search_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "planner/problem.h"

namespace pentafold {

struct AttentionFold {
  std::int64_t dp = 1, sp = 1, tp = 1;
};
struct ExpertFold {
  std::int64_t ep = 1, etp = 1, redundant = 0;
};
struct BatchPoint {
  std::int64_t batch = 1, microbatches = 1;
};

std::vector<std::int64_t> stage_sizes(const Problem& problem);
std::vector<AttentionFold> attention_folds(const ModelShape& model, std::int64_t ranks);
std::vector<ExpertFold> expert_folds(const ModelShape& model, std::int64_t ranks);
// Ways to cut the layers into pp stages, for every pp that `stage_ranks` allows.
std::vector<std::vector<std::int64_t>> stage_cuts(const Problem& problem, std::int64_t stage_ranks);
// Batches per dp group. With workload.batch given: the one that spreads it over the fleet.
std::vector<BatchPoint> batch_points(const Problem& problem, std::int64_t pp,
                                     std::int64_t stage_ranks, std::int64_t dp);
std::vector<std::int64_t> chunk_sizes(const Workload& workload);
// A chunk that packs several prompts needs as many sequences to pack.
bool chunk_fits(const Workload& workload, std::int64_t chunk, std::int64_t batch);

// All workers of one precision for a role, in a fixed order. A decode worker has no chunk axis and
// no sequence to cut (sp would be tp), a prefill worker no batch axis.
void for_each_worker(const Problem& problem, const Precision& precision, Role role,
                     const std::function<void(const Worker&)>& visit);
// How many that are, without visiting them.
std::int64_t lattice_size(const Problem& problem, Role role);

}  // namespace pentafold
