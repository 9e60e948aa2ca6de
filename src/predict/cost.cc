// Cost: seconds by what binds them (predict/step_cost.h).
#include <algorithm>

#include "predict/step_cost.h"

namespace pentafold {

const char* to_string(Bound bound) {
  switch (bound) {
    case Bound::Compute:
      return "FLOPs";
    case Bound::Hbm:
      return "memory bandwidth (weights)";
    case Bound::Kv:
      return "memory bandwidth (KV)";
    case Bound::Link:
      return "link bandwidth";
    case Bound::Latency:
      return "link latency";
    case Bound::Fixed:
      return "fixed cost of layers and steps";
    case Bound::Bubble:
      return "pipeline bubble";
  }
  return "?";
}

void Cost::add(const OpTime& time, Bound reading, double factor) {
  add(time.binding == Binding::Compute  ? Bound::Compute
      : time.binding == Binding::Memory ? reading
                                        : Bound::Fixed,
      time.seconds * factor);
  error_s += time.seconds * factor * time.log_error;
  from[static_cast<std::size_t>(time.provenance)] += time.seconds * factor;
}

void Cost::add_collective(const OpTime& time, double latency_s, double factor) {
  const double latency = std::min(time.seconds, latency_s) * factor;
  add(Bound::Latency, latency);
  add(Bound::Link, time.seconds * factor - latency);
  error_s += time.seconds * factor * time.log_error;
  from[static_cast<std::size_t>(time.provenance)] += time.seconds * factor;
}

Cost& Cost::operator+=(const Cost& other) {
  seconds += other.seconds;
  error_s += other.error_s;
  for (std::size_t i = 0; i < kBounds; ++i) by[i] += other.by[i];
  for (std::size_t i = 0; i < kProvenances; ++i) from[i] += other.from[i];
  return *this;
}

Cost Cost::operator*(double n) const {
  Cost out = *this;
  out.seconds *= n;
  out.error_s *= n;
  for (double& s : out.by) s *= n;
  for (double& s : out.from) s *= n;
  return out;
}

}  // namespace pentafold
