#include "comm/local_world.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <numeric>
#include <thread>

#include "base/patience.h"
#include "base/random.h"
#include "comm/recording.h"

namespace pentafold {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{60'000};

// Runs `body` as every rank of a world, each on its own thread.
void on_all_ranks(LocalWorld& world, std::int64_t ranks,
                  const std::function<void(Communicator&)>& body) {
  std::vector<std::jthread> threads;
  for (std::int64_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      const auto comm = world.communicator(Rank(r));
      body(*comm);
    });
  }
}

std::vector<Rank> first_ranks(std::int64_t n) {
  std::vector<Rank> out;
  for (std::int64_t r = 0; r < n; ++r) out.emplace_back(r);
  return out;
}

// The message of one pair in one round: both ends know its length (often zero) and bytes.
std::vector<std::byte> message(std::int64_t from, std::int64_t to, std::int64_t round) {
  const std::uint64_t key = mix64(static_cast<std::uint64_t>((from * 1000 + to) * 1000 + round));
  std::vector<std::byte> out(key % 3 == 0 ? 0 : key % 700);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(mix64(key + i));
  return out;
}

bool same(Bytes got, const std::vector<std::byte>& wanted) {
  return std::equal(got.begin(), got.end(), wanted.begin(), wanted.end());
}

class LocalWorldSizes : public ::testing::TestWithParam<std::int64_t> {
 protected:
  std::int64_t ranks() const { return GetParam(); }
  std::int64_t rounds() const { return ranks() > 8 ? 6 : 40; }
};
INSTANTIATE_TEST_SUITE_P(Ranks, LocalWorldSizes, ::testing::Values(1, 2, 3, 5, 8, 17, 64));

TEST_P(LocalWorldSizes, AllToAllDeliversEveryPairInMemberOrder) {
  LocalWorld world(ranks(), {kLong});
  on_all_ranks(world, ranks(), [&](Communicator& comm) {
    const auto group = comm.join(first_ranks(ranks()));
    ASSERT_TRUE(group.ok());
    for (std::int64_t round = 0; round < rounds(); ++round) {
      // Made anew in each round and freed after it: a reader that is late reads freed memory.
      std::vector<std::vector<std::byte>> out;
      std::vector<Bytes> views;
      for (std::int64_t to = 0; to < ranks(); ++to) {
        out.push_back(message(comm.rank().value, to, round));
        views.emplace_back(out.back());
      }
      std::int64_t next = 0;
      const Status done = comm.all_to_all_v(*group, views, [&](std::int64_t from, Bytes bytes) {
        EXPECT_EQ(from, next++);
        EXPECT_TRUE(same(bytes, message(from, comm.rank().value, round)));
      });
      ASSERT_TRUE(done.ok());
      EXPECT_EQ(next, ranks());
    }
  });
}

TEST_P(LocalWorldSizes, AllGatherDeliversEveryMemberInOrder) {
  LocalWorld world(ranks(), {kLong});
  on_all_ranks(world, ranks(), [&](Communicator& comm) {
    const auto group = comm.join(first_ranks(ranks()));
    for (std::int64_t round = 0; round < rounds(); ++round) {
      const std::vector<std::byte> mine = message(comm.rank().value, 0, round);
      std::int64_t next = 0;
      const Status done = comm.all_gather_v(*group, mine, [&](std::int64_t from, Bytes bytes) {
        EXPECT_EQ(from, next++);
        EXPECT_TRUE(same(bytes, message(from, 0, round)));
      });
      ASSERT_TRUE(done.ok());
      EXPECT_EQ(next, ranks());
    }
  });
}

TEST_P(LocalWorldSizes, MessagesOfAPairKeepTheirOrder) {
  LocalWorld world(ranks(), {kLong});
  on_all_ranks(world, ranks(), [&](Communicator& comm) {
    const Rank right((comm.rank().value + 1) % ranks());
    const Rank left((comm.rank().value + ranks() - 1) % ranks());
    // All are sent before any is received: send must not wait for the receiver.
    for (std::int64_t round = 0; round < rounds(); ++round) {
      ASSERT_TRUE(comm.send(right, message(comm.rank().value, right.value, round)).ok());
    }
    for (std::int64_t round = 0; round < rounds(); ++round) {
      const Status done = comm.recv(left, [&](Bytes bytes) {
        EXPECT_TRUE(same(bytes, message(left.value, comm.rank().value, round)));
      });
      ASSERT_TRUE(done.ok());
    }
  });
}

