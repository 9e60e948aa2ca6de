#include "execute/probe.h"

#include <algorithm>
#include <barrier>
#include <numeric>
#include <thread>

#include "base/check.h"
#include "base/patience.h"

namespace pentafold {

double lower_quartile(std::vector<double> values) {
  CHECK(!values.empty());
  const auto at = values.begin() + std::ssize(values) / 4;
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void take_turns(const std::vector<Probe>& probes, int rounds) {
  std::vector<std::vector<double>> seen(probes.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < probes.size(); ++i) seen[i].push_back(probes[i].sample());
  }
  for (std::size_t i = 0; i < probes.size(); ++i) *probes[i].result = lower_quartile(seen[i]);
}

double seconds_a_call(const std::function<void()>& body, double for_s, int least) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  for (int calls = 1;; ++calls) {
    body();
    const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
    if (calls >= least && spent >= for_s) return spent / calls;
  }
}

double on_threads(std::int64_t threads, const std::function<double(std::int64_t)>& body) {
  if (threads == 1) return body(0);
  std::vector<double> seconds(static_cast<std::size_t>(threads));
  std::barrier start(threads);
  const BusyThreads busy(threads);  // they wait for each other as ranks do
  {
    std::vector<std::jthread> running;
    for (std::int64_t t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        start.arrive_and_wait();
        seconds[static_cast<std::size_t>(t)] = body(t);
      });
    }
  }
  return std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(threads);
}

}  // namespace pentafold
