// Rows: which tokens of a step a rank works on, from the batch and its place alone.
//
// Every rank of a replica sees the same StepBatch; the rows of a microbatch are numbered in
// (request, position) order, a dp group takes its requests' rows, a sequence slice its part of
// those, a dispatch slice its part again. Both sides of a pipeline hand-over compute the same
// lists, so no indices travel. Cost: O(rows). Held by execute/rows_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/program.h"
#include "policy/scheduler.h"

namespace pentafold {

struct TokenRow {
  RequestId request;
  std::int64_t position = 0;
  std::int32_t token = 0;
  bool samples = false;     // its logits choose the next token
  std::int64_t number = 0;  // within the microbatch, over all dp groups
  std::int32_t table = 0;   // index into RowTable::block_tables
};

struct RowTable {
  std::vector<TokenRow> group;  // all rows of the dp group, ascending number
  Range local;                  // of group
  Range slice;                  // of group, inside local
  std::vector<std::vector<std::int32_t>> block_tables;  // block ids in this rank's pool

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
RowTable make_rows(const StepBatch& batch, Range segments, const StagePlan& stage,
                   const Program& program, std::int64_t blocks_per_group);

// Numbers of the Local rows of stage member `index`, ascending.
std::vector<std::int64_t> local_row_numbers(const StepBatch& batch, Range segments,
                                            const StagePlan& stage, Phase phase,
                                            std::int64_t index);

}  // namespace pentafold
