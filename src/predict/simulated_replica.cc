#include "predict/simulated_replica.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace pentafold {

// Until now everything was as it is noted; a run's KV blocks grow evenly.
void SimulatedReplica::account(double now) {
  const LoadLevel level{static_cast<double>(batcher_.waiting() + std::ssize(outside_)),
                        static_cast<double>(batcher_.running()), blocks_now_,
                        in_step() ? 1.0 : 0.0};
  const double growth = blocks_per_s_ * (now - accounted_s_);
  notes_.series.add(accounted_s_, now, level, growth);
  blocks_now_ += growth;
  accounted_s_ = now;
}

void SimulatedReplica::add(NewSequence sequence, double now) {
  account(now);
  if (pool_.gate.always_open()) {
    enter(std::move(sequence));
  } else {
    outside_.push_back(std::move(sequence));
  }
}

void SimulatedReplica::let_in() {
  if (pool_.gate.always_open()) return;
  if (!clock_.opens(batcher_.running(), std::ssize(outside_))) return;
  for (NewSequence& sequence : outside_) enter(std::move(sequence));
  outside_.clear();
}

void SimulatedReplica::enter(NewSequence sequence) {
  const auto index = static_cast<std::size_t>(sequence.id);
  const auto slot = batcher_.add(std::move(sequence));
  CHECK(slot.has_value(), "asked for with fits()");
  const auto at = static_cast<std::size_t>(*slot);
  if (last_token_s_.size() <= at) last_token_s_.resize(at + 1);
  last_token_s_[at] = notes_.outcomes[index].first_token_s;
}

void SimulatedReplica::start(double now, bool jump) {
  CHECK(can_start());
  account(now);
  start_s_ = now;
  let_in();
  steps_ = batcher_.decode_run();
  if (!outside_.empty() && steps_ > 1) {
    steps_ = std::min(steps_, clock_.steps_to_opening(batcher_.running(), std::ssize(outside_), 1));
  }
  double seconds = 0;
  if (steps_ > 0) {
    if (!jump) steps_ = 1;
    step_ = nullptr;
    load_run();
    seconds = pool_.price.decode_steps(load_, steps_);
  } else {
    steps_ = 1;
    step_ = &batcher_.next();
    note_admissions(*step_);
    load_step(*step_);
    seconds = pool_.price.step(load_) +
              pool_.price.swap_block_s * static_cast<double>(step_->swapped_blocks);
  }
  CHECK(std::isfinite(seconds) && seconds >= 0, "the price of a step");
  end_s_ = now + seconds;
  blocks_now_ = static_cast<double>(batcher_.used_blocks());
  const double tokens = static_cast<double>(batcher_.running() * steps_);
  const bool grows =
      step_ == nullptr && seconds > 0 && pool_.limits.preemption != Preemption::Never;
  blocks_per_s_ = grows ? tokens / static_cast<double>(pool_.limits.block_tokens) / seconds : 0;
}

void SimulatedReplica::load_run() {
  load_.groups.resize(static_cast<std::size_t>(pool_.limits.groups));
  for (std::size_t g = 0; g < load_.groups.size(); ++g) {
    GroupLoad& group = load_.groups[g];
    const auto running = batcher_.running_in(static_cast<std::int64_t>(g));
    group.decodes = std::ssize(running);
    group.decode_context = 0;
    group.prompts.clear();
    group.finished_prompts = 0;
    for (const std::int32_t slot : running) {
      group.decode_context += static_cast<double>(batcher_.at(slot).computed);
    }
  }
}

void SimulatedReplica::load_step(const BatchStep& step) {
  load_.groups.resize(static_cast<std::size_t>(pool_.limits.groups));
  for (GroupLoad& group : load_.groups) {
    group.decodes = 0;
    group.decode_context = 0;
    group.prompts.clear();
    group.finished_prompts = 0;
  }
  for (const StepPart& part : step.parts) {
    GroupLoad& group = load_.groups[static_cast<std::size_t>(batcher_.at(part.slot).group)];
    if (part.decode) {
      ++group.decodes;
      group.decode_context += static_cast<double>(part.start);
    } else {
      group.prompts.push_back({part.start, part.tokens});
      if (part.samples) ++group.finished_prompts;
    }
  }
}

