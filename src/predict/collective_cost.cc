#include "predict/collective_cost.h"

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

// How a group falls apart on one level: `parts` members that this level connects.
struct LevelParts {
  const LinkLevel* link = nullptr;
  double parts = 1;
};

// Calls visit(level, parts, inner) from the innermost level outward; `inner` ranks of the group
// share one part.
template <class Visit>
void over_levels(const ClusterSpec& cluster, Group group, const Visit& visit) {
  if (group.ranks <= 1) return;
  const auto ranks = static_cast<double>(group.ranks);
  double reached = 1;
  for (std::size_t i = 0; i < cluster.links.size(); ++i) {
    const LinkLevel& link = cluster.links[i];
    const bool last = i + 1 == cluster.links.size() || link.domain >= group.span;
    double inside = ranks;
    if (!last) {
      const double per_rank = static_cast<double>(group.span) / ranks;
      inside = std::clamp(std::floor(static_cast<double>(link.domain) / per_rank), reached, ranks);
    }
    if (inside > reached) visit(LevelParts{&link, inside / reached}, reached);
    reached = inside;
    if (last) return;
  }
}

double latency(const LevelParts& level) {
  return std::ceil(std::log2(level.parts)) * level.link->latency_s;
}

}  // namespace

double all_reduce_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          double bytes) {
  if (group.ranks <= 1) return 0;
  double seconds = constants.collective_s;
  over_levels(cluster, group, [&](const LevelParts& level, double inner) {
    const double share = bytes / inner;
    seconds +=
        2 * (level.parts - 1) / level.parts * share / (level.link->bytes_per_s * constants.link) +
        2 * latency(level);
  });
  return seconds;
}

double all_gather_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          double bytes) {
  if (group.ranks <= 1) return 0;
  double seconds = constants.collective_s;
  over_levels(cluster, group, [&](const LevelParts& level, double inner) {
    // Outward first: what has been gathered inside need not cross the outer link again.
    const double share = bytes / inner;
    seconds +=
        (level.parts - 1) / level.parts * share / (level.link->bytes_per_s * constants.link) +
        latency(level);
  });
  return seconds;
}

double send_seconds(const ClusterSpec& cluster, const CostConstants& constants, std::int64_t span,
                    double bytes) {
  const LinkLevel& link = cluster.links[cluster.level_of(span)];
  return link.latency_s + bytes / (link.bytes_per_s * constants.link);
}

double all_to_all_seconds(const ClusterSpec& cluster, const CostConstants& constants, Group group,
                          const Exchange& exchange) {
  if (group.ranks <= 1 || exchange.rows <= 0) return 0;
  const auto ranks = static_cast<double>(group.ranks);
  // Different homes that a row's picks fall on, and the part of them that is not its own rank.
  const double homes = exchange.homes * (1 - std::pow(1 - 1 / exchange.homes, exchange.picks));
  const double copies = homes * exchange.shards;
  double slowest = 0;
  double seconds = constants.collective_s;
  over_levels(cluster, group, [&](const LevelParts& level, double inner) {
    const double outside = ranks / (inner * level.parts);  // domains of this level
    // Copies that arrive over this level: all of them on the innermost, else one for each domain.
    double crossing = copies * (level.parts - 1) / level.parts;
    if (inner > 1) {
      const double parts = std::min(level.parts * outside, exchange.homes);
      const double reached = parts * (1 - std::pow(1 - 1 / parts, exchange.picks));
      // A home cut into shards lies in one domain unless it is larger than the domain.
      const double spread = std::max(1.0, exchange.shards / inner);
      crossing = std::min(copies, reached * spread) * (level.parts - 1) / level.parts;
    }
    slowest = std::max(slowest, exchange.rows * exchange.row_bytes * crossing /
                                    (level.link->bytes_per_s * constants.link));
    seconds += latency(level);
  });
  return seconds + slowest;
}

}  // namespace pentafold
