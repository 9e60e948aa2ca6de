#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "policy/scheduler.h"
#include "predict/simulate.h"
#include "support/simulated_cases.h"

namespace pentafold {
namespace {

using Shape = std::vector<std::pair<std::int64_t, std::int64_t>>;  // start, tokens; sorted

// What the server's scheduler makes of its requests, step by step.
std::vector<Shape> steps_of(Scheduler& scheduler) {
  std::vector<Shape> served;
  while (!scheduler.done()) {
    const StepBatch batch = scheduler.next();
    Shape& shape = served.emplace_back();
    for (const Segment& s : batch.segments) {
      shape.emplace_back(s.start, std::ssize(s.tokens));
      if (s.samples) scheduler.accept(s.request, 0);
    }
    std::sort(shape.begin(), shape.end());
  }
  return served;
}

// The server's scheduler and the simulation of it make the same steps.
TEST(Simulate, MakesTheStepsThatTheServerMakes) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto upto = [&](std::int64_t n) {
      return 1 + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(n));
    };
    const SchedulerLimits limits{upto(3), 5 + upto(8), upto(8), upto(40), 1};
    Scheduler scheduler(limits);
    Trace trace;
    std::map<RequestId, std::int64_t> left;
    for (std::int64_t i = 0; i < 15; ++i) {
      trace.requests.push_back({0, upto(60), upto(20), 0, 0, 0});
      const auto prompt = static_cast<std::size_t>(trace.requests.back().prompt_tokens);
      left[RequestId(i)] = trace.requests.back().output_tokens;
      ASSERT_TRUE(
          scheduler.add({RequestId(i), std::vector<std::int32_t>(prompt), left[RequestId(i)], {}})
              .ok());
    }
    const std::vector<Shape> served = steps_of(scheduler);
    Service service;
    service.serving.limits = batch_limits(limits);
    service.serving.price = {price_step, price_decodes, 0};
    SimulationOptions options;
    std::size_t step = 0;
    options.on_run = [&](const StepRun& run) {
      ASSERT_LE(step + static_cast<std::size_t>(run.steps), served.size());
      for (std::int64_t i = 0; i < run.steps; ++i, ++step) {
        Shape prompts;
        std::int64_t decodes = 0;
        double context = 0;
        for (const GroupLoad& group : run.load->groups) {
          decodes += group.decodes;
          context += group.decode_context + static_cast<double>(i * group.decodes);
          for (const PromptPiece& piece : group.prompts) {
            prompts.emplace_back(piece.start, piece.tokens);
          }
        }
        std::sort(prompts.begin(), prompts.end());
        if (decodes == 0) {
          EXPECT_EQ(prompts, served[step]) << "seed " << seed;
          continue;
        }
        EXPECT_EQ(decodes, std::ssize(served[step])) << "seed " << seed;
        for (const auto& [start, tokens] : served[step]) context -= static_cast<double>(start);
        EXPECT_EQ(context, 0) << "seed " << seed;
      }
    };
    simulate(trace, service, options);
    EXPECT_EQ(step, served.size());
  }
}

TEST(Simulate, OneRequestAtATimeTakesTheSumOfItsSteps) {
  Trace trace;
  for (const std::int64_t prompt : {100, 17, 64, 1}) {
    trace.requests.push_back({0, prompt, 9, 0, 0, 0});
  }
  trace.concurrency = 1;
  Service service;
  service.serving.price = {price_step, price_decodes, 0};
  service.serving.limits.blocks_per_group = 50;
  service.serving.limits.step_tokens = 40;
  service.serving.admission_s = 128 * kTick;
  const Simulation run = simulate(trace, service);
  double now = 0;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    EXPECT_EQ(run.requests[i].arrival_s, now) << "the next starts when one is done";
    now += 128 * kTick;
    const std::int64_t prompt = trace.requests[i].prompt_tokens;
    for (std::int64_t start = 0; start < prompt; start += 40) {
      now += price_step({{{0, 0, {{start, std::min<std::int64_t>(40, prompt - start)}}, 0}}});
    }
    EXPECT_EQ(run.requests[i].first_token_s, now);
    for (std::int64_t t = 0; t < 8; ++t) {
      now += price_step({{{1, static_cast<double>(prompt + t), {}, 0}}});
    }
    EXPECT_EQ(run.requests[i].finish_s, now);
  }
  EXPECT_EQ(run.summary.duration_s, now);
}

TEST(Simulate, ClosedLoopKeepsItsConcurrency) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.trace.concurrency = 1 + seed % 7;
    const Simulation run = simulate(c.trace, c.service);
    std::map<double, std::int64_t> change;  // requests in flight, by time
    std::int64_t served = 0;
    for (const RequestOutcome& r : run.requests) {
      if (r.rejected) continue;
      ++served;
      ++change[r.arrival_s];
      --change[r.finish_s];
    }
    std::int64_t in_flight = 0;
    std::int64_t started = 0;
    for (const auto& [time, by] : change) {
      in_flight += by;
      EXPECT_LE(in_flight, c.trace.concurrency) << "seed " << seed;
      started += std::count_if(run.requests.begin(), run.requests.end(),
                               [&](const auto& r) { return !r.rejected && r.arrival_s == time; });
      if (started < served) {
        EXPECT_EQ(in_flight, c.trace.concurrency) << "seed " << seed;
      }
    }
  }
}

