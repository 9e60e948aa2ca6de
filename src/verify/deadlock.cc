// Deadlock: replays exchanges and messages until all ranks are done, or shows who waits for whom.
#include <fmt/format.h>

#include <algorithm>

#include "verify/replay.h"

namespace pentafold {
namespace {

class Replay {
 public:
  Replay(const Judged& judged, Phase phase, const std::vector<Itinerary>& itineraries)
      : judged_(judged),
        phase_(phase),
        itineraries_(itineraries),
        at_(itineraries.size(), 0),
        received_(itineraries.size(), 0),
        arrived_(3 * itineraries.size(), 0),
        waiting_(itineraries.size(), false) {}

  // True when every rank came to its end.
  bool run() {
    for (std::size_t i = itineraries_.size(); i > 0; --i) ready_.push_back(i - 1);
    while (!ready_.empty()) {
      const std::size_t rank = ready_.back();
      ready_.pop_back();
      while (advance(rank)) {
      }
    }
    for (std::size_t i = 0; i < itineraries_.size(); ++i) {
      if (!done(i)) return false;
    }
    return true;
  }

  // Who waits for whom, from the first rank that is stuck until the chain closes.
  std::vector<std::size_t> chain() const {
    std::vector<std::size_t> ranks;
    std::size_t rank = 0;
    while (done(rank)) ++rank;
    while (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) {
      ranks.push_back(rank);
      if (done(rank)) return ranks;
      rank = waits_for(rank);
    }
    ranks.erase(ranks.begin(), std::find(ranks.begin(), ranks.end(), rank));
    ranks.push_back(rank);
    return ranks;
  }

  std::string describe(std::size_t rank) const {
    const RankProgram& program = judged_.programs[rank];
    if (done(rank)) return fmt::format("rank {}, which has ended", program.rank.value);
    const std::size_t step = itineraries_[rank][at_[rank]].step;
    return fmt::format("rank {} at step {} ({})", program.rank.value, step,
                       step_name(program.of(phase_).steps[step]));
  }

  const RankProgram& program(std::size_t rank) const { return judged_.programs[rank]; }

 private:
  bool done(std::size_t rank) const { return at_[rank] == itineraries_[rank].size(); }
  std::size_t local(Rank rank) const {
    return static_cast<std::size_t>(rank.value - judged_.first());
  }
  const std::vector<Rank>& members(std::size_t rank, GroupKind kind) const {
    return judged_.programs[rank].of(phase_).group(kind);
  }
  // A group is known by its kind and first member.
  std::size_t arrivals(std::size_t rank, GroupKind kind) const {
    return 3 * local(members(rank, kind).front()) + static_cast<std::size_t>(kind);
  }

  // One stop further; false when the rank must wait or has ended.
  bool advance(std::size_t rank) {
    if (done(rank)) return false;
    const Communication& talk = itineraries_[rank][at_[rank]].talk;
    if (talk.exchange) return arrive(rank, talk.exchange->group);
    while (received_[rank] < talk.receives.size()) {
      std::int64_t& queued = queued_[{talk.receives[received_[rank]], judged_.programs[rank].rank}];
      if (queued == 0) {
        waiting_[rank] = true;
        return false;
      }
      --queued;
      ++received_[rank];
    }
    received_[rank] = 0;
    for (const Rank to : talk.sends) {
      ++queued_[{judged_.programs[rank].rank, to}];
      // It looks again; if it waits for somebody else, it goes back to sleep.
      if (waiting_[local(to)]) ready_.push_back(local(to));
      waiting_[local(to)] = false;
    }
    ++at_[rank];
    return true;
  }

  bool arrive(std::size_t rank, GroupKind kind) {
    std::size_t& count = arrived_[arrivals(rank, kind)];
    const std::vector<Rank>& group = members(rank, kind);
    if (++count < group.size()) return false;
    count = 0;
    for (const Rank member : group) {
      ++at_[local(member)];
      if (local(member) != rank) ready_.push_back(local(member));
    }
    return true;
  }

  std::size_t waits_for(std::size_t rank) const {
    const Communication& talk = itineraries_[rank][at_[rank]].talk;
    if (!talk.exchange) return local(talk.receives[received_[rank]]);
    const GroupKind kind = talk.exchange->group;
    for (const Rank member : members(rank, kind)) {
      const std::size_t other = local(member);
      if (done(other)) return other;
      const auto& exchange = itineraries_[other][at_[other]].talk.exchange;
      if (!exchange || exchange->group != kind) return other;
    }
    return rank;
  }

  const Judged& judged_;
  Phase phase_;
  const std::vector<Itinerary>& itineraries_;
  std::vector<std::size_t> at_;        // stops passed
  std::vector<std::size_t> received_;  // messages taken at the present stop
  std::vector<std::size_t> arrived_;   // members that wait, by group
  std::vector<bool> waiting_;          // for a message
  std::vector<std::size_t> ready_;
  std::map<std::pair<Rank, Rank>, std::int64_t> queued_;
};

}  // namespace

std::vector<Itinerary> itineraries_of(const Judged& judged, Phase phase) {
  std::vector<Itinerary> out(judged.programs.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::vector<Step>& steps = judged.programs[i].of(phase).steps;
    for (std::size_t step = 0; step < steps.size(); ++step) {
      Communication talk = communication_of(steps[step]);
      if (!talk.exchange && talk.sends.empty() && talk.receives.empty()) continue;
      out[i].push_back({step, std::move(talk)});
    }
  }
  return out;
}

void check_deadlock(const Judged& judged, Phase phase, const std::vector<Itinerary>& itineraries,
                    Findings& findings) {
  Replay replay(judged, phase, itineraries);
  if (replay.run()) return;
  const std::vector<std::size_t> chain = replay.chain();
  constexpr std::size_t kMostLinks = 9;
  std::string links;
  for (std::size_t i = 0; i < std::min(chain.size(), kMostLinks); ++i) {
    links += (i == 0 ? "" : ", which waits for ") + replay.describe(chain[i]);
  }
  if (chain.size() > kMostLinks) links += fmt::format(" and {} more", chain.size() - kMostLinks);
  findings.add(
      "deadlock", replay.program(chain.front()).place.stage,
      fmt::format("in {} nobody can go on: {}{}", to_string(phase), links, kLoweringFault));
}

}  // namespace pentafold
