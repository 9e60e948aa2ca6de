// FaultyCommunicator: a communicator that fails on cue, so that every failure can be a test.
//
// Calls (join, collectives, send, lend, recv, barrier) of one rank are counted from 0. A script
// names the call and what happens there: it returns an error once, it comes late, or the rank
// vanishes and all its calls from then on return PeerLost. Delays may also be drawn for each call
// from a seed: the same seed gives the same delays. A failing call does not reach the transport.
// Cost: a comparison a call. Held by comm/faulty_test.cc and tests/fault.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace pentafold {

enum class FaultKind {
  None,
  Fail,    // `error`, once
  Delay,   // sleeps for `delay`, then works
  Vanish,  // PeerLost at this call and ever after
  Jitter,  // every call sleeps for a seeded part of `delay`
};

struct FaultScript {
  FaultKind kind = FaultKind::None;
  std::int64_t call = 0;  // which call of this rank; Jitter: all
  std::chrono::microseconds delay{0};
  std::uint64_t seed = 0;  // Jitter
  Error error = make_error(ErrorCode::Io, "the transport failed as the fault script says");
};

class FaultyCommunicator final : public Communicator {
 public:
  // `calls`, if given, is set to the number of calls so far; it must outlive the communicator.
  FaultyCommunicator(std::unique_ptr<Communicator> inner, FaultScript script,
                     std::atomic<std::int64_t>* calls = nullptr);

  Rank rank() const override;
  Result<GroupId> join(std::span<const Rank> members) override;
  Status all_to_all_v(GroupId group, std::span<const Bytes> send, MemberSink sink) override;
  Status all_gather_v(GroupId group, Bytes mine, MemberSink sink) override;
  Status send(Rank to, Bytes bytes) override;
  Status lend(Rank to, Bytes bytes) override;
  Status recv(Rank from, BytesSink sink) override;
  Status barrier(GroupId group) override;

 private:
  Status begin_call();  // what the script says of the call at hand

  std::unique_ptr<Communicator> inner_;
  FaultScript script_;
  std::atomic<std::int64_t>* calls_;
  std::int64_t made_ = 0;
};

}  // namespace pentafold
