#include "predict/routing_draw.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/random.h"

namespace pentafold {
namespace {

// Cumulative chances of one layer's experts.
class ExpertDraw {
 public:
  ExpertDraw(std::int64_t experts, const std::vector<double>* weights) {
    double sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) {
      sum += weights == nullptr ? 1.0 : (*weights)[static_cast<std::size_t>(e)];
      upto_.push_back(sum);
    }
  }

  // `count` different experts.
  void choose(std::uint64_t key, std::int64_t count, std::vector<std::int64_t>& out) const {
    constexpr int kTries = 32;  // then the next expert that is free
    out.clear();
    for (std::int64_t k = 0; k < count; ++k) {
      std::int64_t expert = 0;
      for (int attempt = 0; attempt < kTries; ++attempt) {
        key = mix64(key);
        const double at = static_cast<double>(key >> 11) * 0x1.0p-53 * upto_.back();
        expert = std::min<std::int64_t>(std::ranges::upper_bound(upto_, at) - upto_.begin(),
                                        std::ssize(upto_) - 1);
        if (std::ranges::find(out, expert) == out.end()) break;
      }
      while (std::ranges::find(out, expert) != out.end()) {
        expert = (expert + 1) % std::ssize(upto_);
      }
      out.push_back(expert);
    }
  }

 private:
  std::vector<double> upto_;
};

}  // namespace

ExpertWeights weights_of_routing(const RoutingStats& routing) {
  ExpertWeights out;
  for (const LayerRouting& layer : routing.layers) {
    std::vector<double>& weights = out.emplace_back();
    if (layer.tokens == 0) continue;
    // Half a choice more than seen: an expert that few rows could choose is not impossible.
    for (const std::int64_t count : layer.assigned) {
      weights.push_back(static_cast<double>(count) + 0.5);
    }
  }
  return out;
}

std::vector<RankExperts> draw_layer(const LoweringContext& context, StageId stage,
                                    std::int64_t layer, const std::vector<RowPlace>& rows,
                                    const ExpertWeights& weights) {
  const ModelSpec& model = context.model;
  const auto at = static_cast<std::size_t>(layer);
  const bool known = at < weights.size() && std::ssize(weights[at]) == model.experts;
  const ExpertDraw draw(model.experts, known ? &weights[at] : nullptr);
  const Placement& placement = *context.placements[stage.index()];
  std::vector<RankExperts> out(
      static_cast<std::size_t>(context.plan.stages[stage.index()].ranks()));
  for (RankExperts& rank : out) {
    rank.rows_of_expert.assign(static_cast<std::size_t>(model.experts), 0);
  }
  std::vector<std::int64_t> chosen;
  std::vector<std::int32_t> reached;
  for (const RowPlace& row : rows) {
    const std::uint64_t key =
        mix64(mix64(static_cast<std::uint64_t>(layer)) ^
              mix64(static_cast<std::uint64_t>((row.request << 32) + row.position)));
    draw.choose(key, model.top_k, chosen);
    RankExperts& home = out[static_cast<std::size_t>(row.home)];
    reached.clear();
    for (const std::int64_t expert : chosen) {
      for (const std::int32_t to : placement.serving_copy(layer, expert, row.home).ranks) {
        RankExperts& there = out[static_cast<std::size_t>(to)];
        ++there.rows_of_expert[static_cast<std::size_t>(expert)];
        ++there.answers_sent;
        ++home.answers_received;
        if (to != row.home) ++home.remote_answers;
        if (std::ranges::find(reached, to) != reached.end()) continue;
        reached.push_back(to);
        ++home.rows_sent;
        ++there.rows_received;
        if (to != row.home) ++there.remote_rows;
      }
    }
  }
  return out;
}

}  // namespace pentafold
