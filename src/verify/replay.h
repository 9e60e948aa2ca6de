// Replay: the programs of a replica reduced to where they talk, and the proof that the talk ends.
// Internal to src/verify.
//
// Ranks wait only in exchanges (for all members) and receives (for one message); sends do not wait.
// Such a network runs the same whatever the order in which ranks advance, so one replay that
// reaches the end proves that every run does, and one that sticks shows a true cycle.
// Microbatches repeat the program; messages keep their order, so one pass stands for all.
// Source: Kahn 1974. Cost: O(communicating steps). Held by verify/verify_test.cc.
#pragma once

#include <vector>

#include "verify/checks.h"

namespace pentafold {

struct Stop {
  std::size_t step = 0;
  Communication talk;
};
using Itinerary = std::vector<Stop>;  // of one rank

std::vector<Itinerary> itineraries_of(const Judged& judged, Phase phase);

// Requires that groups are those of the mesh and that messages pair up.
void check_deadlock(const Judged& judged, Phase phase, const std::vector<Itinerary>& itineraries,
                    Findings& findings);

}  // namespace pentafold
