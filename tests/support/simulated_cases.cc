#include "support/simulated_cases.h"

#include <gtest/gtest.h>

#include <random>

namespace pentafold {
namespace {

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

}  // namespace

double price_step(const StepLoad& load) {
  return ticks_of(load) * kTick;
}

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

namespace {

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

}  // namespace

SimulatedCase random_simulated_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  SimulatedCase c;
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
  c.service.serving = random_pool(random);
  if (random() % 2) c.service.serving.admission_s = 64 * kTick;
  if (random() % 2) c.service.serving.prompt_token_s = 8 * kTick;
  if (random() % 3 == 0) {
    c.service.decode = random_pool(random);
    c.service.transfer_s = [](std::int64_t tokens) {
      return static_cast<double>(tokens) * 16 * kTick;
    };
  }
  if (random() % 3 == 0) {
    c.service.serving.gate.every = 1 + random() % 20;
    c.service.serving.gate.every_few = 1 + random() % 8;
    c.service.serving.gate.enough = random() % 2 ? 1 + random() % 6 : 0;
    c.service.serving.gate.after_prompts = random() % 2;
  }
  return c;
}

void expect_equal_outcomes(const RequestOutcome& a, const RequestOutcome& b,
                           const std::string& where) {
  EXPECT_EQ(a.arrival_s, b.arrival_s) << where;
  EXPECT_EQ(a.scheduled_s, b.scheduled_s) << where;
  EXPECT_EQ(a.first_token_s, b.first_token_s) << where;
  EXPECT_EQ(a.finish_s, b.finish_s) << where;
  EXPECT_EQ(a.preemptions, b.preemptions) << where;
  EXPECT_EQ(a.shared, b.shared) << where;
  EXPECT_EQ(a.replica, b.replica) << where;
  EXPECT_EQ(a.rejected, b.rejected) << where;
}

}  // namespace pentafold
