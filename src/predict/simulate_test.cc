#include "predict/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <random>

namespace pentafold {
namespace {

// Prices are whole multiples of 2^-20 s and arrivals of 2^-12 s, so every sum of them is exact in
// any order and equality means equal bits.
constexpr double kTick = 0x1p-20;

double ticks_of(const StepLoad& load) {
  double ticks = 400;
  for (const GroupLoad& group : load.groups) {
    ticks += 3 * static_cast<double>(group.decodes) + group.decode_context;
    for (const PromptPiece& piece : group.prompts) {
      ticks += static_cast<double>(7 * piece.tokens + piece.start);
    }
  }
  return ticks;
}

double price_step(const StepLoad& load) {
  return ticks_of(load) * kTick;
}

// The sum over the steps, taken one by one.
double price_decodes(const StepLoad& load, std::int64_t steps) {
  StepLoad each = load;
  double ticks = 0;
  for (std::int64_t i = 0; i < steps; ++i) {
    ticks += ticks_of(each);
    for (GroupLoad& group : each.groups) {
      group.decode_context += static_cast<double>(group.decodes);
    }
  }
  return ticks * kTick;
}

struct Case {
  Trace trace;
  Deployment deployment;
};

ReplicaPool random_pool(std::mt19937& random) {
  const auto upto = [&](std::int64_t n) {
    return 1 + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(n));
  };
  ReplicaPool pool;
  pool.replicas = upto(3);
  pool.price = {price_step, price_decodes, 100 * kTick};
  pool.limits.groups = upto(3);
  pool.limits.block_tokens = upto(5);
  pool.limits.blocks_per_group = 60 / pool.limits.block_tokens + upto(30);
  if (random() % 2) pool.limits.max_group_sequences = upto(5);
  if (random() % 2) pool.limits.step_tokens = upto(40);
  pool.limits.mixed_steps = random() % 2;
  pool.limits.share_prefixes = random() % 2;
  pool.limits.preemption = static_cast<Preemption>(random() % 3);
  pool.router = static_cast<RouterPolicy>(random() % 4);
  return pool;
}

Case random_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  Case c;
  c.trace.block_tokens = 8;
  double at = 0;
  for (int i = 0; i < 60; ++i) {
    TraceRequest request;
    request.arrival_s = at;
    if (random() % 4) at += static_cast<double>(random() % 200) * 0x1p-12;
    request.prompt_tokens = 1 + random() % 50;
    request.output_tokens = 1 + random() % 40;
    request.priority = random() % 5 == 0 ? 0 : 1;
    request.first_hash = c.trace.hashes.size();
    request.hash_count = static_cast<std::int32_t>(request.prompt_tokens / 8);
    const std::uint64_t family = random() % 3;
    for (std::int32_t b = 0; b < request.hash_count; ++b) {
      c.trace.hashes.push_back(family * 100 + static_cast<std::uint64_t>(b));
    }
    c.trace.requests.push_back(request);
  }
  if (random() % 3 == 0) c.trace.concurrency = 1 + random() % 12;
  c.deployment.serving = random_pool(random);
  if (random() % 2) c.deployment.serving.admission_s = 64 * kTick;
  if (random() % 2) c.deployment.serving.prompt_token_s = 8 * kTick;
  if (random() % 3 == 0) {
    c.deployment.decode = random_pool(random);
    c.deployment.transfer_s = [](std::int64_t tokens) {
      return static_cast<double>(tokens) * 16 * kTick;
    };
  }
  return c;
}

void expect_equal(const RequestOutcome& a, const RequestOutcome& b, const std::string& where) {
  EXPECT_EQ(a.arrival_s, b.arrival_s) << where;
  EXPECT_EQ(a.scheduled_s, b.scheduled_s) << where;
  EXPECT_EQ(a.first_token_s, b.first_token_s) << where;
  EXPECT_EQ(a.finish_s, b.finish_s) << where;
  EXPECT_EQ(a.preemptions, b.preemptions) << where;
  EXPECT_EQ(a.shared, b.shared) << where;
  EXPECT_EQ(a.replica, b.replica) << where;
  EXPECT_EQ(a.rejected, b.rejected) << where;
}

constexpr std::uint32_t kSeeds = 300;

