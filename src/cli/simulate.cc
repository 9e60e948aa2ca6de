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

// What ranks do in their steps. Pricing a step in parts costs as much as the simulation's own
// price, so of many steps only every eighth is; the parts are those of the time it took.
class TimeMeter {
 public:
  explicit TimeMeter(const SimulationCase& asked)
      : asked_(asked), parts_(asked.plan.pools.size()) {}

  void add(const StepRun& run) {
    ++count_;
    if (count_ > kAll && count_ % kEvery != 0) return;
    const auto pool = static_cast<std::size_t>(run.pool);
    const Cost cost = asked_.served.pricers[pool].cost(*run.load);
    if (!(cost.seconds > 0)) return;
    const double scale = (run.end_s - run.start_s) / cost.seconds;
    const auto by = [&](Bound bound) { return cost.by[static_cast<std::size_t>(bound)]; };
    const double talk = by(Bound::Link) + by(Bound::Latency);
    parts_[pool].communication += talk * scale;
    parts_[pool].bubble += by(Bound::Bubble) * scale;
    parts_[pool].compute += (cost.seconds - talk - by(Bound::Bubble)) * scale;
    error_s_ += cost.error_s * scale;
    priced_s_ += cost.seconds * scale;
  }

  double step_factor() const {
    return priced_s_ > 0 ? std::exp(kTogether * error_s_ / priced_s_) : 1;
  }

  // Scaled to the time that the pools were really busy.
  std::vector<PoolTime> times(const Simulation& found) const {
    std::vector<PoolTime> out = parts_;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double seen = out[i].total();
      const double busy = found.pools[i].busy_share;
      const double scale = seen > 0 ? busy / seen : 0;
      for (double* part : {&out[i].compute, &out[i].communication, &out[i].bubble}) {
        *part *= scale;
      }
      out[i].idle = 1 - busy;
    }
    return out;
  }

 private:
  static constexpr std::int64_t kAll = 20'000;
  static constexpr std::int64_t kEvery = 8;
  // Errors of several operators partly cancel: half of their sum stands for all, as in predict.
  static constexpr double kTogether = 0.5;
  const SimulationCase& asked_;
  std::vector<PoolTime> parts_;
  double error_s_ = 0;
  double priced_s_ = 0;
  std::int64_t count_ = 0;
};

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
  TimeMeter meter(*asked);
  Progress progress;
  SimulationOptions how;
  how.targets = asked->slo;
  how.bucket_s = bucket_s(asked->arriving.trace);
  how.on_run = [&](const StepRun& run) {
    meter.add(run);
    progress.add(run.end_s);
    if (timeline) timeline->add(run);
  };
  const Simulation found = simulate(asked->arriving.trace, asked->served.service, how);
  if (timeline) PF_TRY(timeline->finish(found));
  const SimulationAnswer answer{*asked, found, meter.times(found), meter.step_factor()};
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
