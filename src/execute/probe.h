// Probe: something that is timed again and again in turns with others. Internal to
// execute/measure*.cc.
//
// Held by execute/measure_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace pentafold {

struct Probe {
  std::function<double()> sample;  // seconds for one unit of what it measures
  double* result = nullptr;        // gets the lower quartile
};

// Every probe once a round. The lower quartile over the rounds goes to its result: what else a
// machine does can only add to a time, so the upper half says more about others than about it.
void take_turns(const std::vector<Probe>& probes, int rounds);

double lower_quartile(std::vector<double> values);

// Seconds a call of `body` takes when it is called for about `for_s`, at least `least` times.
double seconds_a_call(const std::function<void()>& body, double for_s, int least);

// body(0) .. body(threads - 1), each in a thread, started together; the mean of what they return.
double on_threads(std::int64_t threads, const std::function<double(std::int64_t)>& body);

}  // namespace pentafold
