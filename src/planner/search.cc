#include "planner/search.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "planner/stage_search.h"

namespace pentafold {
namespace {

constexpr std::array kRoles = {Role::Both, Role::Prefill, Role::Decode};

bool wanted(const Problem& problem, Role role) {
  return role == Role::Both ? problem.aggregated : problem.disaggregated;
}

struct Task {
  Precision precision;
  std::size_t precision_index = 0;
  std::int64_t ranks = 0;
  std::unique_ptr<StageSearch> search;
};

void run_tasks(const Problem& problem, const StepCost& costs, const SearchOptions& options,
               std::vector<Task>& tasks) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      Task& task = tasks[i];
      const bool stored = task.precision_index == 0;
      const SearchOptions mine{1, stored && options.pareto, stored ? options.shortlist : 0};
      task.search = std::make_unique<StageSearch>(problem, costs, task.precision, task.ranks, mine);
      for (const Role role : kRoles) {
        if (wanted(problem, role)) task.search->run(role);
      }
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < options.threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

void merge_family(const Problem& problem, const StrategyFamily& from, StrategyFamily& into) {
  if (from.nearest && (!into.nearest || from.nearest->nearer_than(*into.nearest))) {
    into.nearest = from.nearest;
    into.nearest_worker = from.nearest_worker;
  }
  if (!from.best) return;
  if (into.best) {
    const double better = compare(problem, from.best->score, into.best->score);
    if (better < 0 || (better == 0 && !simpler(from.best->pools.front().worker,
                                               into.best->pools.front().worker))) {
      return;
    }
  }
  into.best = from.best;
}

using SizeTable = std::map<std::int64_t, SizeBest>;

void merge_sizes(const Problem& problem, Role role, const SizeTable& from, SizeTable& into) {
  for (const auto& [size, found] : from) {
    const auto [it, fresh] = into.try_emplace(size, found);
    if (fresh) continue;
    double better = found.requests_per_s - it->second.requests_per_s;
    const Objective objective = problem.targets.objective;
    if (objective == Objective::Ttft && role == Role::Prefill) {
      better = it->second.ttft_s - found.ttft_s;
    }
    if (objective == Objective::Tpot && role == Role::Decode) {
      better = it->second.tpot_s - found.tpot_s;
    }
    if (better > 0 || (better == 0 && simpler(found.worker, it->second.worker))) {
      it->second = found;
    }
  }
}

// What the tasks of one precision found, put together in their order.
struct Merged {
  std::map<unsigned, StrategyFamily> families;
  StrategyFamily two_pools;  // the nearest misses of workers with one role
  SizeTable prefill;
  SizeTable decode;
};

// Matches prefill workers to decode workers by rate.
class PairSearch {
 public:
  PairSearch(const Problem& problem, const Merged& merged) : problem_(problem), merged_(merged) {}

  StrategyFamily run() {
    StrategyFamily family;
    family.disaggregated = true;
    for (const auto& [prefill_gpus, prefill] : merged_.prefill) {
      for (const auto& [decode_gpus, decode] : merged_.decode) {
        if (prefill_gpus + decode_gpus > problem_.gpu_limit()) break;
        pair_up(prefill, decode, family);
        if (pair_best_) best_of_sizes_.push_back(*std::exchange(pair_best_, std::nullopt));
      }
    }
    return family;
  }
  std::int64_t pairs() const { return pairs_; }
  // The best of each pair of sizes.
  const std::vector<Deployment>& best_of_sizes() const { return best_of_sizes_; }

 private:
  void pair_up(const SizeBest& prefill, const SizeBest& decode, StrategyFamily& family) {
    const std::int64_t limit = problem_.gpu_limit();
    const std::int64_t p = prefill.worker.gpus();
    const std::int64_t d = decode.worker.gpus();
    const bool fewest = problem_.cluster.gpus == 0 || problem_.targets.objective == Objective::Gpus;
    if (fewest) {
      const double needed = demanded_requests();
      const auto count = [&](double each) {
        return static_cast<std::int64_t>(
            std::min(std::max(1.0, std::ceil(needed / each)), static_cast<double>(limit)));
      };
      std::int64_t decoders = count(decode.requests_per_s);
      if (problem_.workload.batch) {
        const std::int64_t slots = decode.worker.batch * decode.worker.dp;
        decoders = std::max(decoders, (*problem_.workload.batch + slots - 1) / slots);
      }
      offer(prefill, count(prefill.requests_per_s), decode, decoders, family);
      return;
    }
    for (std::int64_t n = 1; n * p + d <= limit; ++n) {
      const std::int64_t decoders = (limit - n * p) / d;
      offer(prefill, n, decode, decoders, family);
      // With fewer decoders than prompts can feed, more prefill workers only take GPUs away.
      if (static_cast<double>(n) * prefill.requests_per_s >=
          static_cast<double>(decoders) * decode.requests_per_s) {
        break;
      }
    }
  }

