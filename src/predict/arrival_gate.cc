#include "predict/arrival_gate.h"

#include <algorithm>
#include <cmath>

namespace pentafold {

ArrivalGate balanced_gate(std::int64_t steps, std::int64_t groups) {
  double harmonic = 0;
  for (std::int64_t n = 1; n <= groups; ++n) harmonic += 1 / static_cast<double>(n);
  ArrivalGate gate;
  gate.every = steps;
  gate.every_few = steps;
  gate.enough = std::llround(static_cast<double>(groups) * harmonic);
  gate.after_prompts = false;
  return gate;
}

bool ArrivalClock::opens(std::int64_t running, std::int64_t waiting) {
  const bool many = gate_.enough > 0 && waiting >= gate_.enough;
  if (running > 0 && !due_ && !many && since_ < gate_.interval(running)) return false;
  since_ = 0;
  due_ = false;
  return true;
}

std::int64_t ArrivalClock::steps_to_opening(std::int64_t running, std::int64_t waiting,
                                            std::int64_t least) const {
  if (due_ || (gate_.enough > 0 && waiting >= gate_.enough)) return least;
  const std::int64_t interval = std::max<std::int64_t>(gate_.interval(running), 1);
  return (since_ + least + interval - 1) / interval * interval - since_;
}

void ArrivalClock::decoded(std::int64_t steps, std::int64_t running) {
  const std::int64_t interval = std::max<std::int64_t>(gate_.interval(running), 1);
  since_ = (since_ + steps - 1) % interval + 1;
}

void ArrivalClock::computed_prompts() {
  since_ = 0;
  due_ = gate_.after_prompts;
}

}  // namespace pentafold
