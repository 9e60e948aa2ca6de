#include "execute/pinning.h"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace pentafold {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

Error refused(const std::string& what) {
  return make_error(ErrorCode::Unsupported,
                    fmt::format("{} ({}); run without --pin", what, std::strerror(errno)));
}

}  // namespace

std::vector<std::vector<std::int32_t>> deal_units(
    const std::vector<std::vector<std::int32_t>>& nodes, std::int64_t ranks, std::int64_t threads) {
  std::vector<std::int32_t> all;
  for (const auto& node : nodes) all.insert(all.end(), node.begin(), node.end());
  CHECK(!all.empty());
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(ranks));
  auto left = nodes;
  std::size_t next = 0;  // where units are shared or a rank spans nodes
  const auto take = [&](std::vector<std::int32_t>& from, std::vector<std::int32_t>& to) {
    to.push_back(from.front());
    from.erase(from.begin());
  };
  const bool shared = ranks > std::ssize(all) / threads;
  for (auto& mine : out) {
    const auto fits =
        std::ranges::find_if(left, [&](const auto& node) { return std::ssize(node) >= threads; });
    for (std::int64_t t = 0; t < threads; ++t) {
      if (shared) {
        mine.push_back(all[next++ % all.size()]);
      } else if (fits != left.end()) {
        take(*fits, mine);
      } else {
        take(*std::ranges::find_if(left, [](const auto& node) { return !node.empty(); }), mine);
      }
    }
  }
  return out;
}

struct Pinning::Machine {
  hwloc_topology_t topology = nullptr;

  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() {
    if (topology != nullptr) hwloc_topology_destroy(topology);
  }

  // Units that the calling thread may use, by NUMA node: one of every core, then the second ones.
  std::vector<std::vector<std::int32_t>> units() const {
    const Bitmap mine(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
    const Bitmap bound(hwloc_bitmap_alloc());
    if (hwloc_get_cpubind(topology, bound.get(), HWLOC_CPUBIND_THREAD) == 0) {
      hwloc_bitmap_and(mine.get(), mine.get(), bound.get());
    }
    std::vector<std::vector<std::int32_t>> out;
    const int nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    for (int n = 0; n < std::max(nodes, 1); ++n) {
      hwloc_obj* const node =
          nodes > 0 ? hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(n))
                    : hwloc_get_root_obj(topology);
      out.push_back(units_of(node->cpuset, mine.get()));
      hwloc_bitmap_andnot(mine.get(), mine.get(), node->cpuset);  // a core may be near two memories
    }
    std::erase_if(out, [](const auto& node) { return node.empty(); });
    return out;
  }

 private:
  std::vector<std::int32_t> units_of(hwloc_const_bitmap_t node, hwloc_const_bitmap_t mine) const {
    std::vector<std::vector<std::int32_t>> of_core;
    hwloc_obj_t core = nullptr;
    const auto next_core = [&] {
      return core =
                 hwloc_get_next_obj_covering_cpuset_by_type(topology, node, HWLOC_OBJ_CORE, core);
    };
    const Bitmap here(hwloc_bitmap_alloc());
    while (next_core() != nullptr) {
      hwloc_bitmap_and(here.get(), core->cpuset, mine);
      auto& units = of_core.emplace_back();
      for (int unit = hwloc_bitmap_first(here.get()); unit >= 0;
           unit = hwloc_bitmap_next(here.get(), unit)) {
        units.push_back(unit);
      }
    }
    std::vector<std::int32_t> out;
    for (std::size_t turn = 0, before = 1; before != out.size() || turn == 0; ++turn) {
      before = out.size();
      for (const auto& units : of_core) {
        if (turn < units.size()) out.push_back(units[turn]);
      }
    }
    return out;
  }
};

Pinning::Pinning(std::unique_ptr<Machine> machine, std::vector<std::vector<std::int32_t>> units)
    : machine_(std::move(machine)), units_(std::move(units)) {}
Pinning::Pinning(Pinning&&) noexcept = default;
Pinning::~Pinning() = default;

Result<Pinning> Pinning::make(std::int64_t ranks, std::int64_t threads) {
  auto machine = std::make_unique<Machine>();
  if (hwloc_topology_init(&machine->topology) != 0 || hwloc_topology_load(machine->topology) != 0) {
    return refused("hwloc cannot look at this machine");
  }
  const auto nodes = machine->units();
  if (nodes.empty()) return refused("hwloc finds no core that this process may use");
  return Pinning(std::move(machine), deal_units(nodes, ranks, threads));
}

Status Pinning::bind(std::int64_t rank, std::int64_t thread) const {
  const std::int32_t unit =
      units_.at(static_cast<std::size_t>(rank)).at(static_cast<std::size_t>(thread));
  const Bitmap set(hwloc_bitmap_alloc());
  hwloc_bitmap_only(set.get(), static_cast<unsigned>(unit));
  if (hwloc_set_cpubind(machine_->topology, set.get(), HWLOC_CPUBIND_THREAD) != 0) {
    return refused(fmt::format("the system refuses to bind thread {} of rank {} to core {}", thread,
                               rank, unit));
  }
  return ok_status();
}

}  // namespace pentafold