// Lent bytes are read where they lie, in turn with copies.
TEST_P(LocalWorldSizes, LentBytesAreNotCopied) {
  LocalWorld world(ranks(), {kLong});
  on_all_ranks(world, ranks(), [&](Communicator& comm) {
    const auto group = comm.join(first_ranks(ranks()));
    const Rank right((comm.rank().value + 1) % ranks());
    const Rank left((comm.rank().value + ranks() - 1) % ranks());
    auto lent = message(comm.rank().value, right.value, 0);
    const auto late = message(comm.rank().value, right.value, 1);
    ASSERT_TRUE(comm.lend(right, lent).ok());
    ASSERT_TRUE(comm.send(right, late).ok());
    std::copy(late.begin(), late.begin() + std::min(late.size(), lent.size()), lent.begin());
    ASSERT_TRUE(comm.barrier(*group).ok());
    auto expected = message(left.value, comm.rank().value, 0);
    const auto second = message(left.value, comm.rank().value, 1);
    std::copy(second.begin(), second.begin() + std::min(second.size(), expected.size()),
              expected.begin());
    ASSERT_TRUE(comm.recv(left, [&](Bytes bytes) { EXPECT_TRUE(same(bytes, expected)); }).ok());
    ASSERT_TRUE(comm.recv(left, [&](Bytes bytes) { EXPECT_TRUE(same(bytes, second)); }).ok());
    ASSERT_TRUE(comm.barrier(*group).ok());
  });
}

TEST_P(LocalWorldSizes, NobodyPassesABarrierBeforeAllHaveArrived) {
  LocalWorld world(ranks(), {kLong});
  std::atomic<std::int64_t> arrived{0};
  on_all_ranks(world, ranks(), [&](Communicator& comm) {
    const auto group = comm.join(first_ranks(ranks()));
    for (std::int64_t round = 1; round <= rounds(); ++round) {
      ++arrived;
      ASSERT_TRUE(comm.barrier(*group).ok());
      EXPECT_GE(arrived.load(), round * ranks());
      ASSERT_TRUE(comm.barrier(*group).ok());
    }
  });
}

// Rows and columns of a grid, and everyone, in turn: each rank is in three groups, whose members
// are listed in another order than their numbers.
TEST(LocalWorld, OverlappingGroupsKeepApart) {
  constexpr std::int64_t kSide = 4;
  LocalWorld world(kSide * kSide, {kLong});
  on_all_ranks(world, kSide * kSide, [&](Communicator& comm) {
    const std::int64_t row = comm.rank().value / kSide;
    const std::int64_t column = comm.rank().value % kSide;
    std::vector<std::vector<Rank>> lists(2);
    for (std::int64_t i = kSide - 1; i >= 0; --i) {
      lists[0].emplace_back(row * kSide + i);
      lists[1].emplace_back(i * kSide + column);
    }
    lists.push_back(first_ranks(kSide * kSide));
    std::vector<GroupId> groups;
    for (const auto& members : lists) groups.push_back(*comm.join(members));
    for (std::int64_t round = 0; round < 30; ++round) {
      const auto g = static_cast<std::size_t>(round % 3);
      const auto mine = message(comm.rank().value, 5, round);
      const Status done = comm.all_gather_v(groups[g], mine, [&](std::int64_t m, Bytes bytes) {
        const Rank from = lists[g][static_cast<std::size_t>(m)];
        EXPECT_TRUE(same(bytes, message(from.value, 5, round)));
      });
      ASSERT_TRUE(done.ok());
    }
  });
}

// All present and future waits of all ranks return the reason; nobody reads a buffer of a rank that
// left (asan and tsan look on).
TEST(LocalWorld, AbortEndsEveryWaitWithItsReason) {
  constexpr std::int64_t kRanks = 12;
  for (int repeat = 0; repeat < 20; ++repeat) {
    LocalWorld world(kRanks, {kLong});
    on_all_ranks(world, kRanks, [&](Communicator& comm) {
      const auto group = comm.join(first_ranks(kRanks));
      const auto quits = mix64(static_cast<std::uint64_t>(repeat)) % 10;
      for (std::uint64_t round = 0;; ++round) {
        if (comm.rank().value == repeat % kRanks && round == quits) {
          world.abort(make_error(ErrorCode::PeerLost, "gone fishing"));
        }
        const auto mine = message(comm.rank().value, 1, static_cast<std::int64_t>(round));
        Status done;
        if (round % 3 == 0) {
          done = comm.all_gather_v(*group, mine, [&](std::int64_t m, Bytes bytes) {
            EXPECT_TRUE(same(bytes, message(m, 1, static_cast<std::int64_t>(round))));
          });
        } else if (round % 3 == 1) {
          done = comm.barrier(*group);
        } else {
          const Rank left((comm.rank().value + kRanks - 1) % kRanks);
          done = comm.send(Rank((comm.rank().value + 1) % kRanks), mine);
          if (done.ok()) done = comm.recv(left, [](Bytes) {});
        }
        if (done.ok()) continue;
        EXPECT_EQ(done.error().message, "gone fishing");
        EXPECT_EQ(comm.barrier(*group).error().message, "gone fishing");
        return;
      }
    });
    EXPECT_EQ(world.status().error().code, ErrorCode::PeerLost);
  }
}

TEST(LocalWorld, OnlyTheFirstAbortCounts) {
  LocalWorld world(1, {kLong});
  EXPECT_TRUE(world.status().ok());
  world.abort(make_error(ErrorCode::Io, "first"));
  world.abort(make_error(ErrorCode::PeerLost, "second"));
  EXPECT_EQ(world.status().error().message, "first");
  EXPECT_EQ(world.communicator(Rank(0))->send(Rank(0), {}).error().message, "first");
}

