// Pinning: which core every thread of every rank stays on.
//
// A rank's threads go to cores of one NUMA node where one has enough of them left, so what they
// write first (their weights, their cache) lies in memory near them. With more threads than cores,
// threads share cores evenly. Hardware threads of a core are used only after every core has one.
// Source: hwloc (hwloc.org), which knows what the process may use (affinity, cgroups). Cost: a look
// at the machine, some milliseconds. Held by execute/pinning_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"

namespace pentafold {

// By rank, then thread: one of the processing units in `nodes`, which lists those of each NUMA node
// in the order to use them. At least one unit; ranks, threads >= 1.
std::vector<std::vector<std::int32_t>> deal_units(
    const std::vector<std::vector<std::int32_t>>& nodes, std::int64_t ranks, std::int64_t threads);

class Pinning {
 public:
  // For so many ranks of so many threads on this machine. Fails where it cannot be looked at.
  static Result<Pinning> make(std::int64_t ranks, std::int64_t threads);
  Pinning(Pinning&&) noexcept;
  ~Pinning();

  // Binds the calling thread, for good. Fails where the system refuses.
  Status bind(std::int64_t rank, std::int64_t thread) const;

 private:
  struct Machine;
  Pinning(std::unique_ptr<Machine> machine, std::vector<std::vector<std::int32_t>> units);

  std::unique_ptr<Machine> machine_;
  std::vector<std::vector<std::int32_t>> units_;  // as the system numbers them, by rank and thread
};

}  // namespace pentafold
