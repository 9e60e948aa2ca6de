#include "predict/expert_placement.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>
#include <vector>

#include "base/random.h"

namespace pentafold {
namespace {

constexpr std::uint64_t kShuffles = 8;

double largest_times(const std::vector<double>& groups) {
  return *std::ranges::max_element(groups) * static_cast<double>(groups.size());
}

std::vector<double> shuffled(std::span<const double> share, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, double>> order;
  order.reserve(share.size());
  for (std::size_t e = 0; e < share.size(); ++e) {
    order.emplace_back(mix64(mix64(seed) + e), share[e]);
  }
  std::ranges::sort(order);
  std::vector<double> out;
  out.reserve(share.size());
  for (const auto& [key, part] : order) out.push_back(part);
  return out;
}

template <class Peak>
double mean_over_shuffles(std::span<const double> share, const Peak& peak) {
  double sum = 0;
  for (std::uint64_t s = 0; s < kShuffles; ++s) sum += peak(shuffled(share, s));
  return sum / static_cast<double>(kShuffles);
}

// A copy of `expert` that gets `part` of all choices.
struct Copy {
  double part = 0;
  std::size_t expert = 0;
};

// Hottest first, copies of one expert side by side.
std::vector<Copy> copies_of(std::span<const double> share, std::int64_t ep,
                            std::int64_t redundant) {
  std::vector<std::int64_t> number(share.size(), 1);
  const auto part = [&](std::size_t e) { return share[e] / static_cast<double>(number[e]); };
  std::priority_queue<std::pair<double, std::size_t>> hottest;
  for (std::size_t e = 0; e < share.size() && ep > 1; ++e) hottest.emplace(share[e], e);
  for (std::int64_t r = 0; r < redundant && !hottest.empty(); ++r) {
    const std::size_t e = hottest.top().second;
    hottest.pop();
    // A second copy in the same group would serve nobody.
    if (++number[e] < ep) hottest.emplace(part(e), e);
  }
  std::vector<Copy> copies;
  for (std::size_t e = 0; e < share.size(); ++e) {
    copies.insert(copies.end(), static_cast<std::size_t>(number[e]), Copy{part(e), e});
  }
  std::ranges::stable_sort(copies, [](const Copy& a, const Copy& b) { return a.part > b.part; });
  return copies;
}

using Groups = std::vector<std::vector<Copy>>;

bool holds(const std::vector<Copy>& group, std::size_t expert) {
  return std::ranges::find(group, expert, &Copy::expert) != group.end();
}

// Only `into`, which has the expert already, has room: a group without it takes the copy and hands
// over one of an expert that `into` lacks. There is one: `into` holds fewer.
void exchange(const Copy& copy, std::size_t into, Groups& groups) {
  for (std::vector<Copy>& other : groups) {
    if (holds(other, copy.expert)) continue;
    const auto free = std::ranges::find_if(
        other, [&](const Copy& held) { return !holds(groups[into], held.expert); });
    if (free == other.end()) continue;
    groups[into].push_back(*free);
    *free = copy;
    return;
  }
  groups[into].push_back(copy);  // more copies than groups: one serves nobody
}

Groups dealt(std::span<const double> share, std::int64_t ep, std::int64_t redundant) {
  const std::vector<Copy> copies = copies_of(share, ep, redundant);
  Groups groups(static_cast<std::size_t>(ep));
  const std::size_t room = (copies.size() + groups.size() - 1) / groups.size();
  struct Group {
    double load = 0;
    std::size_t index = 0;
    bool operator>(const Group& other) const {
      return std::pair(load, index) > std::pair(other.load, other.index);
    }
  };
  std::priority_queue<Group, std::vector<Group>, std::greater<>> emptiest;
  for (std::size_t g = 0; g < groups.size(); ++g) emptiest.push({0, g});
  std::vector<Group> passed;
  for (const Copy& copy : copies) {
    passed.clear();
    while (emptiest.size() > 1 && holds(groups[emptiest.top().index], copy.expert)) {
      passed.push_back(emptiest.top());
      emptiest.pop();
    }
    Group group = emptiest.top();
    emptiest.pop();
    for (const Group& other : passed) emptiest.push(other);
    if (holds(groups[group.index], copy.expert)) {
      exchange(copy, group.index, groups);
    } else {
      groups[group.index].push_back(copy);
    }
    group.load += copy.part;
    if (groups[group.index].size() < room) emptiest.push(group);
  }
  return groups;
}

// Loads of the groups.
std::vector<double> blocked(std::span<const double> share, std::int64_t ep) {
  std::vector<double> group(static_cast<std::size_t>(ep), 0.0);
  for (std::size_t e = 0; e < share.size(); ++e) group[e * group.size() / share.size()] += share[e];
  return group;
}

std::vector<double> balanced(std::span<const double> share, std::int64_t ep,
                             std::int64_t redundant) {
  std::vector<double> load;
  for (const std::vector<Copy>& group : dealt(share, ep, redundant)) {
    double sum = 0;
    for (const Copy& copy : group) sum += copy.part;
    load.push_back(sum);
  }
  return load;
}

}  // namespace

double blocked_peak(std::span<const double> share, std::int64_t ep) {
  return largest_times(blocked(share, ep));
}

double shuffled_peak(std::span<const double> share, std::int64_t ep) {
  return mean_over_shuffles(share, [&](const auto& order) { return blocked_peak(order, ep); });
}

double balanced_peak(std::span<const double> share, std::int64_t ep, std::int64_t redundant) {
  return largest_times(balanced(share, ep, redundant));
}

std::vector<std::vector<std::int64_t>> balanced_groups(std::span<const double> share,
                                                       std::int64_t ep, std::int64_t redundant) {
  std::vector<std::vector<std::int64_t>> out;
  for (const std::vector<Copy>& group : dealt(share, ep, redundant)) {
    std::vector<std::int64_t>& experts = out.emplace_back();
    for (const Copy& copy : group) experts.push_back(static_cast<std::int64_t>(copy.expert));
    std::ranges::sort(experts);
  }
  return out;
}

std::vector<double> group_loads(const ExpertProfile& profile, std::int64_t ep,
                                std::int64_t redundant) {
  const auto groups = static_cast<std::size_t>(ep);
  if (profile.even()) return std::vector<double>(groups, 1.0);
  std::vector<double> sum(groups, 0.0);
  double added = 0;
  const auto add = [&](const std::vector<double>& loads) {
    for (std::size_t g = 0; g < groups; ++g) sum[g] += loads[g] * static_cast<double>(ep);
    added += 1;
  };
  for (const std::vector<double>& share : profile.layers) {
    const double apart = profile.named ? blocked_peak(share, ep) : shuffled_peak(share, ep);
    if (redundant > 0 && balanced_peak(share, ep, redundant) < apart) {
      add(balanced(share, ep, redundant));
    } else if (profile.named) {
      add(blocked(share, ep));
    } else {
      for (std::uint64_t s = 0; s < kShuffles; ++s) {
        std::vector<double> loads = blocked(shuffled(share, s), ep);
        std::ranges::sort(loads, std::greater());
        add(loads);
      }
    }
  }
  for (double& load : sum) load /= added;
  return sum;
}

double table_peak(std::span<const double> share, const Placement& placement, std::int64_t layer,
                  const StagePlan& stage) {
  std::vector<double> load(static_cast<std::size_t>(stage.ranks()), 0.0);
  for (std::size_t e = 0; e < share.size(); ++e) {
    for (std::int64_t home = 0; home < stage.ranks(); ++home) {
      const auto expert = static_cast<std::int64_t>(e);
      for (const std::int32_t rank : placement.serving_copy(layer, expert, home).ranks) {
        load[static_cast<std::size_t>(rank)] += share[e] / static_cast<double>(stage.ranks());
      }
    }
  }
  return largest_times(load) / static_cast<double>(stage.etp);  // all shards of a copy get its rows
}

Result<double> stage_peak_share(const Plan& plan, const StagePlan& stage, Range layers,
                                const ModelShape& model, const Workload& workload) {
  std::vector<std::int64_t> experts;
  for (std::int64_t i = 0; i < model.num_layers(); ++i) {
    experts.push_back(model.layer(i).ffn.experts);
  }
  PF_ASSIGN(const Placement placement, Placement::build(plan, stage, layers, experts));
  double sum = 0;
  double counted = 0;
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    if (model.layer(layer).ffn.experts == 0) continue;
    const auto kind = static_cast<std::size_t>(model.layers[static_cast<std::size_t>(layer)]);
    ExpertProfile profile = expert_profile(model, kind, workload);
    const auto n = static_cast<std::size_t>(model.layer(layer).ffn.experts);
    if (profile.even()) profile = {{std::vector<double>(n, 1 / static_cast<double>(n))}, {}, true};
    const auto peak = [&](std::span<const double> share) {
      return table_peak(share, placement, layer, stage);
    };
    double of_layer = 0;
    const auto own = std::ranges::find(profile.numbers, layer);
    if (own != profile.numbers.end()) {
      of_layer = peak(profile.layers[static_cast<std::size_t>(own - profile.numbers.begin())]);
    } else {
      for (const std::vector<double>& share : profile.layers) {
        of_layer += (profile.named ? peak(share) : mean_over_shuffles(share, peak)) /
                    static_cast<double>(profile.layers.size());
      }
    }
    sum += std::max(1.0, of_layer);
    counted += 1;
  }
  return counted > 0 ? sum / counted : 1.0;
}

}  // namespace pentafold