void SimulatedReplica::note_admissions(const BatchStep& step) {
  for (const std::int32_t slot : step.admitted) {
    RequestOutcome& mine = outcome(slot);
    if (mine.scheduled_s >= 0) continue;
    mine.scheduled_s = start_s_;
    mine.shared = static_cast<std::int32_t>(batcher_.at(slot).shared);
  }
  for (const std::int32_t slot : step.preempted) ++outcome(slot).preemptions;
}

// Step boundaries are at start + decode_steps(load, k): the first k whose boundary is not before
// now, then the first at which the gate opens. Prices grow almost evenly with k, so the search aims
// before it halves.
bool SimulatedReplica::cut(double now) {
  if (step_ != nullptr || steps_ <= 1) return false;
  if (outside_.empty() && !batcher_.can_admit()) return false;
  std::int64_t low = 0;
  std::int64_t high = steps_;
  double low_s = start_s_;
  double high_s = end_s_;
  for (int tries = 0; high - low > 1; ++tries) {
    const double aim = high_s > low_s ? (now - low_s) / (high_s - low_s) : 0;
    const auto aimed = low + static_cast<std::int64_t>(aim * static_cast<double>(high - low));
    const std::int64_t middle =
        std::clamp(tries % 3 == 2 ? low + (high - low) / 2 : aimed, low + 1, high - 1);
    const double boundary = start_s_ + pool_.price.decode_steps(load_, middle);
    if (boundary >= now) {
      high = middle;
      high_s = boundary;
    } else {
      low = middle;
      low_s = boundary;
    }
  }
  const std::int64_t opens =
      outside_.empty() ? high
                       : clock_.steps_to_opening(batcher_.running(), std::ssize(outside_), high);
  if (opens >= steps_) return false;
  steps_ = opens;
  end_s_ = opens == high ? high_s : start_s_ + pool_.price.decode_steps(load_, opens);
  return true;
}

void SimulatedReplica::end(std::vector<std::int64_t>& done) {
  account(end_s_);
  busy_s_ += end_s_ - start_s_;
  all_steps_ += steps_;
  ended_.clear();
  const bool prompts = std::ranges::any_of(
      load_.groups, [](const GroupLoad& group) { return !group.prompts.empty(); });
  if (prompts) {
    clock_.computed_prompts();
  } else {
    clock_.decoded(steps_, batcher_.running());
  }
  if (step_ != nullptr) {
    end_step();
  } else {
    end_run();
  }
  steps_ = 0;
  blocks_per_s_ = 0;
  peak_blocks_ = std::max(peak_blocks_, batcher_.used_blocks());
  for (const std::int32_t slot : ended_) {
    done.push_back(batcher_.at(slot).id);
    batcher_.finish(slot);
  }
  blocks_now_ = static_cast<double>(batcher_.used_blocks());
}

void SimulatedReplica::note_token(std::int32_t slot) {
  double& last = last_token_s_[static_cast<std::size_t>(slot)];
  if (batcher_.at(slot).generated > 0) {
    notes_.gaps.add(end_s_ - last, 1);
  } else {
    outcome(slot).first_token_s = end_s_;
  }
  last = end_s_;
}

void SimulatedReplica::end_step() {
  for (const StepPart& part : step_->parts) {
    if (!part.samples) continue;
    note_token(part.slot);
    if (batcher_.token(part.slot)) ended_.push_back(part.slot);
  }
}

// The first gap of each sequence reaches back to before the run; the others are as long as the
// run's steps on average.
void SimulatedReplica::end_run() {
  const double first = steps_ == 1 ? end_s_ : start_s_ + pool_.price.decode_steps(load_, 1);
  if (steps_ > 1) {
    notes_.gaps.add((end_s_ - first) / static_cast<double>(steps_ - 1),
                    (steps_ - 1) * batcher_.running());
  }
  batcher_.advance(steps_);
  for (std::int64_t g = 0; g < pool_.limits.groups; ++g) {
    for (const std::int32_t slot : batcher_.running_in(g)) {
      double& last = last_token_s_[static_cast<std::size_t>(slot)];
      notes_.gaps.add(first - last, 1);
      last = end_s_;
      if (batcher_.at(slot).generated >= batcher_.at(slot).max_output) ended_.push_back(slot);
    }
  }
}

}  // namespace pentafold
