#include "policy/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace pentafold {
namespace {

struct Workload {
  SchedulerLimits limits;
  std::vector<Request> requests;
};

Workload random_workload(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto upto = [&](std::int64_t n) {
    return 1 + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(n));
  };
  Workload w;
  w.limits.groups = upto(4);
  w.limits.blocks_per_group = 4 + upto(8);
  w.limits.max_batch = upto(6);
  w.limits.prefill_chunk = upto(40);
  w.limits.microbatches = upto(4);
  for (std::int64_t i = 0; i < 12; ++i) {
    Request request;
    request.id = RequestId((i * 7) % 12);  // submitted out of order of their ids
    request.prompt.resize(static_cast<std::size_t>(upto(50)));
    for (auto& token : request.prompt) token = static_cast<std::int32_t>(random() % 100);
    request.max_tokens = upto(12);
    if (i % 3 == 0) request.stop_ids = {3};
    w.requests.push_back(std::move(request));
  }
  return w;
}

// Stands for the model: which token follows is a function of the request and position alone.
std::int32_t token_at(RequestId request, std::int64_t position) {
  return static_cast<std::int32_t>((request.value * 31 + position * 17) % 10);
}

struct Schedule {
  std::vector<StepBatch> steps;
  std::map<RequestId, std::vector<std::int32_t>> answers;
};

// Runs a workload to its end, checking `look` before the tokens of each step are accepted.
template <class Look>
Schedule run_all(const Workload& w, const Look& look) {
  Scheduler scheduler(w.limits);
  for (const Request& request : w.requests) {
    const Status added = scheduler.add(request);
    EXPECT_TRUE(added.ok());
  }
  Schedule run;
  while (!scheduler.done() && run.steps.size() < 10000) {
    StepBatch batch = scheduler.next();
    look(batch);
    for (const Segment& s : batch.segments) {
      if (!s.samples) continue;
      const auto position = s.start + static_cast<std::int64_t>(s.tokens.size());
      run.answers[s.request].push_back(token_at(s.request, position));
      scheduler.accept(s.request, run.answers[s.request].back());
    }
    run.steps.push_back(std::move(batch));
  }
  EXPECT_TRUE(scheduler.done()) << "starved";
  return run;
}

constexpr std::uint32_t kSeeds = 200;

// Every request ends, with as many tokens as it asked for or at its first stop token.
TEST(Scheduler, RequestsAreConservedAndNoneStarves) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Workload w = random_workload(seed);
    const Schedule run = run_all(w, [](const StepBatch&) {});
    EXPECT_EQ(run.answers.size(), w.requests.size());
    for (const Request& request : w.requests) {
      std::vector<std::int32_t> wanted;
      for (std::int64_t i = 0; i < request.max_tokens; ++i) {
        const auto position = static_cast<std::int64_t>(request.prompt.size()) + i;
        wanted.push_back(token_at(request.id, position));
        const auto& stops = request.stop_ids;
        if (std::find(stops.begin(), stops.end(), wanted.back()) != stops.end()) break;
      }
      EXPECT_EQ(run.answers.at(request.id), wanted) << "seed " << seed;
    }
  }
}

// Fed tokens are the prompt, then the answers, each position once and in order.
TEST(Scheduler, EveryPositionIsFedOnceInOrder) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Workload w = random_workload(seed);
    std::map<RequestId, std::vector<std::int32_t>> fed;
    const Schedule run = run_all(w, [&](const StepBatch& batch) {
      for (const Segment& s : batch.segments) {
        auto& tokens = fed[s.request];
        EXPECT_EQ(s.start, std::ssize(tokens));
        tokens.insert(tokens.end(), s.tokens.begin(), s.tokens.end());
      }
    });
    for (const Request& request : w.requests) {
      std::vector<std::int32_t> wanted = request.prompt;
      const auto& answer = run.answers.at(request.id);
      wanted.insert(wanted.end(), answer.begin(), answer.end() - 1);
      EXPECT_EQ(fed.at(request.id), wanted) << "seed " << seed;
    }
  }
}

TEST(Scheduler, BlocksAreNeverSharedAndEnough) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Workload w = random_workload(seed);
    std::map<RequestId, std::vector<std::int32_t>> first_blocks;
    run_all(w, [&](const StepBatch& batch) {
      std::set<std::pair<std::int64_t, std::int32_t>> taken;
      for (const Segment& s : batch.segments) {
        EXPECT_TRUE((Range{0, w.limits.groups}.contains(s.group)));
        for (const std::int32_t block : *s.blocks) {
          EXPECT_TRUE((Range{0, w.limits.blocks_per_group}.contains(block)));
          EXPECT_TRUE(taken.emplace(s.group, block).second) << "seed " << seed;
        }
        const auto end = s.start + static_cast<std::int64_t>(s.tokens.size());
        EXPECT_GE(std::ssize(*s.blocks) * kBlockTokens, end);
        const auto [at, fresh] = first_blocks.emplace(s.request, *s.blocks);
        EXPECT_EQ(at->second, *s.blocks) << "blocks moved while the request runs";
      }
    });
  }
}

// A request that is still running but not in this step keeps its blocks too: prefill steps leave
// decoding requests out.
TEST(Scheduler, AWaitingDecodeKeepsItsBlocks) {
  Scheduler scheduler({1, 4, 8, 16, 1});
  const auto request = [](int id, std::size_t prompt) {
    return Request{RequestId(id), std::vector<std::int32_t>(prompt, 1), 4, {}};
  };
  ASSERT_TRUE(scheduler.add(request(0, 10)).ok());
  const StepBatch first = scheduler.next();
  scheduler.accept(RequestId(0), 5);
  ASSERT_TRUE(scheduler.add(request(1, 40)).ok());
  const StepBatch second = scheduler.next();
  ASSERT_EQ(second.segments.size(), 1U);
  EXPECT_EQ(second.segments[0].request, RequestId(1));
  for (const std::int32_t block : *second.segments[0].blocks) {
    EXPECT_EQ(std::count(first.segments[0].blocks->begin(), first.segments[0].blocks->end(), block),
              0);
  }
}