// Nobody's answer depends on what is shared, and less is computed.
TEST(Simulate, PrefixSharingChangesPromptRowsAlone) {
  std::int64_t saved = 0;
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.service.serving.limits.preemption = Preemption::Never;
    if (c.service.decode) c.service.decode->limits.preemption = Preemption::Never;
    std::map<bool, std::int64_t> prompt_rows;
    std::map<bool, std::int64_t> decode_rows;
    for (const bool share : {false, true}) {
      c.service.serving.limits.share_prefixes = share;
      SimulationOptions options;
      options.on_run = [&](const StepRun& run) {
        for (const GroupLoad& group : run.load->groups) {
          decode_rows[share] += group.decodes * run.steps;
          for (const PromptPiece& piece : group.prompts) prompt_rows[share] += piece.tokens;
        }
      };
      const Simulation run = simulate(c.trace, c.service, options);
      std::int64_t shared = 0;
      for (const RequestOutcome& r : run.requests) shared += r.shared;
      EXPECT_TRUE(share || shared == 0);
      prompt_rows[share] += shared;
      if (share) saved += shared;
    }
    EXPECT_EQ(prompt_rows[true], prompt_rows[false]) << "seed " << seed;
    EXPECT_EQ(decode_rows[true], decode_rows[false]) << "seed " << seed;
  }
  EXPECT_GT(saved, 1000);
}

// Of equal priority and length on one replica with one group, who comes first is first served.
TEST(Simulate, EqualRequestsAreServedInOrder) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.trace.concurrency = 0;
    c.service.decode.reset();
    c.service.serving.replicas = 1;
    c.service.serving.limits.groups = 1;
    c.service.serving.limits.share_prefixes = false;
    for (TraceRequest& request : c.trace.requests) {
      request.prompt_tokens = 20;
      request.output_tokens = 10;
    }
    const Simulation run = simulate(c.trace, c.service);
    std::map<std::int32_t, const RequestOutcome*> before;  // by priority
    for (std::size_t i = 0; i < run.requests.size(); ++i) {
      const RequestOutcome*& last = before[c.trace.requests[i].priority];
      if (last != nullptr) {
        EXPECT_LE(last->scheduled_s, run.requests[i].scheduled_s) << "seed " << seed;
        EXPECT_LE(last->finish_s, run.requests[i].finish_s) << "seed " << seed;
      }
      last = &run.requests[i];
    }
  }
}

TEST(Simulate, EqualInputsGiveEqualBytes) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const SimulatedCase c = random_simulated_case(seed);
    const Simulation a = simulate(c.trace, c.service);
    const Simulation b = simulate(c.trace, c.service);
    for (std::size_t i = 0; i < a.requests.size(); ++i) {
      expect_equal_outcomes(a.requests[i], b.requests[i], "seed " + std::to_string(seed));
    }
    EXPECT_EQ(std::bit_cast<std::uint64_t>(a.summary.itl.mean),
              std::bit_cast<std::uint64_t>(b.summary.itl.mean));
  }
}

// The split deployment's first token is there when the cache has travelled, and its decode
// replicas never compute a prompt unless they lost one.
TEST(Simulate, SplitDeploymentsDecodeElsewhere) {
  Trace trace;
  for (int i = 0; i < 30; ++i) trace.requests.push_back({i * 0x1p-10, 50, 20, 0, 0, 0});
  Service service;
  service.serving.price = {price_step, price_decodes, 0};
  service.serving.limits.blocks_per_group = 40;
  service.serving.replicas = 2;
  service.decode = service.serving;
  service.decode->limits.preemption = Preemption::Never;
  service.transfer_s = [](std::int64_t tokens) { return static_cast<double>(tokens) * 0x1p-10; };
  std::map<std::int64_t, std::int64_t> prompt_rows;
  std::map<std::int64_t, std::int64_t> decode_rows;
  SimulationOptions options;
  options.on_run = [&](const StepRun& run) {
    for (const GroupLoad& group : run.load->groups) {
      decode_rows[run.pool] += group.decodes * run.steps;
      for (const PromptPiece& piece : group.prompts) prompt_rows[run.pool] += piece.tokens;
    }
  };
  const Simulation run = simulate(trace, service, options);
  EXPECT_EQ(prompt_rows[0], 30 * 50);
  EXPECT_EQ(decode_rows[0], 0);
  EXPECT_EQ(prompt_rows[1], 0);
  EXPECT_EQ(decode_rows[1], 30 * 19);
  for (const RequestOutcome& r : run.requests) {
    EXPECT_GE(r.first_token_s - r.scheduled_s, 50 * 0x1p-10);
    EXPECT_GE(r.decode_replica, 0);
  }
}

// The mean level of the series times its length is the time that requests spent there.
TEST(Simulate, SeriesAddUpToTheTimesOfTheRequests) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.service.decode.reset();
    c.service.serving.admission_s = c.service.serving.prompt_token_s = 0;
    SimulationOptions options;
    options.bucket_s = 0x1p-6;
    const Simulation run = simulate(c.trace, c.service, options);
    double spent = 0;
    double end = 0;
    for (const RequestOutcome& r : run.requests) {
      if (r.rejected) continue;
      spent += r.e2e();
      end = std::max(end, r.finish_s);
    }
    const LoadSeries& series = run.pools[0].series;
    const auto means = series.means();
    double sum = 0;
    double busy = 0;
    for (std::size_t i = 0; i < means.size(); ++i) {
      const double width =
          std::min(series.bucket_s(), end - static_cast<double>(i) * series.bucket_s());
      sum += (means[i].waiting + means[i].running) * width;
      busy += means[i].busy * width;
    }
    EXPECT_NEAR(sum, spent, 1e-6 * spent) << "seed " << seed;
    const double whole = run.summary.duration_s * static_cast<double>(run.pools[0].replicas);
    EXPECT_NEAR(busy, run.pools[0].busy_share * whole, 1e-6 * whole);
  }
}

}  // namespace
}  // namespace pentafold
