#include "policy/batching.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace pentafold {
namespace {

struct Case {
  BatchLimits limits;
  std::vector<NewSequence> sequences;
};

Case random_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto upto = [&](std::int64_t n) {
    return 1 + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(n));
  };
  Case c;
  c.limits.groups = upto(3);
  c.limits.block_tokens = upto(5);
  c.limits.hash_tokens = upto(7);
  c.limits.blocks_per_group = 60 / c.limits.block_tokens + upto(6);
  if (random() % 2) c.limits.max_sequences = upto(8);
  if (random() % 2) c.limits.max_group_sequences = upto(5);
  if (random() % 2) c.limits.step_tokens = upto(40);
  if (random() % 2) c.limits.piece_tokens = upto(20);
  if (random() % 4 == 0) c.limits.max_context = upto(100);
  c.limits.mixed_steps = random() % 2;
  c.limits.share_prefixes = random() % 2;
  c.limits.preemption = static_cast<Preemption>(random() % 3);
  c.limits.group_choice = static_cast<GroupChoice>(random() % 2);
  for (std::int64_t i = 0; i < 20; ++i) {
    NewSequence s;
    s.id = i;
    s.prompt = upto(40);
    s.max_output = upto(20);
    s.priority = random() % 4 == 0 ? upto(3) : 2;
    const std::uint64_t family = random() % 3;
    for (std::int64_t b = 0; b < s.prompt / c.limits.hash_tokens; ++b) {
      s.hashes.push_back(family * 1000 + static_cast<std::uint64_t>(b));
    }
    if (random() % 8 == 0 && s.max_output > 1) s.generated = 1;  // comes with its cache
    c.sequences.push_back(std::move(s));
  }
  return c;
}

// Plays a case to its end: sequences come between steps, `look` sees each step before its tokens
// count. `jumps`: decode runs are taken at once.
class Play {
 public:
  explicit Play(const Case& c) : batcher(c.limits), case_(c) {}

  template <class Look>
  void run(const Look& look, bool jumps = false) {
    std::size_t next = 0;
    for (std::int64_t steps = 0; steps < 5000; ++steps) {
      // Two come every few steps, at the same steps whether it jumps or not.
      while (next < case_.sequences.size() && steps >= static_cast<std::int64_t>(next / 2) * 6) {
        slot_of[batcher.add(case_.sequences[next]).value()] = case_.sequences[next].id;
        ++next;
      }
      if (batcher.idle()) {
        if (next == case_.sequences.size()) return;
        continue;
      }
      std::int64_t run = jumps ? batcher.decode_run() : 0;
      if (next < case_.sequences.size()) {
        run = std::min(run, static_cast<std::int64_t>(next / 2) * 6 - steps);
      }
      if (run > 0) {
        advance(run);
        steps += run - 1;
      } else {
        step(look);
      }
    }
    FAIL() << "does not end";
  }

  Batcher batcher;
  std::map<std::int32_t, std::int64_t> slot_of;      // slot to id
  std::map<std::int64_t, std::int64_t> output;       // tokens by id
  std::map<std::int64_t, std::int64_t> ended_after;  // decode and other steps by id
  std::int64_t steps_done = 0;

 private:
  void advance(std::int64_t run) {
    batcher.advance(run);
    steps_done += run;
    std::vector<std::int32_t> ended;
    for (std::int64_t g = 0; g < case_.limits.groups; ++g) {
      for (const std::int32_t slot : batcher.running_in(g)) {
        output[slot_of.at(slot)] += run;
        if (batcher.at(slot).generated == batcher.at(slot).max_output) ended.push_back(slot);
      }
    }
    for (const std::int32_t slot : ended) finish(slot);
  }
  template <class Look>
  void step(const Look& look) {
    const BatchStep& step = batcher.next();
    ++steps_done;
    look(step);
    for (const StepPart& part : step.parts) {
      if (!part.samples) continue;
      ++output[slot_of.at(part.slot)];
      if (batcher.token(part.slot)) finish(part.slot);
    }
  }
  void finish(std::int32_t slot) {
    ended_after[slot_of.at(slot)] = steps_done;
    batcher.finish(slot);
  }
  const Case& case_;
};

