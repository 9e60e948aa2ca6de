// RecordingCommunicator: counts what a rank sends to others, by the label of the step that does it.
//
// What stays on the rank (bytes to itself, collectives of a group of one) is not traffic and is not
// counted. Cost: an addition a call.
// Held by comm/local_world_test.cc.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "comm/communicator.h"

namespace pentafold {

struct Traffic {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;  // sent to other ranks
};

class RecordingCommunicator final : public Communicator {
 public:
  explicit RecordingCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

  // What the next calls are for; a string that outlives the communicator (a step's name).
  void set_label(const char* label) { label_ = label; }
  const std::map<std::string, Traffic>& traffic() const { return traffic_; }
  void clear() { traffic_.clear(); }

  Rank rank() const override { return inner_->rank(); }

  Result<GroupId> join(std::span<const Rank> members) override {
    PF_ASSIGN(const GroupId group, inner_->join(members));
    const auto index = static_cast<std::size_t>(group.value);
    if (groups_.size() <= index) groups_.resize(index + 1);
    groups_[index] = {static_cast<std::int64_t>(members.size()), 0};
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (members[i] == rank()) groups_[index].self = static_cast<std::int64_t>(i);
    }
    return group;
  }

  Status all_to_all_v(GroupId group, std::span<const Bytes> send, MemberSink sink) override {
    std::int64_t bytes = 0;
    for (std::size_t m = 0; m < send.size(); ++m) {
      if (static_cast<std::int64_t>(m) != of(group).self) {
        bytes += static_cast<std::int64_t>(send[m].size());
      }
    }
    if (of(group).size > 1) count(bytes);
    return inner_->all_to_all_v(group, send, sink);
  }

  Status all_gather_v(GroupId group, Bytes mine, MemberSink sink) override {
    const std::int64_t others = of(group).size - 1;
    if (others > 0) count(static_cast<std::int64_t>(mine.size()) * others);
    return inner_->all_gather_v(group, mine, sink);
  }

  Status send(Rank to, Bytes bytes) override {
    if (to != rank()) count(static_cast<std::int64_t>(bytes.size()));
    return inner_->send(to, bytes);
  }

  Status lend(Rank to, Bytes bytes) override {
    if (to != rank()) count(static_cast<std::int64_t>(bytes.size()));
    return inner_->lend(to, bytes);
  }

  Status recv(Rank from, BytesSink sink) override { return inner_->recv(from, sink); }

  Status barrier(GroupId group) override { return inner_->barrier(group); }

 private:
  struct Member {
    std::int64_t size = 0;
    std::int64_t self = 0;
  };
  const Member& of(GroupId group) const { return groups_[static_cast<std::size_t>(group.value)]; }
  void count(std::int64_t bytes) {
    Traffic& traffic = traffic_[label_];
    ++traffic.calls;
    traffic.bytes += bytes;
  }

  std::unique_ptr<Communicator> inner_;
  const char* label_ = "other";
  std::map<std::string, Traffic> traffic_;
  std::vector<Member> groups_;
};

}  // namespace pentafold
