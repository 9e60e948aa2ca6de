#include "execute/work_memory.h"

#include <algorithm>

namespace pentafold {

template <class Visit>
void WorkMemory::each_kept(const Visit& visit) {
  visit(Kept::TokenRows, table.group);
  visit(Kept::Positions, positions);
  visit(Kept::TableOfRow, tables);
  visit(Kept::BlockIds, table.block_ids);
  visit(Kept::FirstBlocks, table.first_blocks);
  visit(Kept::Experts, moe.experts);
  visit(Kept::Weights, moe.weights);
  visit(Kept::Scores, moe.scores);
  visit(Kept::Wanted, moe.wanted);
  visit(Kept::WantedBegin, moe.wanted_begin);
  visit(Kept::Arrived, moe.arrived);
  visit(Kept::Inputs, moe.inputs);
  visit(Kept::Outputs, moe.outputs);
  visit(Kept::MemberBegin, moe.member_begin);
  visit(Kept::Outbox, outbox);
}

WorkMemory::WorkMemory(const WorkingMemory& sizes)
    : slots(sizes.register_bytes() + sizes.kept_bytes()),
      scratch(sizes.passing),
      table(&slots),
      sizes_(sizes) {
  for (std::size_t r = 0; r < registers.size(); ++r) {
    if (sizes.registers[r] == 0) continue;
    const auto bytes = static_cast<std::size_t>(sizes.registers[r]);
    registers[r].data = static_cast<float*>(slots.allocate(bytes));
    registers[r].floats = sizes.registers[r] / std::int64_t{sizeof(float)};
  }
  each_kept([&](Kept what, auto& vector) {
    const auto bytes = static_cast<std::size_t>(sizes.kept[static_cast<std::size_t>(what)]);
    vector.reserve(bytes / sizeof(vector[0]));
  });
}

void WorkMemory::note_use() {
  each_kept([&](Kept what, const auto& vector) {
    std::int64_t& used = kept_used_[static_cast<std::size_t>(what)];
    used = std::max(used, static_cast<std::int64_t>(vector.size() * sizeof(vector[0])));
  });
}

std::int64_t WorkMemory::most_used() const {
  std::int64_t bytes = scratch.most_used();
  for (const Buffer& buffer : registers) bytes += buffer.used * std::int64_t{sizeof(float)};
  for (const std::int64_t used : kept_used_) bytes += used;
  return bytes;
}

}  // namespace pentafold