  double demanded_requests() const {
    double needed = problem_.workload.rate_per_s.value_or(0);
    if (problem_.targets.tokens_per_s) {
      needed = std::max(
          needed, *problem_.targets.tokens_per_s / static_cast<double>(problem_.workload.osl));
    }
    return needed;
  }

  void offer(const SizeBest& prefill, std::int64_t prefills, const SizeBest& decode,
             std::int64_t decoders, StrategyFamily& family) {
    ++pairs_;
    const auto np = static_cast<double>(prefills);
    const auto nd = static_cast<double>(decoders);
    Score score;
    score.gpus = prefills * prefill.worker.gpus() + decoders * decode.worker.gpus();
    if (score.gpus > problem_.gpu_limit()) return;
    const bool fewest = problem_.cluster.gpus == 0 || problem_.targets.objective == Objective::Gpus;
    score.provisioned = fewest ? score.gpus : problem_.cluster.gpus;
    score.tpot_s = decode.tpot_s;
    score.requests_per_s = std::min(np * prefill.requests_per_s, nd * decode.requests_per_s);
    // The queue is that of the load the pool really has, never above the one it was rated at.
    const double load = score.requests_per_s / (np * prefill.full_requests_per_s);
    score.ttft_s =
        std::min(prefill.ttft_s, prefill.alone_s + queue_wait_seconds(load, prefill.service_s));
    score.tokens_per_s = served_tokens_per_s(problem_, score.requests_per_s);
    score.prefill_tokens_per_s_per_gpu =
        np * prefill.prefill_tokens_per_s / static_cast<double>(score.provisioned);
    if (const auto failed = first_miss(problem_, score, 0)) {
      if (!family.nearest || failed->nearer_than(*family.nearest)) {
        family.nearest = failed;
        family.nearest_worker = decode.worker;
      }
      return;
    }
    const Deployment found{{Pool{prefill.worker, prefills, Role::Prefill},
                            Pool{decode.worker, decoders, Role::Decode}},
                           score};
    keep(found, family.best);
    keep(found, pair_best_);
  }

  void keep(const Deployment& found, std::optional<Deployment>& best) const {
    if (best) {
      const double better = compare(problem_, found.score, best->score);
      const Worker& prefill = found.pools.front().worker;
      const Worker& other = best->pools.front().worker;
      const bool plainer =
          simpler(prefill, other) ||
          (prefill == other && simpler(found.decode_pool().worker, best->decode_pool().worker));
      if (better < 0 || (better == 0 && !plainer)) return;
    }
    best = found;
  }

