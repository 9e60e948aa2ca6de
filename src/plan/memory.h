// Memory: the bytes one rank of a plan needs, counted from its program.
//
// Weights and KV pool are what the cpu device stores for the slices that the program reads
// (matrices in panels of 16 outputs, the embedding table row-major, vectors as fp32, a tied
// embedding once for each use on the rank) and what the pool takes. Registers and buffers are the
// worst case of the steps that RunBounds admit: the largest microbatch, all of it in one dp group,
// every token of it sent to the experts of this rank. Execution reserves exactly these sizes before
// the first step and never asks for more, so the count is the peak: every rank is counted as a
// device of its own, with its own copy of slices that thread ranks share. Not counted: threads,
// programs and tables whose size does not depend on rows.
// Byte counts saturate at 2^60 instead of overflowing, so any plan can be asked about.
// Cost: O(steps of the rank). Held by tests/property/memory_test.cc (weights, KV and total against
// the engine's own counts and the C library's, in runs that reach the bounds).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "plan/lower.h"

namespace pentafold {

struct MemoryUse {
  std::int64_t weights = 0;
  std::int64_t kv = 0;
  std::int64_t registers = 0;
  std::int64_t buffers = 0;  // rows on their way, expert outputs, logits, row and rope tables
  std::int64_t total() const { return weights + kv + registers + buffers; }
  friend bool operator==(const MemoryUse&, const MemoryUse&) = default;
};

// Tokens of one KV block.
inline constexpr std::int64_t kKvTokensPerBlock = 16;

// Groups that requests are scheduled in: the least common multiple of the stages' dp (saturates).
std::int64_t schedule_groups(const Plan& plan);

// Blocks that `tokens` consecutive tokens occupy.
std::int64_t kv_blocks_for(std::int64_t tokens);

// What the engine holds the plan's cache in.
KvType run_kv_type(const Plan& plan);

// KV blocks of each scheduling group: the plan's kv_blocks; else as many as its `requests` section
// needs to run all at once; else 0: nothing says how many.
std::int64_t planned_kv_blocks(const Plan& plan);

// What the steps of a run stay within. Zero where a comment says unknown: no bound.
struct RunBounds {
  std::int64_t groups = 1;            // scheduling groups
  std::int64_t blocks_per_group = 0;  // KV blocks; unknown
  std::int64_t max_batch = 64;
  std::int64_t prefill_chunk = 512;
  std::int64_t microbatches = 1;
  std::int64_t requests = 0;        // of the replica that has most; unknown
  std::int64_t longest_prompt = 0;  // unknown
  std::int64_t prompt_tokens = 0;   // of all requests of a replica; unknown
  std::int64_t positions = 0;       // rows of the rope table; unknown
  bool all_logits = false;          // of prompt positions too
};
// The plan's limits, and its `requests` section where it has one.
RunBounds planned_bounds(const Plan& plan, std::int64_t blocks_per_group);

// Most rows that one microbatch can bring, on a rank of `stage` in one phase.
struct RowBounds {
  std::int64_t step_group = 0;  // rows of the rank's dp group over all microbatches of a step
  std::int64_t stage = 0;       // of the microbatch, over all dp groups
  std::int64_t group = 0;       // RowSet::Group
  std::int64_t local = 0;       // RowSet::Local
  std::int64_t slice = 0;       // RowSet::Slice
  std::int64_t step_local = 0;  // Local rows over all microbatches of a step
  std::int64_t requests = 0;    // of the dp group in the microbatch
  std::int64_t blocks = 0;      // KV blocks that these hold
  std::int64_t of(RowSet set) const;
};
RowBounds row_bounds(const RunBounds& run, const StagePlan& stage, Phase phase);

// What a rank reserves besides its registers: what lives longer than a step.
enum class Kept {
  TokenRows,    // execute/rows.h
  Positions,    // of the rows
  TableOfRow,   // their block tables
  BlockIds,     // of the requests
  FirstBlocks,  // where each request's begin
  Experts,      // chosen by the router
  Weights,
  Scores,
  Wanted,  // which outputs were asked of whom
  WantedBegin,
  Arrived,  // which outputs others asked of this rank
  Inputs,   // their rows
  Outputs,
  MemberBegin,
  Outbox,  // rows for the next stage, of a whole step
  kCount,
};
// Bytes of one TokenRow, Wanted, Arrived; execution asserts that these are its sizes.
inline constexpr std::int64_t kTokenRowBytes = 40;
inline constexpr std::int64_t kWantedBytes = 12;
inline constexpr std::int64_t kArrivedBytes = 24;
inline constexpr std::int64_t kExpertRowsBytes = 176;
inline constexpr std::int64_t kViewBytes = 16;  // a span over one member's message

// Sizes in bytes of what a rank works in; base/byte_arena.h cuts and rounds them.
struct WorkingMemory {
  std::array<std::int64_t, static_cast<std::size_t>(Register::kCount)> registers{};
  std::array<std::int64_t, static_cast<std::size_t>(Kept::kCount)> kept{};
  std::int64_t passing = 0;  // most that one step cuts and gives back

  std::int64_t register_bytes() const;
  std::int64_t kept_bytes() const;
  friend bool operator==(const WorkingMemory&, const WorkingMemory&) = default;
};
WorkingMemory working_memory(const LoweringContext& context, const RankProgram& program,
                             const RunBounds& run);

std::int64_t weight_bytes(const LoweringContext& context, const RankProgram& program);
std::int64_t kv_bytes(const LoweringContext& context, const RankProgram& program,
                      const RunBounds& run);
MemoryUse memory_use(const LoweringContext& context, const RankProgram& program,
                     const RunBounds& run);

// One line a rank, aligned, after a line of headings; a last line with the largest of each column.
std::string format_memory(std::span<const MemoryUse> by_rank);

}  // namespace pentafold
