#include "policy/routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/canonical_math.h"
#include "base/check.h"

namespace pentafold {
namespace {

// Softmax in one fixed order: ascending sum.
void softmax(std::span<const float> in, std::span<float> out) {
  const float top = *std::max_element(in.begin(), in.end());
  float sum = 0.0F;
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = canonical_exp(in[i] - top);
    sum += out[i];
  }
  for (float& value : out) value /= sum;
}

void take_top(std::span<const float> scores, std::span<std::int32_t> experts) {
  for (std::size_t k = 0; k < experts.size(); ++k) {
    std::int32_t best = -1;
    for (std::size_t e = 0; e < scores.size(); ++e) {
      const auto id = static_cast<std::int32_t>(e);
      const auto chosen = experts.first(k);
      if (std::find(chosen.begin(), chosen.end(), id) != chosen.end()) continue;
      if (best < 0 || scores[e] > scores[static_cast<std::size_t>(best)]) best = id;
    }
    experts[k] = best;
  }
}

void renormalise(std::span<float> weights) {
  float sum = 0.0F;
  for (const float w : weights) sum += w;
  if (sum > 0.0F) {
    for (float& w : weights) w /= sum;
  }
}

}  // namespace

RouterRule router_rule(const ModelSpec& model) {
  return {model.experts, model.top_k, model.router_order, model.norm_topk};
}

void select_experts(const RouterRule& rule, std::span<const float> logits, std::span<float> scores,
                    std::span<std::int32_t> experts, std::span<float> weights) {
  CHECK(static_cast<std::int64_t>(logits.size()) == rule.experts && scores.size() == logits.size());
  CHECK(static_cast<std::int64_t>(experts.size()) == rule.top_k &&
        weights.size() == experts.size());
  softmax(logits, scores);
  if (rule.order == RouterOrder::TopkSoftmax) {
    take_top(logits, experts);
    std::vector<float> picked;
    for (const std::int32_t e : experts) picked.push_back(logits[static_cast<std::size_t>(e)]);
    softmax(picked, weights);
    return;
  }
  take_top(scores, experts);
  for (std::size_t k = 0; k < experts.size(); ++k) {
    weights[k] = scores[static_cast<std::size_t>(experts[k])];
  }
  if (rule.norm_topk) renormalise(weights);
}

std::vector<std::int32_t> rank_experts(std::span<const float> scores) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

std::int64_t expert_capacity(double capacity_factor, std::int64_t tokens, const RouterRule& rule) {
  const double share = capacity_factor * static_cast<double>(tokens * rule.top_k) /
                       static_cast<double>(rule.experts);
  return static_cast<std::int64_t>(std::ceil(share));
}

bool CapacityLedger::take(std::int32_t expert) {
  std::int64_t& used = used_[static_cast<std::size_t>(expert)];
  if (used >= capacity_) return false;
  ++used;
  return true;
}

void CapacityLedger::admit(OverflowPolicy policy, std::span<std::int32_t> chosen,
                           std::span<const std::int32_t> preference) {
  for (std::int32_t& expert : chosen) {
    if (take(expert)) continue;
    expert = kDropped;
    if (policy == OverflowPolicy::Drop) continue;
    for (const std::int32_t next : preference) {
      if (std::find(chosen.begin(), chosen.end(), next) != chosen.end()) continue;
      if (take(next)) {
        expert = next;
        break;
      }
    }
  }
}

void reweight(const RouterRule& rule, std::span<const float> scores,
              std::span<const std::int32_t> before, std::span<const std::int32_t> after,
              std::span<float> weights) {
  bool replaced = false;
  for (std::size_t k = 0; k < after.size(); ++k) {
    replaced = replaced || (after[k] != before[k] && after[k] != kDropped);
    if (after[k] == kDropped) weights[k] = 0.0F;
  }
  if (!replaced) return;
  for (std::size_t k = 0; k < after.size(); ++k) {
    weights[k] = after[k] == kDropped ? 0.0F : scores[static_cast<std::size_t>(after[k])];
  }
  if (rule.norm_topk || rule.order == RouterOrder::TopkSoftmax) renormalise(weights);
}

}  // namespace pentafold
