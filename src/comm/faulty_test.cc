#include "comm/faulty.h"

#include <gtest/gtest.h>

#include <optional>

#include "comm/local_world.h"

namespace pentafold {
namespace {

// Which of ten calls of every kind fail; nothing reaches the transport when one does.
std::vector<std::optional<ErrorCode>> outcomes(FaultScript script) {
  LocalWorld world(1, {std::chrono::milliseconds(1000)});
  std::atomic<std::int64_t> calls{0};
  FaultyCommunicator comm(world.communicator(Rank(0)), std::move(script), &calls);
  const std::vector<Rank> self{Rank(0)};
  GroupId group{0};
  std::vector<std::optional<ErrorCode>> out;
  const auto note = [&](const Status& status) {
    out.push_back(status.ok() ? std::nullopt : std::optional(status.error().code));
    EXPECT_EQ(calls.load(), std::ssize(out));
  };
  const auto joined = comm.join(self);
  note(joined.ok() ? ok_status() : Status(joined.error()));
  const std::vector<Bytes> nothing(1);
  for (int i = 0; i < 3; ++i) {
    bool read = false;
    if (joined.ok()) {
      note(comm.all_to_all_v(group, nothing, [&](std::int64_t, Bytes) { read = true; }));
      EXPECT_EQ(read, !out.back().has_value());
      note(comm.barrier(group));
    }
    note(comm.send(Rank(0), {}));
    if (out.back().has_value()) continue;
    note(comm.recv(Rank(0), [](Bytes) {}));
  }
  return out;
}

TEST(Faulty, FailsOnceAtTheCallOfTheScript) {
  const std::size_t all = outcomes({}).size();
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(all); ++k) {
    FaultScript script;
    script.kind = FaultKind::Fail;
    script.call = k;
    const auto got = outcomes(script);
    ASSERT_GT(got.size(), static_cast<std::size_t>(k));
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].has_value(), static_cast<std::int64_t>(i) == k) << "call " << i;
    }
    EXPECT_EQ(got[static_cast<std::size_t>(k)], ErrorCode::Io);
  }
}

TEST(Faulty, VanishesForever) {
  for (std::int64_t k = 0; k < 10; ++k) {
    FaultScript script;
    script.kind = FaultKind::Vanish;
    script.call = k;
    const auto got = outcomes(script);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], static_cast<std::int64_t>(i) >= k ? std::optional(ErrorCode::PeerLost)
                                                          : std::nullopt);
    }
  }
}

TEST(Faulty, DelaysFailNothing) {
  for (const FaultKind kind : {FaultKind::None, FaultKind::Delay, FaultKind::Jitter}) {
    FaultScript script;
    script.kind = kind;
    script.call = 3;
    script.delay = std::chrono::microseconds(200);
    for (const auto& code : outcomes(script)) EXPECT_FALSE(code.has_value());
  }
}

}  // namespace
}  // namespace pentafold
