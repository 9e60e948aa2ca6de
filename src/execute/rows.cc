#include "execute/rows.h"

namespace pentafold {

RowTable make_rows(const StepBatch& batch, Range segments, const StagePlan& stage,
                   const Program& program, std::int64_t blocks_per_group) {
  RowTable table;
  std::int64_t number = 0;
  for (std::int64_t i = segments.begin; i < segments.end; ++i) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(i)];
    const auto count = static_cast<std::int64_t>(segment.tokens.size());
    if (segment.group % stage.dp != program.coord.d) {
      number += count;
      continue;
    }
    const std::int64_t offset = segment.group / stage.dp * blocks_per_group;
    auto& blocks = table.block_tables.emplace_back(*segment.blocks);
    for (std::int32_t& block : blocks) block += static_cast<std::int32_t>(offset);
    for (std::int64_t t = 0; t < count; ++t) {
      TokenRow row;
      row.request = segment.request;
      row.position = segment.start + t;
      row.token = segment.tokens[static_cast<std::size_t>(t)];
      row.samples = segment.samples && t + 1 == count;
      row.number = number++;
      row.table = static_cast<std::int32_t>(table.block_tables.size() - 1);
      table.group.push_back(row);
    }
  }
  const PhaseMesh mesh = phase_mesh(stage, batch.phase);
  const Range all{0, static_cast<std::int64_t>(table.group.size())};
  table.local = split(all, mesh.sp, program.coord.s);
  table.slice = split(table.local, mesh.tp, program.coord.t);
  return table;
}

std::vector<std::int64_t> local_row_numbers(const StepBatch& batch, Range segments,
                                            const StagePlan& stage, Phase phase,
                                            std::int64_t index) {
  const PhaseCoord coord = phase_coord(stage, phase, index);
  std::vector<std::int64_t> numbers;
  std::int64_t number = 0;
  for (std::int64_t i = segments.begin; i < segments.end; ++i) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(i)];
    const bool mine = segment.group % stage.dp == coord.d;
    for (std::size_t t = 0; t < segment.tokens.size(); ++t, ++number) {
      if (mine) numbers.push_back(number);
    }
  }
  const Range local =
      split(static_cast<std::int64_t>(numbers.size()), phase_mesh(stage, phase).sp, coord.s);
  return {numbers.begin() + local.begin, numbers.begin() + local.end};
}

}  // namespace pentafold
