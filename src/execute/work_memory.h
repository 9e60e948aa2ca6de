// WorkMemory: all that a rank's steps write, reserved once at the sizes that plan/memory.h counts.
//
// `slots` holds what outlives a step (registers, row tables, routing state, the outbox), `scratch`
// what one step cuts and gives back. Both are sized for the worst step and never grow, so a run
// allocates nothing large once it has started, and the planned count is the peak.
// Owned by one worker, used by its thread. Cost: a pointer move for each buffer. Held by
// tests/property/memory_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "base/byte_arena.h"
#include "execute/rows.h"
#include "kernels/device.h"
#include "plan/memory.h"

namespace pentafold {

// One expert output this rank asked for: the row within Slice and its place in the gate's order.
struct Wanted {
  std::int32_t row = 0;
  std::int32_t k = 0;
  std::int32_t shard = 0;
};
static_assert(sizeof(Wanted) == kWantedBytes);

// One expert input this rank was sent.
struct Arrived {
  std::int32_t member = 0;  // of the stage
  std::int32_t row = 0;     // of MoeState::inputs
  std::int32_t expert = 0;
  std::int64_t out = 0;  // offset in MoeState::outputs, in floats
};
static_assert(sizeof(Arrived) == kArrivedBytes);

static_assert(sizeof(ExpertRows) == kExpertRowsBytes);

struct MoeState {
  std::pmr::vector<std::int32_t> experts;       // (slice rows, top_k)
  std::pmr::vector<float> weights;              // (slice rows, top_k)
  std::pmr::vector<float> scores;               // (slice rows, experts)
  std::pmr::vector<Wanted> wanted;              // by stage member, in the order asked
  std::pmr::vector<std::int32_t> wanted_begin;  // by member; one past the end at the back
  std::pmr::vector<Arrived> arrived;            // by member, then order asked
  std::pmr::vector<float> inputs;               // rows received, by member
  std::pmr::vector<float> outputs;              // (arrived..., nodes, d), by member then order
  std::pmr::vector<std::int64_t>
      member_begin;  // of outputs, in floats; one past the end at the back
};

struct WorkMemory {
  struct Buffer {
    float* data = nullptr;
    std::int64_t width = 0;
    std::int64_t floats = 0;  // room
    std::int64_t used = 0;    // most floats at once
  };

  explicit WorkMemory(const WorkingMemory& sizes);

  const WorkingMemory& sizes() const { return sizes_; }
  std::int64_t reserved() const { return slots.capacity() + scratch.capacity(); }
  // The most that steps wrote of it, each buffer by itself.
  std::int64_t most_used() const;
  // Notes how full the buffers are that outlive a step.
  void note_use();

  ByteArena slots;
  ByteArena scratch;
  RowTable table;
  std::pmr::vector<std::int64_t> positions{&slots};
  std::pmr::vector<const std::int32_t*> tables{&slots};
  std::array<Buffer, static_cast<std::size_t>(Register::kCount)> registers{};
  MoeState moe{std::pmr::vector<std::int32_t>(&slots), std::pmr::vector<float>(&slots),
               std::pmr::vector<float>(&slots),        std::pmr::vector<Wanted>(&slots),
               std::pmr::vector<std::int32_t>(&slots), std::pmr::vector<Arrived>(&slots),
               std::pmr::vector<float>(&slots),        std::pmr::vector<float>(&slots),
               std::pmr::vector<std::int64_t>(&slots)};
  std::pmr::vector<float> outbox{&slots};  // messages to the next stage, of the step at hand

 private:
  // Calls visit(what, vector) for all that is kept.
  template <class Visit>
  void each_kept(const Visit& visit);
  WorkingMemory sizes_;
  std::array<std::int64_t, static_cast<std::size_t>(Kept::kCount)> kept_used_{};  // bytes
};

}  // namespace pentafold
