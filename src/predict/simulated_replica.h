// SimulatedReplica: one replica of a simulation: a batcher, the step it is in, and what it notes
// about the requests it serves.
//
// It knows no other replica and no future: simulate.cc tells it when to begin, to end, or to stop a
// run of decode steps short because somebody came.
// Cost: O(running) a step or run. Held by predict/simulate_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/batching.h"
#include "predict/simulate.h"

namespace pentafold {

// Where a replica writes; shared by all of a pool or simulation, and outlives them.
struct SimulationNotes {
  std::vector<RequestOutcome>& outcomes;
  GapHistogram& gaps;
  LoadSeries& series;
};

class SimulatedReplica {
 public:
  // `pool` must outlive it.
  SimulatedReplica(const ReplicaPool& pool, const SimulationNotes& notes)
      : pool_(pool), notes_(notes), batcher_(pool.limits), clock_(pool.gate) {}

  bool fits(std::int64_t prompt, std::int64_t output) const {
    return batcher_.fits(prompt, output);
  }
  std::int64_t cached_tokens(std::span<const std::uint64_t> hashes) const {
    return batcher_.cached_tokens(hashes);
  }

  // sequence.id: its index in the outcomes. It must fit.
  void add(NewSequence sequence, double now);
  bool in_step() const { return steps_ > 0; }
  bool can_start() const { return !in_step() && (!batcher_.idle() || !outside_.empty()); }
  // Begins the next step, or with `jump` all decode steps until something may change.
  void start(double now, bool jump);
  // Once there is someone new whom the next step may admit: ends the run at the first step boundary
  // that is not before `now`. True if that changed end_s.
  bool cut(double now);
  // The step or run is over: appends the ids of the sequences that are done.
  void end(std::vector<std::int64_t>& done);

  double start_s() const { return start_s_; }
  double end_s() const { return end_s_; }
  std::int64_t steps() const { return steps_; }
  const StepLoad& load() const { return load_; }
  std::int64_t all_steps() const { return all_steps_; }
  double busy_s() const { return busy_s_; }
  std::int64_t peak_blocks() const { return peak_blocks_; }

 private:
  void account(double now);
  void enter(NewSequence sequence);
  void let_in();
  void load_step(const BatchStep& step);
  void load_run();
  void note_admissions(const BatchStep& step);
  void note_token(std::int32_t slot);
  void end_step();
  void end_run();
  RequestOutcome& outcome(std::int32_t slot) {
    return notes_.outcomes[static_cast<std::size_t>(batcher_.at(slot).id)];
  }

  const ReplicaPool& pool_;
  SimulationNotes notes_;
  Batcher batcher_;
  ArrivalClock clock_;
  std::vector<NewSequence> outside_;  // not seen by the batcher yet
  const BatchStep* step_ = nullptr;   // what it is in; none: a run of decode steps
  std::int64_t steps_ = 0;            // of it; 0: between steps
  double start_s_ = 0;
  double end_s_ = 0;
  StepLoad load_;
  std::vector<double> last_token_s_;  // by slot
  std::vector<std::int32_t> ended_;   // slots
  double accounted_s_ = 0;
  double blocks_now_ = 0;    // referenced, with a run's growth until accounted_s_
  double blocks_per_s_ = 0;  // growth in this run
  std::int64_t all_steps_ = 0;
  double busy_s_ = 0;
  std::int64_t peak_blocks_ = 0;
};

}  // namespace pentafold
