// Matching: members of a group make the same exchanges in the same order, messages have a sender
// and a receiver, and hand-overs bring every row once. Then nobody waits for ever: see deadlock.cc.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "verify/checks.h"
#include "verify/replay.h"

namespace pentafold {
namespace {

constexpr std::array kKinds = {GroupKind::Tensor, GroupKind::Sequence, GroupKind::Stage};

class Matching {
 public:
  Matching(const Judged& judged, Phase phase, Findings& findings)
      : judged_(judged), phase_(phase), findings_(findings) {}

  void check() {
    for (const RankProgram& program : judged_.programs) {
      for (const GroupKind kind : kKinds) check_group(program, kind);
      check_hand_over(program);
    }
    if (failed_) return;
    const std::vector<Itinerary> itineraries = itineraries_of(judged_, phase_);
    for (const RankProgram& program : judged_.programs) {
      for (const GroupKind kind : kKinds) compare_with_leader(itineraries, program, kind);
    }
    pair_messages(itineraries);
    if (!failed_) check_deadlock(judged_, phase_, itineraries, findings_);
  }

 private:
  void fail(const RankProgram& program, const std::string& what) {
    failed_ = true;
    findings_.add(
        "matching", program.place.stage,
        fmt::format("{}: {}, {}{}", name_rank(program), to_string(phase_), what, kLoweringFault));
  }

  // The ranks that share this rank's rows, heads or stage, by the mesh.
  std::vector<Rank> expected_members(const RankProgram& program, GroupKind kind) const {
    const StagePlan& stage = judged_.stage(program);
    const PhaseMesh mesh = phase_mesh(stage, phase_);
    const PhaseCoord at = phase_coord(stage, phase_, program.place.index);
    std::vector<Rank> members;
    const auto add = [&](std::int64_t index) {
      members.push_back(
          judged_.context.mesh.rank_at(program.place.replica, program.place.stage, index));
    };
    switch (kind) {
      case GroupKind::Tensor:
        for (std::int64_t t = 0; t < mesh.tp; ++t) add(phase_index(stage, phase_, {at.d, at.s, t}));
        break;
      case GroupKind::Sequence:
        for (std::int64_t s = 0; s < mesh.sp; ++s) add(phase_index(stage, phase_, {at.d, s, at.t}));
        break;
      case GroupKind::Stage:
        for (std::int64_t i = 0; i < stage.ranks(); ++i) add(i);
        break;
    }
    return members;
  }

  void check_group(const RankProgram& program, GroupKind kind) {
    const Program& steps = program.of(phase_);
    const std::vector<Rank>& group = steps.group(kind);
    if (group != expected_members(program, kind)) {
      fail(program, fmt::format("the {} group of {} ranks is not the one of the mesh",
                                to_string(kind), group.size()));
      return;
    }
    const std::int64_t self = steps.self[static_cast<std::size_t>(kind)];
    const bool inside = self >= 0 && self < static_cast<std::int64_t>(group.size());
    if (!inside || group[static_cast<std::size_t>(self)] != program.rank) {
      fail(program,
           fmt::format("it takes itself for member {} of its {} group", self, to_string(kind)));
    }
  }

  void compare_with_leader(const std::vector<Itinerary>& itineraries, const RankProgram& program,
                           GroupKind kind) {
    const Rank leader = program.of(phase_).group(kind).front();
    if (leader == program.rank) return;
    const auto stops = [&](Rank rank) {
      std::vector<const Stop*> out;
      for (const Stop& stop : itineraries[static_cast<std::size_t>(rank.value - judged_.first())]) {
        if (stop.talk.exchange && stop.talk.exchange->group == kind) out.push_back(&stop);
      }
      return out;
    };
    const std::vector<const Stop*> mine = stops(program.rank);
    const std::vector<const Stop*> theirs = stops(leader);
    const auto& my_steps = program.of(phase_).steps;
    const auto& their_steps = judged_.of(leader).of(phase_).steps;
    for (std::size_t i = 0; i < std::min(mine.size(), theirs.size()); ++i) {
      const Step& my_step = my_steps[mine[i]->step];
      const Step& their_step = their_steps[theirs[i]->step];
      const bool same_kind = my_step.index() == their_step.index();
      if (same_kind && mine[i]->talk.exchange->terms == theirs[i]->talk.exchange->terms) continue;
      fail(program,
           fmt::format("exchange {} of its {} group is {} at step {} where rank {} has {} at step "
                       "{}{}",
                       i, to_string(kind), step_name(my_step), mine[i]->step, leader.value,
                       step_name(their_step), theirs[i]->step,
                       same_kind ? " with other sizes" : ""));
      return;
    }
    if (mine.size() == theirs.size()) return;
    fail(program, fmt::format("it makes {} exchanges in its {} group where rank {} makes {}",
                              mine.size(), to_string(kind), leader.value, theirs.size()));
  }