// After all of it has run, the whole pool serves one request again: nothing leaked.
TEST(Scheduler, BlocksAreNotLeaked) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const Workload w = random_workload(seed);
    Scheduler scheduler(w.limits);
    for (int again = 0; again < 3; ++again) {
      for (const Request& request : w.requests) ASSERT_TRUE(scheduler.add(request).ok());
      for (std::int64_t g = 0; g < w.limits.groups; ++g) {
        Request all;
        all.id = RequestId(100 + g);
        all.prompt.assign(1, 1);
        all.max_tokens = w.limits.blocks_per_group * kBlockTokens - 1;
        all.stop_ids = {token_at(all.id, 1)};
        ASSERT_TRUE(scheduler.add(all).ok());
      }
      std::int64_t steps = 0;
      while (!scheduler.done()) {
        ASSERT_LT(++steps, 10000);
        for (const Segment& s : scheduler.next().segments) {
          const auto position = s.start + static_cast<std::int64_t>(s.tokens.size());
          if (s.samples) scheduler.accept(s.request, token_at(s.request, position));
        }
      }
    }
  }
}

TEST(Scheduler, StepsKeepTheirForm) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Workload w = random_workload(seed);
    std::int64_t number = 0;
    run_all(w, [&](const StepBatch& batch) {
      EXPECT_EQ(batch.number, number++);
      EXPECT_LE(std::ssize(batch.segments), w.limits.max_batch);
      ASSERT_FALSE(batch.segments.empty());
      std::int64_t tokens = 0;
      for (std::size_t i = 0; i < batch.segments.size(); ++i) {
        const Segment& s = batch.segments[i];
        if (i > 0) {
          EXPECT_LT(batch.segments[i - 1].request, s.request);
        }
        const auto count = static_cast<std::int64_t>(s.tokens.size());
        tokens += count;
        EXPECT_GE(count, 1);
        EXPECT_LE(count, batch.phase == Phase::Prefill ? w.limits.prefill_chunk : 1);
        EXPECT_TRUE(batch.phase == Phase::Prefill || s.samples);
      }
      EXPECT_EQ(batch.tokens, tokens);
      EXPECT_LE(std::ssize(batch.microbatches), w.limits.microbatches);
      std::int64_t next = 0;
      for (const Range& part : batch.microbatches) {
        EXPECT_EQ(part.begin, next);
        EXPECT_FALSE(part.empty());
        next = part.end;
      }
      EXPECT_EQ(next, std::ssize(batch.segments));
    });
  }
}

TEST(Scheduler, LimitsDecideAloneAndTheyComeFromDpAlone) {
  Plan narrow;
  narrow.stages.resize(2);
  for (StagePlan& stage : narrow.stages) stage.dp = 2;
  Plan wide = narrow;
  wide.stages.resize(3);
  wide.stages[0].tp = 4;
  wide.stages[1].sp = 2;
  wide.stages[2].dp = 1;
  wide.stages[2].ep = 2;
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    Workload a = random_workload(seed);
    Workload b = a;
    a.limits = scheduler_limits(narrow, 12);
    b.limits = scheduler_limits(wide, 12);
    const Schedule one = run_all(a, [](const StepBatch&) {});
    const Schedule two = run_all(b, [](const StepBatch&) {});
    ASSERT_EQ(one.steps.size(), two.steps.size());
    for (std::size_t i = 0; i < one.steps.size(); ++i) {
      ASSERT_EQ(one.steps[i].segments.size(), two.steps[i].segments.size());
      EXPECT_EQ(one.steps[i].microbatches, two.steps[i].microbatches);
      for (std::size_t s = 0; s < one.steps[i].segments.size(); ++s) {
        const Segment& x = one.steps[i].segments[s];
        const Segment& y = two.steps[i].segments[s];
        EXPECT_EQ(x.request, y.request);
        EXPECT_EQ(x.group, y.group);
        EXPECT_EQ(x.tokens, y.tokens);
        EXPECT_EQ(*x.blocks, *y.blocks);
      }
    }
  }
  wide.stages[2].dp = 3;
  EXPECT_EQ(scheduler_limits(wide, 12).groups, 6);
}

TEST(Scheduler, GroupsAreTakenRoundRobin) {
  const Workload w = random_workload(3);
  std::map<RequestId, std::int64_t> group;
  run_all(w, [&](const StepBatch& batch) {
    for (const Segment& s : batch.segments) group[s.request] = s.group;
  });
  for (std::size_t i = 0; i < w.requests.size(); ++i) {
    EXPECT_EQ(group.at(w.requests[i].id), static_cast<std::int64_t>(i) % w.limits.groups);
  }
}

TEST(Scheduler, ARequestThatCanNeverFitIsRefused) {
  Scheduler scheduler({1, 4, 8, 16, 1});
  const Request fits{RequestId(0), std::vector<std::int32_t>(60, 1), 4, {}};
  const Request larger{RequestId(1), std::vector<std::int32_t>(60, 1), 5, {}};
  EXPECT_TRUE(scheduler.add(fits).ok());
  const Status refused = scheduler.add(larger);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::OutOfMemory);
}

}  // namespace
}  // namespace pentafold
