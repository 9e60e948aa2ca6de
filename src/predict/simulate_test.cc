#include "predict/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/simulated_cases.h"

namespace pentafold {
namespace {

constexpr std::uint32_t kSeeds = 300;

TEST(Simulate, EveryRequestFinishesOrIsRejectedOnce) {
  std::int64_t rejected = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const SimulatedCase c = random_simulated_case(seed);
    const Simulation run = simulate(c.trace, c.service);
    ASSERT_EQ(run.requests.size(), c.trace.requests.size());
    for (const RequestOutcome& r : run.requests) {
      const std::string where = "seed " + std::to_string(seed);
      if (r.rejected) {
        ++rejected;
        EXPECT_EQ(r.finish_s, -1) << where;
        continue;
      }
      EXPECT_LE(r.arrival_s, r.scheduled_s) << where;
      EXPECT_LT(r.scheduled_s, r.first_token_s) << where;
      EXPECT_LE(r.first_token_s, r.finish_s) << where;
      EXPECT_EQ(r.output == 1, r.first_token_s == r.finish_s) << where;
    }
    const ServiceSummary& s = run.summary;
    EXPECT_EQ(s.finished + s.rejected, std::ssize(run.requests));
    std::int64_t gaps = 0;
    for (const RequestOutcome& r : run.requests) gaps += r.rejected ? 0 : r.output - 1;
    EXPECT_EQ(s.itl.n, gaps) << "one gap between any two tokens, seed " << seed;
    for (const PoolUse& use : run.pools) EXPECT_LE(use.busy_share, 1 + 1e-9);
  }
  EXPECT_GT(rejected, 50);
}

TEST(Simulate, JumpingEqualsStepByStepBitForBit) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const SimulatedCase c = random_simulated_case(seed);
    SimulationOptions slow;
    slow.jump = false;
    std::int64_t slow_runs = 0;
    slow.on_run = [&](const StepRun&) { ++slow_runs; };
    SimulationOptions fast;
    std::int64_t fast_runs = 0;
    fast.on_run = [&](const StepRun&) { ++fast_runs; };
    const Simulation a = simulate(c.trace, c.service, fast);
    const Simulation b = simulate(c.trace, c.service, slow);
    for (std::size_t i = 0; i < a.requests.size(); ++i) {
      expect_equal_outcomes(a.requests[i], b.requests[i],
                            "seed " + std::to_string(seed) + " request " + std::to_string(i));
    }
    for (std::size_t p = 0; p < a.pools.size(); ++p) {
      EXPECT_EQ(a.pools[p].steps, b.pools[p].steps) << "seed " << seed;
      EXPECT_EQ(a.pools[p].busy_share, b.pools[p].busy_share);
      EXPECT_EQ(a.pools[p].peak_kv_share, b.pools[p].peak_kv_share);
    }
    EXPECT_NEAR(a.summary.itl.mean, b.summary.itl.mean, 1e-9);
    EXPECT_LE(fast_runs, slow_runs);
  }
}

// One replica without an event queue: take who has come, make a step, look at the clock.
std::vector<RequestOutcome> plain_replica(const Trace& trace, const ReplicaPool& pool) {
  std::vector<RequestOutcome> outcomes(trace.requests.size());
  Batcher batcher(pool.limits);
  double now = 0;
  std::size_t next = 0;
  while (next < trace.requests.size() || !batcher.idle()) {
    if (batcher.idle()) now = std::max(now, trace.requests[next].arrival_s);
    while (next < trace.requests.size() && trace.requests[next].arrival_s <= now) {
      const TraceRequest& asked = trace.requests[next];
      outcomes[next].arrival_s = asked.arrival_s;
      outcomes[next].rejected = !batcher.add({static_cast<std::int64_t>(next),
                                              asked.prompt_tokens,
                                              asked.output_tokens,
                                              asked.priority,
                                              0,
                                              {}});
      ++next;
    }
    if (batcher.idle()) continue;
    const BatchStep& step = batcher.next();
    StepLoad load;
    load.groups.resize(static_cast<std::size_t>(pool.limits.groups));
    for (const StepPart& part : step.parts) {
      GroupLoad& group = load.groups[static_cast<std::size_t>(batcher.at(part.slot).group)];
      if (part.decode) {
        group.decodes += 1;
        group.decode_context += static_cast<double>(part.start);
      } else {
        group.prompts.push_back({part.start, part.tokens});
      }
    }
    const auto of = [&](std::int32_t slot) -> RequestOutcome& {
      return outcomes[static_cast<std::size_t>(batcher.at(slot).id)];
    };
    for (const std::int32_t slot : step.admitted) {
      if (of(slot).scheduled_s < 0) of(slot).scheduled_s = now;
    }
    for (const std::int32_t slot : step.preempted) ++of(slot).preemptions;
    now += price_step(load) + static_cast<double>(step.swapped_blocks) * pool.price.swap_block_s;
    for (const StepPart& part : step.parts) {
      if (!part.samples) continue;
      if (of(part.slot).first_token_s < 0) of(part.slot).first_token_s = now;
      if (!batcher.token(part.slot)) continue;
      of(part.slot).finish_s = now;
      batcher.finish(part.slot);
    }
  }
  return outcomes;
}

TEST(Simulate, EventsEqualAPlainLoopBitForBit) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.trace.concurrency = 0;
    c.service.decode.reset();
    ReplicaPool& pool = c.service.serving;
    pool.admission_s = pool.prompt_token_s = 0;
    pool.replicas = 1;
    pool.limits.share_prefixes = false;
    pool.gate = {};
    const Simulation run = simulate(c.trace, c.service);
    const auto plain = plain_replica(c.trace, pool);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      RequestOutcome mine = run.requests[i];
      mine.replica = plain[i].replica;
      expect_equal_outcomes(mine, plain[i], "seed " + std::to_string(seed));
    }
  }
}

// Replicas behind round robin do not know each other: each is a simulation of its own.
TEST(Simulate, ReplicasAreIndependent) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    SimulatedCase c = random_simulated_case(seed);
    c.trace.concurrency = 0;
    c.service.decode.reset();
    c.service.serving.router = RouterPolicy::RoundRobin;
    const Simulation all = simulate(c.trace, c.service);
    const std::int64_t replicas = c.service.serving.replicas;
    Service one = c.service;
    one.serving.replicas = 1;
    for (std::int64_t r = 0; r < replicas; ++r) {
      Trace part = c.trace;
      std::vector<std::size_t> which;
      part.requests.clear();
      for (std::size_t i = 0; i < c.trace.requests.size(); ++i) {
        if (all.requests[i].replica != r) continue;
        part.requests.push_back(c.trace.requests[i]);
        which.push_back(i);
      }
      const Simulation alone = simulate(part, one);
      for (std::size_t i = 0; i < which.size(); ++i) {
        RequestOutcome mine = all.requests[which[i]];
        mine.replica = 0;
        expect_equal_outcomes(mine, alone.requests[i], "seed " + std::to_string(seed));
      }
    }
  }
}

}  // namespace
}  // namespace pentafold
