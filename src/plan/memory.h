// Memory: the bytes one rank of a plan needs, counted from its program.
//
// Weights and KV pool are exact: what the cpu device stores for the slices that the program reads
// (matrices in panels of 16 outputs, the embedding table row-major, vectors as fp32, a tied
// embedding once for each use on the rank) and what the pool takes. Registers and buffers are upper
// bounds: they assume the largest microbatch that the batching limits admit, all of it in one dp
// group, and every token of it sent to this rank's experts.
// Byte counts saturate at 2^60 instead of overflowing, so any plan can be asked about.
// Cost: O(steps of the rank). Held by tests/property/memory_test.cc (weights and KV against the
// engine's own counts, registers against the rows that workers really make).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "plan/lower.h"

namespace pentafold {

struct MemoryUse {
  std::int64_t weights = 0;
  std::int64_t kv = 0;
  std::int64_t registers = 0;
  std::int64_t buffers = 0;  // dispatched rows, expert outputs, messages, logits, row tables
  std::int64_t total() const { return weights + kv + registers + buffers; }
  friend bool operator==(const MemoryUse&, const MemoryUse&) = default;
};

// Tokens of one KV block.
inline constexpr std::int64_t kKvTokensPerBlock = 16;

// Groups that requests are scheduled in: the least common multiple of the stages' dp (saturates).
std::int64_t schedule_groups(const Plan& plan);

// Blocks that `tokens` consecutive tokens occupy.
std::int64_t kv_blocks_for(std::int64_t tokens);

// KV blocks of each scheduling group: the plan's kv_blocks; else as many as its `requests` section
// needs to run all at once; else 0: nothing says how many.
std::int64_t planned_kv_blocks(const Plan& plan);

// Most rows that one microbatch can bring, on a rank of `stage` in one phase.
struct RowBounds {
  std::int64_t step_group = 0;  // rows of the rank's dp group over all microbatches of a step
  std::int64_t stage = 0;       // of the microbatch, over all dp groups
  std::int64_t group = 0;       // RowSet::Group
  std::int64_t local = 0;       // RowSet::Local
  std::int64_t slice = 0;       // RowSet::Slice
  std::int64_t of(RowSet set) const;
};
// `blocks_per_group` bounds the rows too (a token needs its KV slot); 0: unknown, no bound.
RowBounds row_bounds(const Plan& plan, const StagePlan& stage, Phase phase,
                     std::int64_t blocks_per_group);

std::int64_t weight_bytes(const LoweringContext& context, const RankProgram& program);
std::int64_t kv_bytes(const LoweringContext& context, const RankProgram& program,
                      std::int64_t blocks_per_group);
MemoryUse memory_use(const LoweringContext& context, const RankProgram& program,
                     std::int64_t blocks_per_group);

// One line a rank, aligned, after a line of headings; a last line with the largest of each column.
std::string format_memory(std::span<const MemoryUse> by_rank);

}  // namespace pentafold
