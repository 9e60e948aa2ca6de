#include "predict/expert_profile.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace pentafold {
namespace {

// Scales positive sums to 1 with no share above 1 / top_k: the largest are held at that, one after
// the other, until the rest stays below it.
std::vector<double> capped(std::vector<double> share, std::int64_t top_k) {
  std::vector<std::size_t> order(share.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return share[a] > share[b]; });
  std::vector<double> rest(order.size());  // sum from there on, smallest first
  double sum = 0;
  for (std::size_t i = order.size(); i-- > 0;) rest[i] = sum += share[order[i]];
  const double cap = 1.0 / static_cast<double>(top_k);
  double held = 0;  // sum of the shares at the cap
  std::size_t first = 0;
  while (first + 1 < order.size() && rest[first] > 0 &&
         share[order[first]] * (1 - held) / rest[first] > cap) {
    share[order[first++]] = cap;
    held = static_cast<double>(first) * cap;
  }
  // Fewer were ever chosen than a row picks: the others share what is left.
  const auto left = static_cast<double>(order.size() - first);
  const double whole = rest[first];
  for (std::size_t i = first; i < order.size(); ++i) {
    share[order[i]] = whole > 0 ? share[order[i]] / whole * (1 - held) : (1 - held) / left;
  }
  return share;
}

}  // namespace

ExpertProfile power_law_profile(std::int64_t experts, std::int64_t top_k, double skew) {
  CHECK(experts >= 1 && top_k >= 1 && top_k <= experts && skew >= 0);
  if (skew == 0) return {};
  std::vector<double> share;
  for (std::int64_t e = 0; e < experts; ++e) {
    share.push_back(std::pow(static_cast<double>(e + 1), -skew));
  }
  return {{capped(std::move(share), top_k)}, {}, false};
}

ExpertProfile counted_profile(const ExpertHistogram& histogram, const ModelShape& model,
                              std::size_t kind) {
  const FfnShape& ffn = model.kinds[kind].ffn;
  ExpertProfile out;
  out.named = true;
  const auto take = [&](const auto& wanted) {
    for (std::size_t i = 0; i < histogram.layers.size(); ++i) {
      if (!wanted(histogram.layers[i])) continue;
      std::vector<double> share(histogram.row(i).begin(), histogram.row(i).end());
      share.resize(static_cast<std::size_t>(ffn.experts));  // the last may never have been chosen
      out.layers.push_back(capped(std::move(share), ffn.top_k));
      out.numbers.push_back(histogram.layers[i]);
    }
  };
  take([&](std::int64_t layer) {
    return static_cast<std::size_t>(model.layers[static_cast<std::size_t>(layer)]) == kind;
  });
  if (!out.even()) return out;
  take([&](std::int64_t layer) { return model.layer(layer).ffn.experts == ffn.experts; });
  out.numbers.clear();
  return out;
}

ExpertProfile expert_profile(const ModelShape& model, std::size_t kind, const Workload& workload) {
  const FfnShape& ffn = model.kinds[kind].ffn;
  if (ffn.experts == 0) return {};
  if (workload.expert_load) return counted_profile(*workload.expert_load, model, kind);
  return power_law_profile(ffn.experts, ffn.top_k, workload.skew);
}

}  // namespace pentafold