constexpr std::uint32_t kSeeds = 600;

TEST(Batcher, EverySequenceGetsItsTokensAndNoBlockLeaks) {
  std::int64_t preemptions = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Case c = random_case(seed);
    Play play(c);
    play.run([&](const BatchStep& step) { preemptions += std::ssize(step.preempted); });
    for (const NewSequence& s : c.sequences) {
      EXPECT_EQ(play.output[s.id], s.max_output - s.generated) << "seed " << seed;
      EXPECT_TRUE(play.ended_after.contains(s.id));
    }
    EXPECT_EQ(play.batcher.used_blocks(), 0) << "seed " << seed;
  }
  EXPECT_GT(preemptions, 1000) << "the cases are too easy";
}

TEST(Batcher, LimitsHoldInEveryStep) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Case c = random_case(seed);
    Play play(c);
    play.run([&](const BatchStep& step) {
      ASSERT_FALSE(step.parts.empty());
      EXPECT_LE(play.batcher.running(), c.limits.max_sequences);
      std::map<std::int64_t, std::int64_t> prompt_rows;
      std::map<std::int64_t, std::int64_t> decode_rows;
      std::set<std::int32_t> seen;
      for (const StepPart& part : step.parts) {
        EXPECT_TRUE(seen.insert(part.slot).second) << "twice in a step";
        const Sequence& s = play.batcher.at(part.slot);
        EXPECT_GE(std::ssize(s.blocks) * c.limits.block_tokens, part.start + part.tokens);
        EXPECT_EQ(s.computed, part.start + part.tokens);
        EXPECT_EQ(part.samples, s.computed == s.prompt + s.generated);
        (part.decode ? decode_rows : prompt_rows)[s.group] += part.tokens;
        if (!part.decode) {
          EXPECT_LE(part.tokens, c.limits.piece_tokens);
        }
      }
      EXPECT_TRUE(c.limits.mixed_steps || prompt_rows.empty() || decode_rows.empty());
      for (const auto& [group, rows] : prompt_rows) {
        EXPECT_LE(rows + decode_rows[group], c.limits.step_tokens);
      }
      for (std::int64_t g = 0; g < c.limits.groups; ++g) {
        const auto running = play.batcher.running_in(g);
        EXPECT_LE(std::ssize(running), c.limits.max_group_sequences);
        std::set<std::int32_t> referenced;
        for (const std::int32_t slot : running) {
          const auto& blocks = play.batcher.at(slot).blocks;
          referenced.insert(blocks.begin(), blocks.end());
          if (!c.limits.share_prefixes) {
            EXPECT_EQ(std::set(blocks.begin(), blocks.end()).size(), blocks.size());
          }
        }
        EXPECT_EQ(play.batcher.pool(g).used(), std::ssize(referenced)) << "seed " << seed;
      }
    });
  }
}

// In a group nobody is admitted while someone who comes first waits; a preempted one comes first
// again, as it keeps its number.
TEST(Batcher, AdmissionIsInOrderOfPriorityThenArrival) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Case c = random_case(seed);
    Play play(c);
    std::set<std::int32_t> waiting;
    const auto order = [&](std::int32_t slot) {
      const Sequence& s = play.batcher.at(slot);
      return std::pair(s.priority, s.number);
    };
    play.run([&](const BatchStep& step) {
      for (const auto& [slot, id] : play.slot_of) {
        if (!play.ended_after.contains(id)) waiting.insert(slot);
      }
      for (std::int64_t g = 0; g < c.limits.groups; ++g) {
        for (const std::int32_t slot : play.batcher.running_in(g)) waiting.erase(slot);
      }
      for (const std::int32_t admitted : step.admitted) {
        for (const std::int32_t other : waiting) {
          if (other == admitted) continue;  // and lost its blocks again in the same step
          const bool same = play.batcher.at(other).group == play.batcher.at(admitted).group;
          if (same) {
            EXPECT_LT(order(admitted), order(other)) << "seed " << seed;
          }
        }
      }
    });
  }
}

