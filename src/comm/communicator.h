// Communicator: moves bytes between ranks; one of the two virtual interfaces of the system.
//
// It never adds numbers: sums happen in tree order in our own code, so the transport cannot change
// a bit. Received bytes are handed to a sink in the sender's memory or in a transport buffer; the
// sink is called once per member, in ascending member order, own contribution included, and what
// it was given stays valid until its last call returns. Every wait has a deadline; after the first
// failure of any rank all waits return that failure (PeerLost or Timeout). Implementations: local
// (threads of one process). Decorators: recording, faulty. A communicator belongs to one rank and
// is used by one thread. Held by comm/local_world_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/id.h"
#include "base/result.h"

namespace pentafold {

using Bytes = std::span<const std::byte>;
using MemberSink = FunctionRef<void(std::int64_t member, Bytes bytes)>;
using BytesSink = FunctionRef<void(Bytes bytes)>;

// A group this rank has joined; small, dense, local to the rank.
struct GroupId {
  std::int32_t value = -1;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual Rank rank() const = 0;

  // Joins the group of `members` (this rank among them; order defines member indices). Every member
  // must join with the same list. Does not wait.
  virtual Result<GroupId> join(std::span<const Rank> members) = 0;

  // Member j receives send[j] of every member. send has one entry per member; sizes may differ and
  // be zero. Blocks until all members' data were read.
  virtual Status all_to_all_v(GroupId group, std::span<const Bytes> send, MemberSink sink) = 0;

  // Every member receives `mine` of every member.
  virtual Status all_gather_v(GroupId group, Bytes mine, MemberSink sink) = 0;

  // Queues a copy of `bytes`; does not wait for the receiver. Messages of a pair keep their order.
  virtual Status send(Rank to, Bytes bytes) = 0;
  // The same without a copy: `bytes` must stay as they are until the receiver has read them.
  virtual Status lend(Rank to, Bytes bytes) = 0;
  virtual Status recv(Rank from, BytesSink sink) = 0;

  virtual Status barrier(GroupId group) = 0;
};

template <class T, class Allocator>
Bytes as_bytes_of(const std::vector<T, Allocator>& values) {
  return std::as_bytes(std::span<const T>(values));
}

}  // namespace pentafold
