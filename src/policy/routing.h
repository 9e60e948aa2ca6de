// Routing: from router logits to experts and weights, and who overflows a capacity.
//
// Pure arithmetic on counts and scores: the same code decides in execution and in simulation.
// select: softmax over all experts then the top_k largest, ties to the lower id (or top_k of the
// logits, then softmax over those); weights optionally renormalised over the selection.
// admit: DESIGN rule 7. Tokens ask in (request, position) order, each its experts in gate order; an
// expert takes `capacity` in a step. A refused choice is dropped (weight 0, no renormalisation), or
// goes to the token's best expert not yet chosen that has room (next_best), weighted by that
// expert's own score.
// Source: Shazeer et al. 2017 (arXiv 1701.06538), GShard (2006.16668), Switch (2101.03961).
// Cost: O(experts x top_k) a token. Held by policy/routing_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.h"
#include "spec/model.h"

namespace pentafold {

constexpr std::int32_t kDropped = -1;

struct RouterRule {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  RouterOrder order = RouterOrder::SoftmaxTopk;
  bool norm_topk = true;
};
RouterRule router_rule(const ModelSpec& model);

// One token's choice. scores: softmax probabilities of all experts (for statistics and next_best).
// experts/weights: (top_k), gate order.
void select_experts(const RouterRule& rule, std::span<const float> logits, std::span<float> scores,
                    std::span<std::int32_t> experts, std::span<float> weights);

// All experts of a token from best to worst, ties to the lower id: what next_best walks along.
std::vector<std::int32_t> rank_experts(std::span<const float> scores);

// ceil(capacity_factor * tokens * top_k / experts), over the tokens of the whole step.
std::int64_t expert_capacity(double capacity_factor, std::int64_t tokens, const RouterRule& rule);

// Fill levels of the experts of one layer during one step.
class CapacityLedger {
 public:
  CapacityLedger() = default;
  CapacityLedger(std::int64_t capacity, std::int64_t experts)
      : capacity_(capacity), used_(static_cast<std::size_t>(experts), 0) {}

  // Admits one token; the caller presents tokens in (request, position) order. `chosen`: its top_k,
  // rewritten in place (kDropped where refused). `preference`: rank_experts for NextBest, else
  // empty.
  void admit(OverflowPolicy policy, std::span<std::int32_t> chosen,
             std::span<const std::int32_t> preference);

 private:
  bool take(std::int32_t expert);
  std::int64_t capacity_ = 0;
  std::vector<std::int64_t> used_;
};

// Weights of a token after admission: dropped 0, replaced experts by their own score (renormalised
// over the choices that were finally made, if the rule renormalises). Unchanged choices without any
// replacement keep their bits.
void reweight(const RouterRule& rule, std::span<const float> scores,
              std::span<const std::int32_t> before, std::span<const std::int32_t> after,
              std::span<float> weights);

}  // namespace pentafold