// One rank never comes: all others return an error by themselves, whenever they arrive.
TEST(LocalWorld, AnAbsentMemberIsATimeoutForAll) {
  constexpr std::int64_t kRanks = 6;
  LocalWorld world(kRanks, {milliseconds(50)});
  std::atomic<int> errors{0};
  std::atomic<int> timeouts{0};
  on_all_ranks(world, kRanks, [&](Communicator& comm) {
    const auto group = comm.join(first_ranks(kRanks));
    if (comm.rank().value == 0) return;
    std::this_thread::sleep_for(milliseconds(30 * (comm.rank().value - 1)));
    const std::vector<std::byte> mine(100'000, std::byte{7});
    const Status done = comm.all_gather_v(*group, mine, [](std::int64_t, Bytes) { FAIL(); });
    ASSERT_FALSE(done.ok());
    ++errors;
    if (done.error().code == ErrorCode::Timeout) ++timeouts;
    // A group that broke stays broken: a late exchange would read buffers that are gone.
    EXPECT_FALSE(comm.barrier(*group).ok());
  });
  EXPECT_EQ(errors.load(), kRanks - 1);
  EXPECT_GE(timeouts.load(), 1);
}

TEST(LocalWorld, AMessageThatNeverComesIsATimeout) {
  LocalWorld world(2, {milliseconds(20)});
  const auto comm = world.communicator(Rank(0));
  const Status done = comm->recv(Rank(1), [](Bytes) { FAIL(); });
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ErrorCode::Timeout);
}

TEST(LocalWorld, WhoWaitsForAMessageLeavesItsCoreToOthers) {
  const BusyThreads ranks(usable_cores() + 1);
  LocalWorld world(2, {});
  const auto sender = world.communicator(Rank(0));
  const auto receiver = world.communicator(Rank(1));
  for (int round = 0; round < 100; ++round) {
    EXPECT_FALSE(cores_suffice());
    std::jthread waits([&] { EXPECT_TRUE(receiver->recv(Rank(0), [](Bytes) {}).ok()); });
    while (!cores_suffice()) std::this_thread::yield();
    EXPECT_TRUE(sender->send(Rank(1), {}).ok());
    EXPECT_FALSE(cores_suffice()) << "it counts before it runs";
    waits.join();
    EXPECT_FALSE(cores_suffice()) << "and once";
  }
  std::jthread waits([&] { EXPECT_FALSE(receiver->recv(Rank(0), [](Bytes) {}).ok()); });
  while (!cores_suffice()) std::this_thread::yield();
  world.abort(make_error(ErrorCode::PeerLost, "over"));
  waits.join();
  EXPECT_FALSE(cores_suffice()) << "also when the world has ended";
}

TEST(Recording, CountsBytesThatLeaveTheRankByLabel) {
  constexpr std::int64_t kRanks = 3;
  LocalWorld world(kRanks, {kLong});
  on_all_ranks(world, kRanks, [&](Communicator& bare) {
    const std::int64_t me = bare.rank().value;
    RecordingCommunicator comm(world.communicator(bare.rank()));
    const auto group = comm.join(first_ranks(kRanks));
    const auto alone = comm.join(std::vector<Rank>{comm.rank()});
    const std::vector<std::byte> pool(100);
    const auto bytes = [&](std::size_t n) { return Bytes(pool).first(n); };
    comm.set_label("exchange");
    const std::vector<Bytes> views{bytes(1), bytes(10), bytes(100)};
    ASSERT_TRUE(comm.all_to_all_v(*group, views, [](std::int64_t, Bytes) {}).ok());
    comm.set_label("gather");
    ASSERT_TRUE(comm.all_gather_v(*group, bytes(7), [](std::int64_t, Bytes) {}).ok());
    ASSERT_TRUE(comm.all_gather_v(*alone, bytes(50), [](std::int64_t, Bytes) {}).ok());
    comm.set_label("point");
    ASSERT_TRUE(comm.send(Rank((me + 1) % kRanks), bytes(9)).ok());
    ASSERT_TRUE(comm.send(comm.rank(), bytes(33)).ok());
    ASSERT_TRUE(comm.recv(Rank((me + 2) % kRanks), [](Bytes b) { EXPECT_EQ(b.size(), 9U); }).ok());
    ASSERT_TRUE(comm.recv(comm.rank(), [](Bytes b) { EXPECT_EQ(b.size(), 33U); }).ok());
    const std::int64_t kept = static_cast<std::int64_t>(views[static_cast<std::size_t>(me)].size());
    EXPECT_EQ(comm.traffic().at("exchange").bytes, 111 - kept);
    EXPECT_EQ(comm.traffic().at("exchange").calls, 1);
    EXPECT_EQ(comm.traffic().at("gather").bytes, 14);
    EXPECT_EQ(comm.traffic().at("gather").calls, 1);  // the group of one moved nothing
    EXPECT_EQ(comm.traffic().at("point").bytes, 9);
    comm.clear();
    EXPECT_TRUE(comm.traffic().empty());
  });
}

}  // namespace
}  // namespace pentafold
