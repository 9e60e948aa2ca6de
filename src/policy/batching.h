// Batcher: which sequences compute how many tokens in the next step of one replica. In counts: no
// clock, no device, no token.
//
// Sequences wait in order of priority, then arrival, each for its attention dp group, and are
// admitted in that order while their group has blocks, places and budget. A step of an engine with
// mixed steps decodes one token of every running sequence and fills the rest of the group's budget
// with pieces of prompts (vLLM, TensorRT-LLM); of the others it is all prompts, as long as there
// are any, or all decode (SGLang; the engine here). Blocks are taken as the cache grows; when a
// group has none left, its last sequence in order goes back to the queue, to recompute or to be
// swapped in again. With Preemption::Never a sequence takes all blocks it may ever need at once.
// The first sequence in order is never preempted, and a sequence that could not run alone is
// refused, so every admitted sequence finishes.
// Both the server's scheduler (policy/scheduler.h) and the simulator (predict/simulate.h) stand on
// this. Source: continuous batching (Orca, OSDI 2022), vLLM (SOSP 2023), chunked prefill (Sarathi,
// OSDI 2024). Cost: O(running) a step or a run of decode steps; O(log waiting) an arrival.
// Held by policy/batching_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <span>
#include <tuple>
#include <vector>

#include "base/split.h"
#include "policy/kv_blocks.h"

namespace pentafold {

enum class Preemption {
  Never,      // blocks for prompt and answer are taken at admission
  Recompute,  // the cache is dropped, and computed again later
  Swap,       // the cache moves to the host, and back later
};

enum class GroupChoice { RoundRobin, LeastTokens };

inline constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max() / 4;

struct BatchLimits {
  std::int64_t groups = 1;            // attention dp groups
  std::int64_t blocks_per_group = 0;  // KV blocks
  std::int64_t block_tokens = 16;
  std::int64_t hash_tokens = 16;                  // of each hash of a sequence
  std::int64_t max_sequences = kUnlimited;        // running at once in all groups
  std::int64_t max_group_sequences = kUnlimited;  // and in one
  std::int64_t step_tokens = kUnlimited;   // rows of a group in a step; decode is never held back
  std::int64_t piece_tokens = kUnlimited;  // of one prompt in a step
  // Adaptive batch: admitted only while the tokens in the group's caches, prompts counted whole,
  // stay within this (one sequence may always run). Long sequences then run in small batches.
  std::int64_t max_context = kUnlimited;
  bool mixed_steps = true;
  bool share_prefixes = false;  // what was computed is found again by its hash
  Preemption preemption = Preemption::Recompute;
  GroupChoice group_choice = GroupChoice::RoundRobin;
};

struct NewSequence {
  std::int64_t id = 0;  // the caller's
  std::int64_t prompt = 0;
  std::int64_t max_output = 0;
  std::int64_t priority = 0;  // lower goes first
  // Tokens that were generated elsewhere; the cache of the prompt and all of them but the last then
  // comes with the sequence, and it starts to decode (a split deployment's decode worker).
  std::int64_t generated = 0;
  // Of each whole hash_tokens of the prompt; each covers all before it too.
  std::vector<std::uint64_t> hashes;
};

struct Sequence {
  std::int64_t id = 0;
  std::int64_t prompt = 0;
  std::int64_t max_output = 0;
  std::int64_t priority = 0;
  std::int64_t number = 0;  // in order of arrival
  std::int64_t group = 0;
  std::int64_t computed = 0;  // tokens in the cache
  std::int64_t generated = 0;
  std::int64_t target = 0;  // tokens to have computed before the next token is sampled
  std::int64_t shared = 0;  // tokens that were found in the cache at the last admission
  std::int64_t preemptions = 0;
  bool has_cache = false;  // waits with its cache elsewhere
  std::vector<std::int32_t> blocks;
  std::vector<std::uint64_t> hashes;

  bool decoding() const { return computed >= target; }
};

// What one sequence does in a step.
struct StepPart {
  std::int32_t slot = 0;
  std::int64_t start = 0;  // tokens in the cache before
  std::int64_t tokens = 0;
  bool decode = false;
  bool samples = false;  // its last row gives a token
};

struct BatchStep {
  std::vector<StepPart> parts;
  std::vector<std::int32_t> admitted;   // slots, in order
  std::vector<std::int32_t> preempted;  // slots, back in the queue
  std::int64_t swapped_blocks = 0;      // in and out
};

class Batcher {
 public:
  explicit Batcher(const BatchLimits& limits);