TEST(Simulate, EveryRequestFinishesOrIsRejectedOnce) {
  std::int64_t rejected = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Case c = random_case(seed);
    const Simulation run = simulate(c.trace, c.deployment);
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
    const Case c = random_case(seed);
    SimulationOptions slow;
    slow.jump = false;
    std::int64_t slow_runs = 0;
    slow.on_run = [&](const StepRun&) { ++slow_runs; };
    SimulationOptions fast;
    std::int64_t fast_runs = 0;
    fast.on_run = [&](const StepRun&) { ++fast_runs; };
    const Simulation a = simulate(c.trace, c.deployment, fast);
    const Simulation b = simulate(c.trace, c.deployment, slow);
    for (std::size_t i = 0; i < a.requests.size(); ++i) {
      expect_equal(a.requests[i], b.requests[i],
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
    Case c = random_case(seed);
    c.trace.concurrency = 0;
    c.deployment.decode.reset();
    ReplicaPool& pool = c.deployment.serving;
    pool.admission_s = pool.prompt_token_s = 0;
    pool.replicas = 1;
    pool.limits.share_prefixes = false;
    const Simulation run = simulate(c.trace, c.deployment);
    const auto plain = plain_replica(c.trace, pool);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      RequestOutcome mine = run.requests[i];
      mine.replica = plain[i].replica;
      expect_equal(mine, plain[i], "seed " + std::to_string(seed));
    }
  }
}

// Replicas behind round robin do not know each other: each is a simulation of its own.
TEST(Simulate, ReplicasAreIndependent) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    Case c = random_case(seed);
    c.trace.concurrency = 0;
    c.deployment.decode.reset();
    c.deployment.serving.router = RouterPolicy::RoundRobin;
    const Simulation all = simulate(c.trace, c.deployment);
    const std::int64_t replicas = c.deployment.serving.replicas;
    Deployment one = c.deployment;
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
        expect_equal(mine, alone.requests[i], "seed " + std::to_string(seed));
      }
    }
  }
}

TEST(Simulate, OneRequestAtATimeTakesTheSumOfItsSteps) {
  Trace trace;
  for (const std::int64_t prompt : {100, 17, 64, 1}) {
    trace.requests.push_back({0, prompt, 9, 0, 0, 0});
  }
  trace.concurrency = 1;
  Deployment deployment;
  deployment.serving.price = {price_step, price_decodes, 0};
  deployment.serving.limits.blocks_per_group = 50;
  deployment.serving.limits.step_tokens = 40;
  deployment.serving.admission_s = 128 * kTick;
  const Simulation run = simulate(trace, deployment);
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
    Case c = random_case(seed);
    c.trace.concurrency = 1 + seed % 7;
    const Simulation run = simulate(c.trace, c.deployment);
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
    Case c = random_case(seed);
    c.deployment.serving.limits.preemption = Preemption::Never;
    if (c.deployment.decode) c.deployment.decode->limits.preemption = Preemption::Never;
    std::map<bool, std::int64_t> prompt_rows;
    std::map<bool, std::int64_t> decode_rows;
    for (const bool share : {false, true}) {
      c.deployment.serving.limits.share_prefixes = share;
      SimulationOptions options;
      options.on_run = [&](const StepRun& run) {
        for (const GroupLoad& group : run.load->groups) {
          decode_rows[share] += group.decodes * run.steps;
          for (const PromptPiece& piece : group.prompts) prompt_rows[share] += piece.tokens;
        }
      };
      const Simulation run = simulate(c.trace, c.deployment, options);
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
    Case c = random_case(seed);
    c.trace.concurrency = 0;
    c.deployment.decode.reset();
    c.deployment.serving.replicas = 1;
    c.deployment.serving.limits.groups = 1;
    c.deployment.serving.limits.share_prefixes = false;
    for (TraceRequest& request : c.trace.requests) {
      request.prompt_tokens = 20;
      request.output_tokens = 10;
    }
    const Simulation run = simulate(c.trace, c.deployment);
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
    const Case c = random_case(seed);
    const Simulation a = simulate(c.trace, c.deployment);
    const Simulation b = simulate(c.trace, c.deployment);
    for (std::size_t i = 0; i < a.requests.size(); ++i) {
      expect_equal(a.requests[i], b.requests[i], "seed " + std::to_string(seed));
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
  Deployment deployment;
  deployment.serving.price = {price_step, price_decodes, 0};
  deployment.serving.limits.blocks_per_group = 40;
  deployment.serving.replicas = 2;
  deployment.decode = deployment.serving;
  deployment.decode->limits.preemption = Preemption::Never;
  deployment.transfer_s = [](std::int64_t tokens) { return static_cast<double>(tokens) * 0x1p-10; };
  std::map<std::int64_t, std::int64_t> prompt_rows;
  std::map<std::int64_t, std::int64_t> decode_rows;
  SimulationOptions options;
  options.on_run = [&](const StepRun& run) {
    for (const GroupLoad& group : run.load->groups) {
      decode_rows[run.pool] += group.decodes * run.steps;
      for (const PromptPiece& piece : group.prompts) prompt_rows[run.pool] += piece.tokens;
    }
  };
  const Simulation run = simulate(trace, deployment, options);
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
    Case c = random_case(seed);
    c.deployment.decode.reset();
    c.deployment.serving.admission_s = c.deployment.serving.prompt_token_s = 0;
    SimulationOptions options;
    options.bucket_s = 0x1p-6;
    const Simulation run = simulate(c.trace, c.deployment, options);
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