TEST(Batcher, RunsOfDecodeStepsEqualStepByStep) {
  std::int64_t jumped = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Case c = random_case(seed);
    Play plain(c);
    Play fast(c);
    std::int64_t plain_steps = 0;
    std::int64_t fast_steps = 0;
    plain.run([&](const BatchStep&) { ++plain_steps; });
    fast.run([&](const BatchStep&) { ++fast_steps; }, true);
    EXPECT_EQ(plain.steps_done, fast.steps_done) << "seed " << seed;
    EXPECT_EQ(plain.ended_after, fast.ended_after) << "seed " << seed;
    EXPECT_EQ(plain.output, fast.output);
    jumped += plain_steps - fast_steps;
  }
  EXPECT_GT(jumped, 10000);
}

// Reserving whole, or with room for all, nobody loses blocks.
TEST(Batcher, NeverPreemptsWhatItReservedWhole) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    Case c = random_case(seed);
    if (seed % 2) {
      c.limits.preemption = Preemption::Never;
    } else {
      c.limits.blocks_per_group = 2000;
    }
    Play play(c);
    play.run([&](const BatchStep& step) {
      EXPECT_TRUE(step.preempted.empty());
      EXPECT_EQ(step.swapped_blocks, 0);
    });
  }
}

// Swapped caches come back as they went: nothing is computed twice but an incomplete prompt's rest.
TEST(Batcher, SwapComputesEveryTokenOnceAndRecomputeTheLostOnesAgain) {
  std::int64_t lost = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    Case c = random_case(seed);
    c.limits.share_prefixes = false;
    std::int64_t whole = 0;
    for (NewSequence& s : c.sequences) {
      s.generated = 0;
      whole += s.prompt + s.max_output - 1;
    }
    std::map<Preemption, std::int64_t> rows;
    for (const Preemption preemption : {Preemption::Recompute, Preemption::Swap}) {
      c.limits.preemption = preemption;
      Play play(c);
      std::int64_t swapped = 0;
      play.run([&](const BatchStep& step) {
        for (const StepPart& part : step.parts) rows[preemption] += part.tokens;
        swapped += step.swapped_blocks;
      });
      EXPECT_TRUE(preemption == Preemption::Swap || swapped == 0);
      EXPECT_EQ(swapped % 2, 0) << "what went out came in";
    }
    EXPECT_EQ(rows[Preemption::Swap], whole) << "seed " << seed;
    EXPECT_GE(rows[Preemption::Recompute], whole);
    lost += rows[Preemption::Recompute] - whole;
  }
  EXPECT_GT(lost, 0);
}

// With a cache that keeps what it can, preempted sequences compute less again.
TEST(Batcher, PreemptedSequencesFindTheirOwnBlocksAgain) {
  std::map<bool, std::int64_t> rows;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    Case c = random_case(seed);
    c.limits.preemption = Preemption::Recompute;
    for (NewSequence& s : c.sequences) s.hashes.clear();
    for (const bool share : {false, true}) {
      c.limits.share_prefixes = share;
      Play play(c);
      play.run([&](const BatchStep& step) {
        for (const StepPart& part : step.parts) rows[share] += part.tokens;
        for (const std::int32_t slot : step.admitted) {
          if (play.batcher.at(slot).preemptions == 0) {
            EXPECT_EQ(play.batcher.at(slot).shared, 0) << "another's blocks, seed " << seed;
          }
        }
      });
    }
  }
  EXPECT_LT(rows[true], rows[false]);
}

