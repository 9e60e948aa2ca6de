#include "report/routing_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pentafold {
namespace {

void add_into(std::vector<std::int64_t>& into, const std::vector<std::int64_t>& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) into[i] += from[i];
}

}  // namespace

void LayerRouting::add(const LayerRouting& other) {
  tokens += other.tokens;
  wanted += other.wanted;
  add_into(chosen, other.chosen);
  add_into(assigned, other.assigned);
  add_into(refused, other.refused);
  add_into(score, other.score);
}

void RoutingStats::resize(std::int64_t layer_count, std::int64_t experts) {
  layers.resize(static_cast<std::size_t>(layer_count));
  for (LayerRouting& layer : layers) {
    layer.chosen.resize(static_cast<std::size_t>(experts));
    layer.assigned.resize(static_cast<std::size_t>(experts));
    layer.refused.resize(static_cast<std::size_t>(experts));
    layer.score.resize(static_cast<std::size_t>(experts));
  }
}

void RoutingStats::add(const RoutingStats& other) {
  if (layers.size() < other.layers.size()) layers.resize(other.layers.size());
  for (std::size_t i = 0; i < other.layers.size(); ++i) layers[i].add(other.layers[i]);
}

RoutingSummary RoutingStats::layer(std::size_t index) const {
  const LayerRouting& layer = layers[index];
  RoutingSummary out;
  const auto total = std::accumulate(layer.assigned.begin(), layer.assigned.end(), std::int64_t{0});
  const auto refused = std::accumulate(layer.refused.begin(), layer.refused.end(), std::int64_t{0});
  if (total == 0) return out;
  const auto experts = static_cast<double>(layer.assigned.size());
  const double mean = static_cast<double>(total) / experts;
  double variance = 0;
  for (const std::int64_t count : layer.assigned) {
    const double gap = static_cast<double>(count) - mean;
    variance += gap * gap / experts;
  }
  out.max_over_mean =
      static_cast<double>(*std::max_element(layer.assigned.begin(), layer.assigned.end())) / mean;
  out.cv = std::sqrt(variance) / mean;
  out.overflow_rate = static_cast<double>(refused) / static_cast<double>(layer.wanted);
  for (std::size_t e = 0; e < layer.assigned.size(); ++e) {
    const double fraction = static_cast<double>(layer.assigned[e]) / static_cast<double>(total);
    const double score =
        static_cast<double>(layer.score[e]) * kScoreUnit / static_cast<double>(layer.tokens);
    out.balance_loss += experts * fraction * score;
  }
  return out;
}

RoutingSummary RoutingStats::total() const {
  RoutingSummary out;
  double used = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].tokens == 0) continue;
    const RoutingSummary one = layer(i);
    out.max_over_mean = std::max(out.max_over_mean, one.max_over_mean);
    out.cv += one.cv;
    out.overflow_rate += one.overflow_rate;
    out.balance_loss += one.balance_loss;
    used += 1;
  }
  if (used > 0) {
    out.cv /= used;
    out.overflow_rate /= used;
    out.balance_loss /= used;
  }
  return out;
}

}  // namespace pentafold
