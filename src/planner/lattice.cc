#include "planner/lattice.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace pentafold {
namespace {

constexpr std::int64_t kMostExpertGroups = 320;
constexpr std::int64_t kMostStages = 64;
constexpr std::int64_t kMostSequenceRanks = 16;

// 1, 2, 3, 4, 6, 8, 12, ...: powers of two and one and a half times those.
std::vector<std::int64_t> half_octaves(std::int64_t most) {
  std::vector<std::int64_t> out{1};
  for (std::int64_t power = 2; power <= most; power *= 2) {
    out.push_back(power);
    if (power + power / 2 <= most) out.push_back(power + power / 2);
  }
  return out;
}

// Cuts `weights` into `parts` runs whose largest sum is smallest: the least bound that a greedy
// walk from the front can keep.
std::vector<std::int64_t> balanced_cut(const std::vector<double>& weights, std::int64_t parts) {
  const auto walk = [&](double bound) {
    std::vector<std::int64_t> cut;
    std::int64_t begin = 0;
    double sum = 0;
    const auto n = static_cast<std::int64_t>(weights.size());
    for (std::int64_t i = 0; i < n; ++i) {
      const double w = weights[static_cast<std::size_t>(i)];
      const std::int64_t stages_left = parts - static_cast<std::int64_t>(cut.size());
      // Close a stage when it is full, or when every later stage needs one of the layers left.
      if (i > begin && (sum + w > bound || n - i < stages_left)) {
        cut.push_back(i - begin);
        begin = i;
        sum = 0;
      }
      sum += w;
    }
    cut.push_back(n - begin);
    return cut;
  };
  double low = *std::max_element(weights.begin(), weights.end());
  double high = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    if (static_cast<std::int64_t>(walk(middle).size()) <= parts) {
      high = middle;
    } else {
      low = middle;
    }
  }
  return walk(high);
}

std::vector<std::int64_t> even_cut(std::int64_t layers, std::int64_t parts) {
  std::vector<std::int64_t> cut;
  for (std::int64_t s = 0; s < parts; ++s) {
    cut.push_back(layers / parts + (s < layers % parts ? 1 : 0));
  }
  return cut;
}

std::vector<double> layer_weights(const ModelShape& model) {
  std::vector<double> weights;
  for (const std::int32_t kind : model.layers) {
    double params = 0;
    for (const WeightGroup& group : model.kinds[static_cast<std::size_t>(kind)].weights) {
      params += static_cast<double>(group.params);
    }
    weights.push_back(params);
  }
  for (const WeightGroup& group : model.outer) {
    if (group.part == WeightPart::Head) weights.back() += static_cast<double>(group.params);
  }
  return weights;
}

}  // namespace

std::vector<std::int64_t> stage_sizes(const Problem& problem) {
  const std::int64_t most = problem.gpu_limit();
  const std::int64_t domain =
      std::max(problem.cluster.links.front().domain, problem.cluster.gpus_per_node);
  std::set<std::int64_t> sizes;
  for (std::int64_t r = 1; r <= std::min(domain, most); ++r) {
    if (domain % r == 0 || (r & (r - 1)) == 0) sizes.insert(r);
  }
  for (std::int64_t k = 1; k * domain <= most; k += k < 8 ? 1 : k < 16 ? 2 : k < 40 ? 4 : k) {
    sizes.insert(k * domain);
  }
  for (std::int64_t r = 1; r <= most; r *= 2) sizes.insert(r);
  return {sizes.begin(), sizes.end()};
}

std::vector<AttentionFold> attention_folds(const ModelShape& model, std::int64_t ranks) {
  std::vector<AttentionFold> folds;
  for (std::int64_t tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor != 0 || !tensor_degree_fits(model, tensor)) continue;
    for (std::int64_t sp = 1; sp <= std::min(tensor, kMostSequenceRanks); sp *= 2) {
      if (tensor % sp == 0) folds.push_back({ranks / tensor, sp, tensor / sp});
    }
  }
  return folds;
}

std::vector<ExpertFold> expert_folds(const ModelShape& model, std::int64_t ranks) {
  const std::int64_t experts = model.experts();
  if (experts == 0) return {{}};
  std::vector<ExpertFold> folds;
  for (std::int64_t ep = 1; ep <= std::min(ranks, kMostExpertGroups); ++ep) {
    if (ranks % ep != 0 || ep > 2 * experts) continue;
    // Every group holds as many copies: fill up, and once more with one hot copy each.
    const std::int64_t fill = (ep - experts % ep) % ep;
    for (std::int64_t etp = 1; ep * etp <= ranks; ++etp) {
      if (ranks % (ep * etp) != 0 || !expert_degree_fits(model, etp)) continue;
      folds.push_back({ep, etp, fill});
      if (ep > 1) folds.push_back({ep, etp, fill + ep});
    }
  }
  return folds;
}