  void pair_messages(const std::vector<Itinerary>& itineraries) {
    std::map<std::pair<Rank, Rank>, std::int64_t> open;  // sent less received
    for (std::size_t i = 0; i < itineraries.size(); ++i) {
      const Rank me = judged_.programs[i].rank;
      for (const Stop& stop : itineraries[i]) {
        for (const Rank to : stop.talk.sends) ++open[{me, to}];
        for (const Rank from : stop.talk.receives) --open[{from, me}];
      }
    }
    for (const auto& [pair, count] : open) {
      if (count == 0) continue;
      const auto& [from, to] = pair;
      const bool known = judged_.knows(count > 0 ? from : to);
      const RankProgram& program =
          known ? judged_.of(count > 0 ? from : to) : judged_.programs.front();
      fail(program, count > 0
                        ? fmt::format("it sends rank {} {} message(s) that are never received",
                                      to.value, count)
                        : fmt::format("it waits for {} message(s) that rank {} never sends", -count,
                                      from.value));
    }
  }

  // Senders must cover the rows of the receiver: every slice of every dp group that shares requests
  // with it, once. Rows of scheduling group g belong to dp group g mod dp, on both sides.
  void check_hand_over(const RankProgram& program) {
    if (program.place.stage.value == 0 || program.of(phase_).steps.empty()) return;
    const auto* recv = std::get_if<step::Recv>(&program.of(phase_).steps.front());
    if (recv == nullptr) return;  // shapes says so
    const StagePlan& source = judged_.context.plan.stages[program.place.stage.index() - 1];
    const PhaseMesh theirs = phase_mesh(source, phase_);
    const PhaseMesh mine = phase_mesh(judged_.stage(program), phase_);
    const PhaseCoord me = phase_coord(judged_.stage(program), phase_, program.place.index);
    std::set<std::pair<std::int64_t, std::int64_t>> given;  // (d, s)
    for (const Rank from : recv->from) {
      if (!judged_.knows(from) ||
          judged_.of(from).place.stage.value + 1 != program.place.stage.value) {
        return fail(program, fmt::format("it receives rows from rank {}, which is not in the "
                                         "stage before",
                                         from.value));
      }
      const PhaseCoord at = phase_coord(source, phase_, judged_.of(from).place.index);
      if (!given.insert({at.d, at.s}).second) {
        return fail(program,
                    fmt::format("rows of dp group {} slice {} come to it twice", at.d, at.s));
      }
    }
    const std::int64_t common = std::gcd(theirs.dp, mine.dp);
    for (std::int64_t d = 0; d < theirs.dp; ++d) {
      if (d % common != me.d % common) continue;  // no scheduling group is in both
      for (std::int64_t s = 0; s < theirs.sp; ++s) {
        // Slices of the same rows; with other dp groups any slice may hold some.
        const bool apart = theirs.dp == mine.dp && ((s + 1) * mine.sp <= me.s * theirs.sp ||
                                                    s * mine.sp >= (me.s + 1) * theirs.sp);
        if (apart && theirs.sp == mine.sp) continue;
        if (!given.contains({d, s})) {
          return fail(program,
                      fmt::format("nobody sends it the rows of dp group {} slice {}", d, s));
        }
      }
    }
  }

  const Judged& judged_;
  Phase phase_;
  Findings& findings_;
  bool failed_ = false;
};

}  // namespace

void check_matching(const Judged& judged, Findings& findings) {
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    Matching(judged, phase, findings).check();
  }
}

}  // namespace pentafold
