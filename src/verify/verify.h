// verify: can this plan work at all? Every reason why not, found without running anything.
//
// The plan is lowered to the same programs that would be executed, and these are judged: do the
// degrees fold (folding), does everything live somewhere (placement), is every parameter held
// exactly as often as the plan says (conservation), do collectives and messages pair up (matching)
// without anyone waiting for ever (deadlock), does every step read what was written (shapes), does
// it fit (fit). Replicas never talk to each other and are lowered alike: the first and the last are
// judged for all.
// Source: DESIGN section 1; deadlock by replaying the programs, which are Kahn process networks
// (Kahn 1974): if one order of steps reaches the end, all do.
// Cost: linear in ranks x steps; a second for a thousand ranks. Held by verify/verify_test.cc
// (planted faults) and tests/property/verify_property_test.cc (every legal plan passes).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/capacity.h"
#include "plan/lower.h"
#include "plan/memory.h"

namespace pentafold {

struct Finding {
  // "folding", "placement", "conservation", "matching", "deadlock", "shapes" or "fit"
  std::string check;
  Error error;  // one sentence: what, where, why, remedy
};

struct Verdict {
  std::vector<Finding> failures;
  // What follows holds once programs could be lowered (no folding or placement failure).
  std::int64_t ranks = 0;                                   // of the world
  std::int64_t steps = 0;                                   // of all programs, both phases
  std::int64_t collectives = 0;                             // among them, group exchanges
  std::int64_t messages = 0;                                // pipeline hand-overs
  std::int64_t model_parameters = 0;                        // each once
  std::int64_t held_parameters = 0;                         // over all ranks
  std::map<std::string, std::int64_t> collectives_of_rank;  // by step name, prefill, busiest rank
  std::int64_t kv_blocks = 0;  // of each scheduling group; 0: the plan does not say
  MemoryUse least_memory;      // each kind, over all ranks
  MemoryUse most_memory;
  std::int64_t least_total = 0;
  std::int64_t most_total = 0;
  // In place of the above, of the fullest rank, where the plan is for another device (it names a
  // precision) or programs could not be lowered (plan/capacity.h).
  std::optional<RankBytes> device_bytes;
  // Sentences: checks that were not made, and why.
  std::vector<std::string> not_checked;

  bool ok() const { return failures.empty(); }
};

// `plan` has its layers resolved. A plan with a precision is for another device: what it needs
// there is counted by plan/capacity.h in that precision, else as the engine here would store it.
Verdict verify(const Plan& plan, const ModelSpec& model);

// The same for given programs: those of one replica, in rank order. Fails as above when the plan
// itself does not fold.
Verdict verify_programs(const Plan& plan, const ModelSpec& model,
                        std::span<const RankProgram> programs);

// For a reader: on success what was found, on failure the sentences. Ends with a newline.
std::string format_verdict(const Verdict& verdict, const Plan& plan, const std::string& model_name);

}  // namespace pentafold
