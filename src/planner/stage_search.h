// StageSearch: the part of a search with one precision, one stage size and one role.
//
// Everything that several candidates share is computed once: the tensor part by (tensor degree,
// rows), the expert part by (fold, rows of the stage), stage sums by cut. See planner/search.h.
// Held by planner/search_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "planner/search.h"

namespace pentafold {

// One worker of a size that does the most requests per second within the limits.
struct SizeBest {
  Worker worker;
  double requests_per_s = 0;  // at the load its TTFT allows
  double ttft_s = 0;          // prefill: with transfer, and the queue at that load
  double alone_s = 0;         // without the queue
  double service_s = 0;       // of a pass
  double full_requests_per_s = 0;
  double tpot_s = 0;  // decode
  double prefill_tokens_per_s = 0;
};

// Keeps the deployments that no other beats in both tokens/s/GPU and tokens/s/user.
class ParetoFront {
 public:
  // Keeps the score if nothing dominates it; `make` is called only then.
  void offer(double per_gpu, double per_user, const std::function<Deployment()>& make);
  void merge(const ParetoFront& other);
  std::vector<Deployment> by_user() const;

 private:
  std::map<double, std::pair<double, Deployment>> best_;  // per_user -> (per_gpu, deployment)
};

class StageSearch {
 public:
  StageSearch(const Problem& problem, const StepCost& costs, const Precision& precision,
              std::int64_t ranks, const SearchOptions& options);

  void run(Role role);

  // Of what `role` was run for: families by kinds, and the best workers by their number of GPUs.
  const std::map<unsigned, StrategyFamily>& families(Role role) const {
    return families_[static_cast<std::size_t>(role)];
  }
  const std::map<std::int64_t, SizeBest>& sizes(Role role) const {
    return sizes_[static_cast<std::size_t>(role)];
  }
  const ParetoFront& pareto() const { return pareto_front_; }
  // The best of each cut of each fold, in no order.
  const std::vector<Deployment>& shortlist() const { return shortlist_; }
  std::int64_t evaluated() const { return evaluated_; }

 private:
  // By kind of layer, then by chunk index.
  using Table = std::vector<std::vector<double>>;
  struct CutPlan {
    std::vector<std::int64_t> layers;
    std::vector<StageMix> mixes;
  };
  struct MixBytes {
    double fixed = 0;     // weights, and the reserve
    double sequence = 0;  // KV of one sequence
    bool last = false;
  };
  // Bytes on a rank that all cuts share: layers by kind, embedding and head by position.
  struct FoldBytes {
    std::vector<double> weights;
    std::vector<double> sequence;
    std::array<double, 4> outer{};  // by first + 2 x last
    double logits = 0;              // of one sampled row
  };

  void run_fold(const AttentionFold& fold, Role role);
  void run_experts(Role role);
  void count_bytes(Role role);
  void run_cut(const CutPlan& cut, Role role);
  void run_batch(const CutPlan& cut, const BatchPoint& point, Role role);
  void judge(double decode_s, double prefill_s, std::int64_t prompts, double memory, Role role);
  void judge_pool(const Rates& rates, double memory, Role role);
  void miss(const Miss& miss);
  bool beats(const Score& score, const std::optional<Deployment>& best) const;
  bool cannot_win(double decode_s) const;

  const std::vector<double>& tensor_decode(std::int64_t rows);  // by kind; logits at the back
  const std::vector<double>& experts_at(std::int64_t rows);
  double prefill_seconds(const CutPlan& cut, std::size_t chunk) const;
  double decode_seconds(const CutPlan& cut, const BatchPoint& point);
  double memory_bytes(double activations, std::int64_t sampled) const;
  double activations_of(std::int64_t rows);

  const Problem& problem_;
  const StepCost& costs_;
  const std::int64_t ranks_;
  const bool pareto_;
  const bool shortlists_;
  std::vector<std::int64_t> chunks_;
  std::vector<std::int64_t> prompts_;  // by chunk
  std::vector<CutPlan> cuts_;
  std::vector<ExpertFold> folds_;

  // The candidate at hand, and what belongs to its degrees.
  Worker worker_;
  StrategyFamily* family_ = nullptr;
  std::optional<Deployment> cut_best_;  // of this cut; only with a shortlist
  std::size_t fold_index_ = 0;
  double peak_share_ = 1;
  std::vector<double> kind_share_;
  Table tensor_prefill_;
  Table experts_prefill_;
  std::vector<double> logits_s_;  // of the prompts of a pass, by chunk
  FoldBytes bytes_;
  std::vector<MixBytes> mix_bytes_;
  std::vector<double> chunk_activations_;  // by chunk
  std::vector<double> pass_s_;             // by chunk
  double transfer_s_ = 0;

  std::map<std::int64_t, std::unordered_map<std::int64_t, std::vector<double>>> tensor_memo_;
  std::vector<std::unordered_map<std::int64_t, std::vector<double>>> expert_memo_;
  std::array<std::map<unsigned, StrategyFamily>, 3> families_;  // by role
  std::array<std::map<std::int64_t, SizeBest>, 3> sizes_;
  ParetoFront pareto_front_;
  std::vector<Deployment> shortlist_;
  std::int64_t evaluated_ = 0;
};

}  // namespace pentafold