std::vector<std::vector<std::int64_t>> stage_cuts(const Problem& problem,
                                                  std::int64_t stage_ranks) {
  const std::int64_t layers = problem.model.num_layers();
  const std::int64_t most = std::min({problem.gpu_limit() / stage_ranks, layers, kMostStages});
  std::vector<std::vector<std::int64_t>> cuts;
  const std::vector<double> weights = layer_weights(problem.model);
  for (const std::int64_t pp : half_octaves(most)) {
    cuts.push_back(even_cut(layers, pp));
    if (pp == 1) continue;
    std::vector<std::int64_t> balanced = balanced_cut(weights, pp);
    if (static_cast<std::int64_t>(balanced.size()) == pp && balanced != cuts.back()) {
      cuts.push_back(std::move(balanced));
    }
  }
  return cuts;
}

std::vector<BatchPoint> batch_points(const Problem& problem, std::int64_t pp,
                                     std::int64_t stage_ranks, std::int64_t dp) {
  constexpr std::int64_t kMostBatch = 2048;
  std::vector<std::int64_t> batches = half_octaves(kMostBatch);
  if (problem.workload.batch) {
    const std::int64_t replicas =
        problem.cluster.gpus > 0 && problem.targets.objective != Objective::Gpus
            ? std::max<std::int64_t>(problem.gpu_limit() / (pp * stage_ranks), 1)
            : 1;
    const std::int64_t slots = replicas * dp;
    batches = {(*problem.workload.batch + slots - 1) / slots};
  }
  std::vector<BatchPoint> points;
  for (const std::int64_t batch : batches) {
    points.push_back({batch, 1});
    if (pp == 1) continue;
    if (batch >= pp) points.push_back({batch, pp});
    if (batch >= 2 * pp) points.push_back({batch, 2 * pp});
  }
  return points;
}

std::vector<std::int64_t> chunk_sizes(const Workload& workload) {
  std::vector<std::int64_t> sizes;
  const std::int64_t most = std::max<std::int64_t>(8192, workload.isl);
  for (std::int64_t chunk = 256; chunk < 2 * most; chunk *= 2) {
    sizes.push_back(chunk);
    if (2 * chunk < 2 * most) sizes.push_back(chunk + chunk / 2);
  }
  return sizes;
}

bool chunk_fits(const Workload& workload, std::int64_t chunk, std::int64_t batch) {
  return prompts_per_pass(workload.isl, chunk) <= batch;
}

void for_each_worker(const Problem& problem, const Precision& precision, Role role,
                     const std::function<void(const Worker&)>& visit) {
  Worker worker;
  worker.precision = precision;
  const std::vector<std::int64_t> chunks =
      role == Role::Decode ? std::vector<std::int64_t>{1} : chunk_sizes(problem.workload);
  for (const std::int64_t ranks : stage_sizes(problem)) {
    for (const AttentionFold& fold : attention_folds(problem.model, ranks)) {
      if (role == Role::Decode && fold.sp > 1) continue;
      worker.dp = fold.dp;
      worker.sp = fold.sp;
      worker.tp = fold.tp;
      for (const ExpertFold& experts : expert_folds(problem.model, ranks)) {
        worker.ep = experts.ep;
        worker.etp = experts.etp;
        worker.redundant = experts.redundant;
        for (const auto& cut : stage_cuts(problem, ranks)) {
          worker.stage_layers = cut;
          for (const BatchPoint& point :
               role == Role::Prefill ? std::vector<BatchPoint>{{}}
                                     : batch_points(problem, worker.pp(), ranks, worker.dp)) {
            worker.batch = point.batch;
            worker.microbatches = point.microbatches;
            for (const std::int64_t chunk : chunks) {
              worker.chunk = chunk;
              if (role == Role::Prefill) {
                worker.batch = prompts_per_pass(problem.workload.isl, chunk);
              }
              if (chunk_fits(problem.workload, chunk, worker.batch)) visit(worker);
            }
          }
        }
      }
    }
  }
}

std::int64_t lattice_size(const Problem& problem, Role role) {
  std::int64_t size = 0;
  const std::vector<std::int64_t> chunks =
      role == Role::Decode ? std::vector<std::int64_t>{1} : chunk_sizes(problem.workload);
  for (const std::int64_t ranks : stage_sizes(problem)) {
    const auto expert_axes = static_cast<std::int64_t>(expert_folds(problem.model, ranks).size());
    const auto cuts = stage_cuts(problem, ranks);
    for (const AttentionFold& fold : attention_folds(problem.model, ranks)) {
      if (role == Role::Decode && fold.sp > 1) continue;
      for (const auto& cut : cuts) {
        const auto pp = static_cast<std::int64_t>(cut.size());
        std::int64_t points = static_cast<std::int64_t>(chunks.size());
        if (role != Role::Prefill) {
          points = 0;
          for (const BatchPoint& point : batch_points(problem, pp, ranks, fold.dp)) {
            points += std::count_if(chunks.begin(), chunks.end(), [&](std::int64_t chunk) {
              return chunk_fits(problem.workload, chunk, point.batch);
            });
          }
        }
        size += points * expert_axes;
      }
    }
  }
  return size;
}

}  // namespace pentafold
