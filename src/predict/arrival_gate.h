// ArrivalGate: when a scheduler that is busy decoding lets new requests in.
//
// A batcher would admit whoever fits in the very next step. Some engines look for arrivals only
// before every so many decode steps, to spare the work between steps (SGLang,
// managers/scheduler_recv_skipper.py: a step of prompts counts as 1000 decode steps), or hold
// prompts back until every attention dp group has one or some steps have passed, so that no group
// idles while others compute prompts (TensorRT-LLM, PyExecutor::_balance_adp_requests). Nobody
// waits for an idle engine.
// Cost: O(1). Held by predict/arrival_gate_test.cc and, in a simulation, by
// predict/simulate_service_test.cc.
#pragma once

#include <cstdint>

namespace pentafold {

inline constexpr std::int64_t kFewSequences = 12;

struct ArrivalGate {
  std::int64_t every = 1;      // decode steps between openings
  std::int64_t every_few = 1;  // with fewer than kFewSequences running
  std::int64_t enough = 0;     // so many waiting open it at once; 0: no number does
  bool after_prompts = true;   // a step of prompts opens it

  bool always_open() const { return every <= 1 && every_few <= 1; }
  std::int64_t interval(std::int64_t running) const {
    return running < kFewSequences ? every_few : every;
  }
};

// Requests, each of a group drawn at random, until every one of `groups` has one: n H(n).
ArrivalGate balanced_gate(std::int64_t steps, std::int64_t groups);

// A gate's place in its rhythm.
class ArrivalClock {
 public:
  explicit ArrivalClock(const ArrivalGate& gate) : gate_(gate) {}

  // Before a step, with so many running and so many waiting outside: whether they come in now.
  bool opens(std::int64_t running, std::int64_t waiting);
  // Decode steps until it next opens, at least `least`, if nobody else comes; call after opens().
  std::int64_t steps_to_opening(std::int64_t running, std::int64_t waiting,
                                std::int64_t least) const;
  // With so many running; it opened in vain whenever an interval was over in between.
  void decoded(std::int64_t steps, std::int64_t running);
  void computed_prompts();

 private:
  ArrivalGate gate_;
  std::int64_t since_ = 0;  // decode steps since it was open, at most an interval
  bool due_ = false;
};

}  // namespace pentafold