// A shared beginning saves prompt rows, and never the row that gives the first token.
TEST(Batcher, SharedPrefixesAreComputedOnce) {
  BatchLimits limits;
  limits.blocks_per_group = 100;
  limits.block_tokens = 4;
  limits.hash_tokens = 4;
  limits.share_prefixes = true;
  Batcher batcher(limits);
  const std::vector<std::uint64_t> hashes = {1, 2, 3};
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(batcher.add({i, 12, 2, 0, 0, hashes}).has_value());
  const BatchStep& step = batcher.next();
  ASSERT_EQ(step.parts.size(), 3U);
  EXPECT_EQ(step.parts[0].tokens, 12);
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(step.parts[i].start, 8);
    EXPECT_EQ(step.parts[i].tokens, 4);
    EXPECT_TRUE(step.parts[i].samples);
  }
  EXPECT_EQ(batcher.used_blocks(), 3 + 1 + 1);
}

// What it has computed stays, and goes on when those that decode are done.
TEST(Batcher, APromptWithoutRoomWaitsForDecodesWithItsBlocks) {
  BatchLimits limits;
  limits.blocks_per_group = 8;
  limits.block_tokens = 4;
  limits.piece_tokens = 7;
  Batcher batcher(limits);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(batcher.add({i, 4, 5, 0, 0, {}}).has_value());
  const std::int32_t waits = batcher.add({3, 14, 2, 0, 0, {}}).value();
  for (int number = 1; number <= 6; ++number) {
    const BatchStep step = batcher.next();
    EXPECT_TRUE(step.preempted.empty());
    const bool its = std::any_of(step.parts.begin(), step.parts.end(),
                                 [&](const StepPart& part) { return part.slot == waits; });
    EXPECT_EQ(its, number == 1 || number == 6) << number;
    EXPECT_EQ(batcher.at(waits).computed, number < 6 ? 7 : 14);
    for (const StepPart& part : step.parts) {
      if (part.samples && batcher.token(part.slot)) batcher.finish(part.slot);
    }
  }
}

TEST(Batcher, LongSequencesRunInSmallBatches) {
  BatchLimits limits;
  limits.blocks_per_group = 1000;
  limits.max_context = 100;
  for (const auto& [prompt, together] :
       std::map<std::int64_t, std::int64_t>{{10, 10}, {30, 3}, {60, 1}, {500, 1}}) {
    Batcher batcher(limits);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(batcher.add({i, prompt, 5, 0, 0, {}}).has_value());
    batcher.next();
    EXPECT_EQ(batcher.running(), together) << prompt;
  }
}

TEST(Batcher, WhatCouldNotRunAloneIsRefused) {
  BatchLimits limits;
  limits.blocks_per_group = 4;
  Batcher batcher(limits);
  EXPECT_TRUE(batcher.fits(60, 4));
  EXPECT_FALSE(batcher.fits(60, 5));
  EXPECT_FALSE(batcher.fits(std::numeric_limits<std::int64_t>::max(), 1));
  EXPECT_FALSE(batcher.fits(1, std::numeric_limits<std::int64_t>::max()));
  EXPECT_FALSE(batcher.add({0, 60, 5, 0, 0, {}}).has_value());
  EXPECT_TRUE(batcher.idle());
}

TEST(Batcher, GroupsAreTakenInTurnOrByLeastTokens) {
  BatchLimits limits;
  limits.groups = 2;
  limits.blocks_per_group = 100;
  for (const GroupChoice choice : {GroupChoice::RoundRobin, GroupChoice::LeastTokens}) {
    limits.group_choice = choice;
    Batcher batcher(limits);
    std::vector<std::int64_t> groups;
    for (const std::int64_t prompt : {100, 10, 10, 10}) {
      groups.push_back(batcher.at(batcher.add({0, prompt, 5, 0, 0, {}}).value()).group);
    }
    const bool turns = choice == GroupChoice::RoundRobin;
    EXPECT_EQ(groups, (turns ? std::vector<std::int64_t>{0, 1, 0, 1}
                             : std::vector<std::int64_t>{0, 1, 1, 1}));
  }
}

}  // namespace
}  // namespace pentafold
