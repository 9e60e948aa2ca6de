#include "execute/rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "execute/kv_cache.h"

namespace pentafold {
namespace {

constexpr std::int64_t kBlocksPerGroup = 10;
constexpr std::int64_t kGroups = 12;  // a multiple of every dp below
constexpr Phase kPhases[] = {Phase::Prefill, Phase::Decode};

StagePlan stage_of(std::int64_t dp, std::int64_t sp, std::int64_t tp) {
  StagePlan stage;
  stage.dp = dp;
  stage.sp = sp;
  stage.tp = tp;
  return stage;
}

std::vector<StagePlan> stages() {
  std::vector<StagePlan> out;
  for (const std::int64_t dp : {1, 2, 3, 4}) {
    for (const std::int64_t sp : {1, 2, 3}) {
      for (const std::int64_t tp : {1, 2, 4}) out.push_back(stage_of(dp, sp, tp));
    }
  }
  return out;
}

StepBatch random_batch(std::uint32_t seed, Phase phase) {
  std::mt19937 random(seed);
  StepBatch batch;
  batch.phase = phase;
  for (std::int64_t i = 0; i < 9; ++i) {
    Segment segment;
    segment.request = RequestId(i * 2 + 1);
    segment.start = static_cast<std::int64_t>(random() % 30);
    segment.tokens.resize(phase == Phase::Decode ? 1 : 1 + random() % 7);
    for (auto& token : segment.tokens) token = static_cast<std::int32_t>(random() % 50);
    segment.group = static_cast<std::int64_t>(random() % kGroups);
    segment.samples = random() % 2 == 0;
    // Distinct within a group: a request owns its blocks.
    const auto first = static_cast<std::int32_t>(i);
    segment.blocks = std::make_shared<std::vector<std::int32_t>>(1, first);
    batch.tokens += static_cast<std::int64_t>(segment.tokens.size());
    batch.segments.push_back(std::move(segment));
  }
  return batch;
}

RowTable rows_of(const StepBatch& batch, Range segments, const StagePlan& stage,
                 std::int64_t index) {
  RowTable table;
  fill_rows({batch, segments}, stage, phase_coord(stage, batch.phase, index), kBlocksPerGroup,
            table);
  return table;
}

template <class Visit>
void for_every_case(const Visit& visit) {
  for (std::uint32_t seed = 0; seed < 6; ++seed) {
    for (const Phase phase : kPhases) {
      const StepBatch batch = random_batch(seed, phase);
      for (const Range segments : {Range{0, 9}, Range{2, 7}, Range{4, 5}}) {
        for (const StagePlan& stage : stages()) visit(batch, segments, stage);
      }
    }
  }
}

// Row n of a microbatch is its n-th token in (request, position) order; a dp group has exactly the
// rows of its scheduling groups.
TEST(Rows, AGroupHoldsItsRequestsRowsInOrder) {
  for_every_case([](const StepBatch& batch, Range segments, const StagePlan& stage) {
    for (std::int64_t index = 0; index < stage.ranks(); ++index) {
      const RowTable table = rows_of(batch, segments, stage, index);
      const PhaseCoord coord = phase_coord(stage, batch.phase, index);
      std::size_t at = 0;
      std::int64_t number = 0;
      for (std::int64_t i = segments.begin; i < segments.end; ++i) {
        const Segment& segment = batch.segments[static_cast<std::size_t>(i)];
        for (std::size_t t = 0; t < segment.tokens.size(); ++t, ++number) {
          if (segment.group % stage.dp != coord.d) continue;
          ASSERT_LT(at, table.group.size());
          const TokenRow& row = table.group[at++];
          EXPECT_EQ(row.number, number);
          EXPECT_EQ(row.request, segment.request);
          EXPECT_EQ(row.position, segment.start + static_cast<std::int64_t>(t));
          EXPECT_EQ(row.token, segment.tokens[t]);
          EXPECT_EQ(row.samples, segment.samples && t + 1 == segment.tokens.size());
        }
      }
      EXPECT_EQ(at, table.group.size());
    }
  });
}

// Local rows of the sequence slices tile the group; slices of the tensor group tile the local rows.
TEST(Rows, SlicesTileTheGroup) {
  for_every_case([](const StepBatch& batch, Range segments, const StagePlan& stage) {
    std::multiset<std::int64_t> dispatched;
    const PhaseMesh mesh = phase_mesh(stage, batch.phase);
    for (std::int64_t d = 0; d < mesh.dp; ++d) {
      std::int64_t next = 0;
      for (std::int64_t s = 0; s < mesh.sp; ++s) {
        for (std::int64_t t = 0; t < mesh.tp; ++t) {
          const RowTable table =
              rows_of(batch, segments, stage, phase_index(stage, batch.phase, {d, s, t}));
          EXPECT_EQ(table.slice.begin, next);
          next = table.slice.end;
          EXPECT_LE(table.local.begin, table.slice.begin);
          EXPECT_GE(table.local.end, table.slice.end);
          EXPECT_EQ(table.rows(RowSet::Local), table.local.size());
          EXPECT_EQ(table.first(RowSet::Local), table.local.begin);
          EXPECT_EQ(table.rows(RowSet::Slice), table.slice.size());
          EXPECT_EQ(table.first(RowSet::Slice), table.slice.begin);
          EXPECT_EQ(table.rows(RowSet::Group), std::ssize(table.group));
          EXPECT_EQ(table.first(RowSet::Group), 0);
          for (std::int64_t r = table.slice.begin; r < table.slice.end; ++r) {
            dispatched.insert(table.group[static_cast<std::size_t>(r)].number);
          }
          if (s + 1 == mesh.sp && t + 1 == mesh.tp) {
            EXPECT_EQ(next, table.rows(RowSet::Group));
          }
        }
      }
    }
    // Over the stage, every row is dispatched to the experts exactly once.
    std::int64_t number = 0;
    for (const std::int64_t n : dispatched) EXPECT_EQ(n, number++);
  });
}

// Both ends of a hand-over compute the same lists: what local_row_numbers says of a member is what
// that member has, and the senders of plan/mesh bring every row of a receiver exactly once.
TEST(Rows, HandOversAgree) {
  std::pmr::memory_resource* const memory = std::pmr::get_default_resource();
  for (const Phase phase : kPhases) {
    const StepBatch batch = random_batch(42, phase);
    const Range segments{1, 9};
    for (const StagePlan& to : stages()) {
      for (std::int64_t index = 0; index < to.ranks(); ++index) {
        const RowTable table = rows_of(batch, segments, to, index);
        std::pmr::vector<std::int64_t> mine;
        for (std::int64_t r = table.local.begin; r < table.local.end; ++r) {
          mine.push_back(table.group[static_cast<std::size_t>(r)].number);
        }
        ASSERT_EQ(local_row_numbers({batch, segments}, to, index, memory), mine);
        for (const StagePlan& from : stages()) {
          std::vector<std::int64_t> times(static_cast<std::size_t>(batch.tokens), 0);
          for (const std::int64_t sender : pipeline_senders(from, to, phase, index)) {
            for (const std::int64_t n :
                 local_row_numbers({batch, segments}, from, sender, memory)) {
              ++times[static_cast<std::size_t>(n)];
            }
          }
          for (const std::int64_t n : mine) ASSERT_EQ(times[static_cast<std::size_t>(n)], 1);
        }
      }
    }
  }
}

// Scheduling groups that share a pool never share a block of it, and blocks lie in the pool.
TEST(Rows, BlockTablesKeepSchedulingGroupsApart) {
  for_every_case([](const StepBatch& batch, Range segments, const StagePlan& stage) {
    for (std::int64_t index = 0; index < stage.ranks(); ++index) {
      const RowTable table = rows_of(batch, segments, stage, index);
      std::set<std::int32_t> used;
      for (const std::int32_t block : table.block_ids) {
        EXPECT_TRUE(used.insert(block).second);
        EXPECT_TRUE((Range{0, kGroups / stage.dp * kBlocksPerGroup}.contains(block)));
      }
      for (const TokenRow& row : table.group) {
        const auto segment =
            std::find_if(batch.segments.begin(), batch.segments.end(),
                         [&](const Segment& s) { return s.request == row.request; });
        EXPECT_EQ(table.block_table(row)[0],
                  segment->blocks->front() + segment->group / stage.dp * kBlocksPerGroup);
      }
    }
  });
}

TEST(KvCache, LayersAreDisjointAndStartAtZero) {
  for (const KvType type : kKvTypes) {
    const KvShape shape{3, 5, 2, 4, type};
    const KvCache cache(shape);
    EXPECT_EQ(shape.bytes(), 3 * 2 * 5 * 2 * kv_tile_bytes(type, kKvBlockTokens, 4));
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      const KvLayer kv = cache.layer(layer);
      EXPECT_EQ(kv.kv_heads, 2);
      EXPECT_EQ(kv.type, type);
      for (std::int64_t i = 0; i < shape.pool_bytes(); ++i) {
        EXPECT_EQ(kv.k[i], std::byte{0});
        EXPECT_EQ(kv.v[i], std::byte{0});
        kv.k[i] = static_cast<std::byte>(layer * 2 + 1);
        kv.v[i] = static_cast<std::byte>(layer * 2 + 2);
      }
    }
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      EXPECT_EQ(cache.layer(layer).k[shape.pool_bytes() - 1],
                static_cast<std::byte>(layer * 2 + 1));
      EXPECT_EQ(cache.layer(layer).v[0], static_cast<std::byte>(layer * 2 + 2));
    }
  }
  EXPECT_EQ(KvShape({3, 5, 2, 4}).bytes(), 3 * 2 * 5 * kKvBlockTokens * 2 * 4 * 4);
  EXPECT_EQ(KvCache({0, 5, 2, 4}).shape().bytes(), 0);
}

}  // namespace
}  // namespace pentafold
