// Rows: which tokens of a step a rank works on, from the batch and its place alone.
//
// Every rank of a replica sees the same StepBatch; the rows of a microbatch are numbered in
// (request, position) order, a dp group takes its requests' rows, a sequence slice its part of
// those, a dispatch slice its part again. Both sides of a pipeline hand-over compute the same
// lists, so no indices travel. The lists are filled again for every microbatch, in memory reserved
// for the largest (plan/memory.h). Cost: O(rows). Held by execute/rows_test.cc.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "plan/memory.h"
#include "plan/program.h"
#include "policy/scheduler.h"

namespace pentafold {

struct TokenRow {
  RequestId request;
  std::int64_t position = 0;
  std::int32_t token = 0;
  bool samples = false;     // its logits choose the next token
  std::int64_t number = 0;  // within the microbatch, over all dp groups
  std::int32_t table = 0;   // index into RowTable::first_blocks
};

static_assert(sizeof(TokenRow) == kTokenRowBytes);

// Some segments of a step.
struct Microbatch {
  const StepBatch& batch;
  Range segments;
};

struct RowTable {
  RowTable() = default;
  explicit RowTable(std::pmr::memory_resource* memory)
      : group(memory), block_ids(memory), first_blocks(memory) {}

  std::pmr::vector<TokenRow> group;             // all rows of the dp group, ascending number
  Range local;                                  // of group
  Range slice;                                  // of group, inside local
  std::pmr::vector<std::int32_t> block_ids;     // in this rank's pool, a table behind the other
  std::pmr::vector<std::int32_t> first_blocks;  // where each table begins

  const std::int32_t* block_table(const TokenRow& row) const {
    return block_ids.data() + first_blocks[static_cast<std::size_t>(row.table)];
  }
  std::int64_t rows(RowSet set) const {
    if (set == RowSet::Group) return static_cast<std::int64_t>(group.size());
    return set == RowSet::Local ? local.size() : slice.size();
  }
  // First row of the set, as an index into group.
  std::int64_t first(RowSet set) const {
    if (set == RowSet::Group) return 0;
    return set == RowSet::Local ? local.begin : slice.begin;
  }
};

// Blocks of dp group g live in the pools of attention group g % dp, at offset (g / dp) * per group.
void fill_rows(const Microbatch& rows_of, const StagePlan& stage, PhaseCoord coord,
               std::int64_t blocks_per_group, RowTable& table);

// Numbers of the Local rows of stage member `index`, ascending.
std::pmr::vector<std::int64_t> local_row_numbers(const Microbatch& rows_of, const StagePlan& stage,
                                                 std::int64_t index,
                                                 std::pmr::memory_resource* memory);

}  // namespace pentafold
