// Whatever one rank's transport does, at whichever call: generate() returns an Error, nobody hangs,
// and the engine goes down cleanly. Late is not broken: delays change no bit.
#include <gtest/gtest.h>

#include <array>
#include <atomic>

#include "comm/faulty.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kRanks = 4;
constexpr std::int64_t kBlocks = 8;

struct Calls {
  std::array<std::atomic<std::int64_t>, kRanks> made{};
};

struct Attempt {
  bool started = false;
  std::optional<Error> error;
  std::uint64_t logits_hash = 0;
};

// Two layers, so that every call of a short run can be tried.
ModelSpec short_model() {
  ModelSpec model = tiny_mixtral();
  model.layers.resize(2);
  return model;
}

// A prefill and two decode steps of two requests under `degrees`; rank `who` follows the script.
Attempt attempt(const Degrees& degrees, Rank who, const FaultScript& script, Calls& calls,
                milliseconds timeout) {
  const ModelSpec model = short_model();
  EngineOptions options;
  options.max_positions = 32;
  options.blocks_per_group = kBlocks;
  options.all_logits = true;
  options.timeout = timeout;
  options.hooks.wrap_communicator =
      [&](std::unique_ptr<Communicator> inner) -> std::unique_ptr<Communicator> {
    const Rank rank = inner->rank();
    const bool follows = rank == who || script.kind == FaultKind::Jitter;
    return std::make_unique<FaultyCommunicator>(std::move(inner), follows ? script : FaultScript{},
                                                &calls.made[rank.index()]);
  };
  Attempt out;
  auto engine =
      Engine::start(make_plan(degrees, model), model, WeightSource::synthetic(model), options);
  if (!engine.ok()) {
    out.error = engine.error();
    return out;
  }
  out.started = true;
  auto report = (*engine)->generate(make_requests(model, {5, 3}, 3), {}, {});
  if (!report.ok()) {
    out.error = report.error();
    // The world has ended: a second call says so instead of waiting for ranks that are gone.
    EXPECT_FALSE((*engine)->generate(make_requests(model, {2}, 1), {}, {}).ok());
    return out;
  }
  out.logits_hash = report->logits_hash;
  return out;
}

constexpr milliseconds kPatient{60'000};
constexpr Degrees kPipeline{2, 1, 1, 2, 2, 1};
constexpr Degrees kFlat{1, 1, 2, 2, 2, 2};

std::vector<std::int64_t> calls_of_a_sound_run(const Degrees& degrees) {
  Calls calls;
  const Attempt sound = attempt(degrees, Rank(0), {}, calls, kPatient);
  EXPECT_FALSE(sound.error.has_value());
  std::vector<std::int64_t> out;
  for (const auto& made : calls.made) out.push_back(made.load());
  return out;
}

// `every`: try each of that many calls (1: all of them).
void fail_at_calls(const Degrees& degrees, FaultKind kind, std::int64_t every) {
  const std::vector<std::int64_t> made = calls_of_a_sound_run(degrees);
  for (std::int64_t r = 0; r < kRanks; ++r) {
    ASSERT_GT(made[static_cast<std::size_t>(r)], 20);
    for (std::int64_t k = 0; k < made[static_cast<std::size_t>(r)]; k += every) {
      FaultScript script;
      script.kind = kind;
      script.call = k;
      Calls calls;
      const Attempt got = attempt(degrees, Rank(r), script, calls, kPatient);
      ASSERT_TRUE(got.error.has_value()) << "rank " << r << " call " << k << " went unnoticed";
      // The failure itself is reported, not one of those that it causes.
      ASSERT_EQ(got.error->code, kind == FaultKind::Fail ? ErrorCode::Io : ErrorCode::PeerLost)
          << got.error->to_string();
      ASSERT_EQ(got.started, k >= 6) << "each rank joins six groups when it starts";
    }
  }
}

TEST(Fault, AnErrorAtAnyCallOfAnyRankIsReported) {
  fail_at_calls(kPipeline, FaultKind::Fail, 1);
  fail_at_calls(kFlat, FaultKind::Fail, 1);
}

TEST(Fault, ARankThatVanishesAtAnyCallIsReported) {
  fail_at_calls(kPipeline, FaultKind::Vanish, 1);
  fail_at_calls(kFlat, FaultKind::Vanish, 3);
}

// A rank that stalls past the deadline: its peers give up, and it meets a broken world when it
// wakes. Where nobody waits for that call, the run may also succeed with the right bits.
TEST(Fault, AStallPastTheDeadlineNeverHangs) {
  const std::vector<std::int64_t> made = calls_of_a_sound_run(kPipeline);
  Calls ignored;
  const std::uint64_t wanted = attempt(kPipeline, Rank(0), {}, ignored, kPatient).logits_hash;
  int timeouts = 0;
  for (std::int64_t r = 0; r < kRanks; ++r) {
    for (std::int64_t k = 6 + r; k < made[static_cast<std::size_t>(r)]; k += 9) {
      FaultScript script;
      script.kind = FaultKind::Delay;
      script.call = k;
      script.delay = milliseconds(120);
      Calls calls;
      const Attempt got = attempt(kPipeline, Rank(r), script, calls, milliseconds(40));
      if (got.error) {
        ASSERT_EQ(got.error->code, ErrorCode::Timeout) << got.error->to_string();
        ++timeouts;
      } else {
        EXPECT_EQ(got.logits_hash, wanted);
      }
    }
  }
  EXPECT_GT(timeouts, 0);
}

TEST(Fault, DelaysChangeNoBit) {
  for (const Degrees& degrees : {kPipeline, kFlat, Degrees{1, 2, 1, 2, 4, 1}}) {
    Calls calls;
    const std::uint64_t wanted = attempt(degrees, Rank(0), {}, calls, kPatient).logits_hash;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      FaultScript script;
      script.kind = FaultKind::Jitter;
      script.seed = seed;
      script.delay = std::chrono::microseconds(400);
      const Attempt got = attempt(degrees, Rank(0), script, calls, kPatient);
      ASSERT_FALSE(got.error.has_value()) << got.error->to_string();
      EXPECT_EQ(got.logits_hash, wanted) << to_string(degrees) << " seed " << seed;
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
