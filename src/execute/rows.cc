#include "execute/rows.h"

namespace pentafold {

void fill_rows(const Microbatch& rows_of, const StagePlan& stage, PhaseCoord coord,
               std::int64_t blocks_per_group, RowTable& table) {
  table.group.clear();
  table.block_ids.clear();
  table.first_blocks.clear();
  std::int64_t number = 0;
  for (std::int64_t i = rows_of.segments.begin; i < rows_of.segments.end; ++i) {
    const Segment& segment = rows_of.batch.segments[static_cast<std::size_t>(i)];
    const auto count = static_cast<std::int64_t>(segment.tokens.size());
    if (segment.group % stage.dp != coord.d) {
      number += count;
      continue;
    }
    const std::int64_t offset = segment.group / stage.dp * blocks_per_group;
    table.first_blocks.push_back(static_cast<std::int32_t>(table.block_ids.size()));
    for (const std::int32_t block : *segment.blocks) {
      table.block_ids.push_back(block + static_cast<std::int32_t>(offset));
    }
    for (std::int64_t t = 0; t < count; ++t) {
      TokenRow row;
      row.request = segment.request;
      row.position = segment.start + t;
      row.token = segment.tokens[static_cast<std::size_t>(t)];
      row.samples = segment.samples && t + 1 == count;
      row.number = number++;
      row.table = static_cast<std::int32_t>(table.first_blocks.size() - 1);
      table.group.push_back(row);
    }
  }
  const PhaseMesh mesh = phase_mesh(stage, rows_of.batch.phase);
  const Range all{0, static_cast<std::int64_t>(table.group.size())};
  table.local = split(all, mesh.sp, coord.s);
  table.slice = split(table.local, mesh.tp, coord.t);
}

std::pmr::vector<std::int64_t> local_row_numbers(const Microbatch& rows_of, const StagePlan& stage,
                                                 std::int64_t index,
                                                 std::pmr::memory_resource* memory) {
  const Phase phase = rows_of.batch.phase;
  const PhaseCoord coord = phase_coord(stage, phase, index);
  // Calls visit(number, row) for every row of the member's dp group.
  const auto each_row = [&](const auto& visit) {
    std::int64_t number = 0;
    std::int64_t row = 0;
    for (std::int64_t i = rows_of.segments.begin; i < rows_of.segments.end; ++i) {
      const Segment& segment = rows_of.batch.segments[static_cast<std::size_t>(i)];
      const auto count = static_cast<std::int64_t>(segment.tokens.size());
      if (segment.group % stage.dp == coord.d) {
        for (std::int64_t t = 0; t < count; ++t) visit(number + t, row++);
      }
      number += count;
    }
  };
  std::int64_t in_group = 0;
  each_row([&](std::int64_t, std::int64_t) { ++in_group; });
  const Range local = split(in_group, phase_mesh(stage, phase).sp, coord.s);
  std::pmr::vector<std::int64_t> numbers(memory);
  numbers.reserve(static_cast<std::size_t>(local.size()));
  each_row([&](std::int64_t number, std::int64_t row) {
    if (local.contains(row)) numbers.push_back(number);
  });
  return numbers;
}

}  // namespace pentafold