  const BatchLimits& limits() const { return limits_; }
  // KV blocks of a sequence at its longest; for absurd lengths a number that is too large as well.
  std::int64_t blocks_needed(std::int64_t prompt, std::int64_t max_output) const;
  // Whether it could run alone.
  bool fits(std::int64_t prompt, std::int64_t max_output) const {
    return blocks_needed(prompt, max_output) <= limits_.blocks_per_group;
  }
  // Its slot, valid until finish; none if it does not fit. prompt >= 1, max_output >= 1.
  std::optional<std::int32_t> add(NewSequence sequence);

  const Sequence& at(std::int32_t slot) const { return slots_[static_cast<std::size_t>(slot)]; }
  bool idle() const { return waiting() == 0 && running() == 0; }
  std::int64_t waiting() const { return waiting_count_; }
  std::int64_t running() const { return running_count_; }
  std::span<const std::int32_t> running_in(std::int64_t group) const;
  const KvBlockPool& pool(std::int64_t group) const;
  std::int64_t used_blocks() const;
  // Tokens at the front of such a prompt that a group has in its cache; the most of any group.
  std::int64_t cached_tokens(std::span<const std::uint64_t> hashes) const;

  // The next step, with its tokens counted as computed. Call token() for each part that samples
  // before the next one. Valid until then. Not when idle.
  const BatchStep& next();
  // The sequence got a token; true if that was its last.
  bool token(std::int32_t slot);
  // Ends a running sequence and frees its blocks.
  void finish(std::int32_t slot);

  // Decode-only steps that are certain to come next: nobody comes, goes or runs out of blocks in
  // them, unless someone is added whom can_admit would let in. The last may end sequences. 0: ask
  // next().
  std::int64_t decode_run() const;
  // Does `steps` <= decode_run() of them, tokens included.
  void advance(std::int64_t steps);
  // Whether the next step would admit anyone. Once false, it stays so until a sequence ends or one
  // is added.
  bool can_admit() const;

 private:
  using Ticket = std::tuple<std::int64_t, std::int64_t, std::int32_t>;  // priority, number, slot
  struct Group {
    explicit Group(std::int64_t blocks) : pool(blocks) {}
    KvBlockPool pool;
    std::priority_queue<Ticket, std::vector<Ticket>, std::greater<>> waiting;
    std::vector<std::int32_t> running;  // by (priority, number)
    std::int64_t outstanding = 0;       // prompt and generated tokens of all its sequences
    std::int64_t context = 0;           // of those that run
    std::int64_t budget = 0;            // left in this step
    bool closed = false;                // had no room in this step: admits nobody
  };
  struct Demand {
    std::int64_t fresh = 0;  // blocks to take now, beyond those in found_
    bool fits = false;
  };
  Sequence& slot(std::int32_t slot) { return slots_[static_cast<std::size_t>(slot)]; }
  Group& group_of(const Sequence& s) { return groups_[static_cast<std::size_t>(s.group)]; }
  std::int64_t blocks_of(std::int64_t tokens) const;
  std::int64_t choose_group() const;
  std::uint64_t name_of(std::span<const std::uint64_t> hashes, std::int64_t number,
                        std::int64_t block) const;
  std::int64_t named_blocks(const Sequence& sequence) const;
  void find_blocks(const Group& group, const Sequence& sequence, std::int64_t most) const;
  Demand demand(const Group& group, const Sequence& sequence) const;
  bool head_fits(const Group& group) const;
  Group* next_group();
  void admit_all();
  void admit(Group& group);
  void schedule_decodes(Group& group);
  void schedule_prompts(Group& group);
  void compute_piece(Group& group, std::int32_t slot);
  bool grow(Group& group, std::int32_t slot, std::int64_t tokens, bool only_prompts);
  void preempt(Group& group, std::int32_t slot);
  void publish(Group& group, const Sequence& sequence, Range blocks);
  bool blocks_suffice(const Group& group, std::int64_t steps) const;

  BatchLimits limits_;
  std::vector<Group> groups_;
  std::vector<Sequence> slots_;
  std::vector<std::int32_t> free_slots_;
  BatchStep step_;
  mutable std::vector<std::int32_t> found_;  // by demand(), cached and in order
  std::int64_t waiting_count_ = 0;
  std::int64_t running_count_ = 0;
  std::int64_t added_ = 0;
};

}  // namespace pentafold
