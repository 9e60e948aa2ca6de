#include "cli/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "base/units.h"
#include "cli/simulate_timeline.h"
#include "cli/verbs.h"

namespace pentafold {
namespace {

using Clock = std::chrono::steady_clock;

// Errors of several operators partly cancel: half of their sum stands for all, as in predict.
double step_factor(const std::vector<RankMeter>& meters) {
  constexpr double kTogether = 0.5;
  double error = 0;
  double priced = 0;
  for (const RankMeter& meter : meters) {
    error += meter.error_s();
    priced += meter.priced_s();
  }
  return priced > 0 ? std::exp(kTogether * error / priced) : 1;
}

// A line on stderr now and then, once it takes long.
class Progress {
 public:
  void add(double simulated_s) {
    if (++count_ % kLook != 0) return;
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + kEvery;
    fmt::print(stderr, "simulated {} ...\n", format_seconds(simulated_s));
  }

 private:
  static constexpr std::int64_t kLook = 4096;
  static constexpr std::chrono::seconds kEvery{5};
  std::int64_t count_ = 0;
  Clock::time_point next_ = Clock::now() + kEvery;
};

// Fine enough to see a burst; a long simulation makes its buckets wider itself.
double bucket_s(const Trace& trace) {
  constexpr double kBuckets = 240;
  constexpr double kLeast = 0.05;
  return std::max(trace.duration_s() / kBuckets, kLeast);
}

Result<int> simulate_and_print(const SimulateOptions& options) {
  PF_ASSIGN(const auto asked, simulation_case(options));
  std::optional<Timeline> timeline;
  if (!options.chrome_trace.empty()) {
    PF_ASSIGN(timeline, Timeline::create(options.chrome_trace, *asked));
  }
  std::vector<RankMeter> meters;
  for (const StepPricer& pricer : asked->served.pricers) meters.emplace_back(*asked->costs, pricer);
  Progress progress;
  SimulationOptions how;
  how.targets = asked->slo;
  how.bucket_s = bucket_s(asked->arriving.trace);
  how.on_run = [&](const StepRun& run) {
    meters[static_cast<std::size_t>(run.pool)].add(run);
    progress.add(run.end_s);
    if (timeline) timeline->add(run);
  };
  const Simulation found = simulate(asked->arriving.trace, asked->served.service, how);
  if (timeline) PF_TRY(timeline->finish(found));
  SimulationAnswer answer{*asked, found, {}, step_factor(meters)};
  for (std::size_t i = 0; i < meters.size(); ++i) {
    answer.ranks.push_back(meters[i].ranks(found.pools[i].busy_share));
  }
  if (!options.requests_out.empty()) PF_TRY(write_requests(answer, options.requests_out));
  fmt::print("{}", options.json ? simulation_json(answer) : format_simulation(answer));
  return found.summary.finished > 0 ? 0 : 1;
}

}  // namespace

int simulate_verb(const SimulateOptions& options) {
  const auto code = simulate_and_print(options);
  return code.ok() ? *code : report_error(code.error());
}

}  // namespace pentafold
