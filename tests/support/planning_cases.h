// Random questions for the cost model: models and devices of the catalog, legal workers, workloads.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "plan/worker.h"
#include "spec/cluster.h"
#include "spec/workload.h"

namespace pentafold::testing {

// Numbers that follow from a seed alone.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(mix64(seed)) {}
  // Uniform in [0, n).
  std::int64_t below(std::int64_t n) {
    state_ = mix64(state_);
    return static_cast<std::int64_t>(state_ % static_cast<std::uint64_t>(n));
  }
  double uniform() { return static_cast<double>(below(1LL << 53)) * 0x1p-53; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<std::int64_t>(values.size()))];
  }

 private:
  std::uint64_t state_;
};

struct PlanningCase {
  ModelShape model;
  ClusterSpec cluster;
  Workload workload;
  Worker worker;  // folds onto the model
};
PlanningCase planning_case(std::uint64_t seed);
std::string to_string(const PlanningCase& planning_case);

}  // namespace pentafold::testing