  const Problem& problem_;
  const Merged& merged_;
  std::optional<Deployment> pair_best_;
  std::vector<Deployment> best_of_sizes_;
  std::int64_t pairs_ = 0;
};

std::vector<Task> make_tasks(const Problem& problem) {
  std::vector<Task> tasks;
  for (std::size_t p = 0; p < problem.precisions.size(); ++p) {
    for (const std::int64_t ranks : stage_sizes(problem)) {
      tasks.push_back({problem.precisions[p], p, ranks, nullptr});
    }
  }
  return tasks;
}

bool better_deployment(const Problem& problem, const std::optional<Deployment>& a,
                       const std::optional<Deployment>& b) {
  if (!a) return false;
  if (!b) return true;
  const double better = compare(problem, a->score, b->score);
  // One pool is simpler than two.
  return better > 0 || (better == 0 && a->pools.size() < b->pools.size());
}

Merged merge(const Problem& problem, const std::vector<Task>& tasks, std::size_t precision) {
  Merged merged;
  for (const Task& task : tasks) {
    if (task.precision_index != precision) continue;
    for (const auto& [kinds, family] : task.search->families(Role::Both)) {
      StrategyFamily& into = merged.families[kinds];
      into.kinds = kinds;
      merge_family(problem, family, into);
    }
    for (const Role role : {Role::Prefill, Role::Decode}) {
      merge_sizes(problem, role, task.search->sizes(role),
                  role == Role::Prefill ? merged.prefill : merged.decode);
      for (const auto& [kinds, family] : task.search->families(role)) {
        merge_family(problem, family, merged.two_pools);
      }
    }
  }
  return merged;
}

// The best `count`, each of other degrees than those before it.
std::vector<Deployment> best_of(const Problem& problem, std::vector<Deployment> all,
                                std::int64_t count) {
  std::ranges::sort(all, [&](const Deployment& a, const Deployment& b) {
    const double better = compare(problem, a.score, b.score);
    if (better != 0) return better > 0;
    if (a.pools.size() != b.pools.size()) return a.pools.size() < b.pools.size();
    const Worker& first = a.pools.front().worker;
    const Worker& other = b.pools.front().worker;
    if (!(first == other)) return simpler(first, other);
    return simpler(a.decode_pool().worker, b.decode_pool().worker);
  });
  std::set<std::vector<std::int64_t>> seen;
  std::vector<Deployment> out;
  for (Deployment& deployment : all) {
    if (std::ssize(out) == count) break;
    std::vector<std::int64_t> degrees;
    for (const Pool& pool : deployment.pools) {
      const Worker& w = pool.worker;
      degrees.insert(degrees.end(), {w.pp(), w.dp, w.sp, w.tp, w.ep, w.etp});
    }
    if (seen.insert(std::move(degrees)).second) out.push_back(std::move(deployment));
  }
  return out;
}

std::int64_t workers_in_lattice(const Problem& problem) {
  std::int64_t size = 0;
  for (const Role role : kRoles) {
    if (wanted(problem, role)) size += lattice_size(problem, role);
  }
  return size * static_cast<std::int64_t>(problem.precisions.size());
}

}  // namespace

std::string family_name(unsigned kinds) {
  static constexpr std::array<const char*, 6> kNames = {"pp", "dp", "sp", "tp", "ep", "etp"};
  std::string name;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if ((kinds >> i & 1U) == 0) continue;
    name += (name.empty() ? "" : " x ");
    name += kNames[i];
  }
  return name.empty() ? "one GPU" : name;
}

SearchResult search(const Problem& problem, const SearchOptions& options) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  std::vector<Task> tasks = make_tasks(problem);
  run_tasks(problem, costs, options, tasks);
  SearchResult result;
  result.lattice = workers_in_lattice(problem);
  ParetoFront front;
  std::vector<Deployment> listed;
  for (const Task& task : tasks) {
    result.evaluated += task.search->evaluated();
    front.merge(task.search->pareto());
    const std::vector<Deployment>& more = task.search->shortlist();
    listed.insert(listed.end(), more.begin(), more.end());
  }
  for (std::size_t p = 0; p < problem.precisions.size(); ++p) {
    const Merged merged = merge(problem, tasks, p);
    std::optional<Deployment> best;
    for (const auto& [kinds, family] : merged.families) {
      if (better_deployment(problem, family.best, best)) best = family.best;
      if (p == 0) result.families.push_back(family);
    }
    if (problem.disaggregated) {
      PairSearch pairs(problem, merged);
      StrategyFamily matched = pairs.run();
      result.lattice += pairs.pairs();
      result.evaluated += pairs.pairs();
      merge_family(problem, merged.two_pools, matched);
      if (better_deployment(problem, matched.best, best)) best = matched.best;
      if (p == 0) {
        result.families.push_back(matched);
        listed.insert(listed.end(), pairs.best_of_sizes().begin(), pairs.best_of_sizes().end());
      }
    }
    if (best) result.best.push_back(*best);
    if (p == 0) result.winner = best;
  }
  result.pareto = front.by_user();
  if (options.shortlist > 0) {
    result.shortlist = best_of(problem, std::move(listed), options.shortlist);
  }
  return result;
}

}  // namespace pentafold
