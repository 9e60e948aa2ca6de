#include "comm/local_world.h"

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"

namespace pentafold {
namespace {

using Clock = std::chrono::steady_clock;

// A place where threads wait for a condition, a deadline, or the end of the world.
struct Meeting {
  std::mutex mutex;
  std::condition_variable changed;
};

struct GroupState : Meeting {
  explicit GroupState(std::vector<Rank> m) : members(std::move(m)), sends(members.size()) {}
  std::vector<Rank> members;
  std::vector<std::span<const Bytes>> sends;  // what each member published
  std::size_t arrived = 0;
  std::uint64_t generation = 0;
  std::optional<Error> broken;  // why a member left without the others: what it published is gone
};

struct Mailbox : Meeting {
  struct Message {
    std::vector<std::byte> copy;
    Bytes bytes;  // of the copy, or the sender's
  };
  std::deque<Message> messages;
};

}  // namespace

struct LocalWorld::State {
  std::int64_t ranks = 0;
  LocalWorldOptions options;
  std::atomic<bool> aborted{false};

  mutable std::mutex mutex;  // guards what follows; never held while waiting
  std::optional<Error> reason;
  std::map<std::vector<Rank>, std::shared_ptr<GroupState>> groups;
  std::map<std::pair<Rank, Rank>, std::shared_ptr<Mailbox>> mailboxes;

  Error abort_reason() const {
    const std::lock_guard lock(mutex);
    return reason.value_or(make_error(ErrorCode::PeerLost, "the run was stopped"));
  }

  std::shared_ptr<Mailbox> mailbox(Rank from, Rank to) {
    const std::lock_guard lock(mutex);
    auto& box = mailboxes[{from, to}];
    if (!box) box = std::make_shared<Mailbox>();
    return box;
  }

  // Waits until `ready`, with `lock` on meeting.mutex held.
  template <class Ready>
  Status wait(Meeting& meeting, std::unique_lock<std::mutex>& lock, const Ready& ready) {
    const auto deadline = Clock::now() + options.timeout;
    const auto over = [&] { return ready() || aborted.load(); };
    if (!meeting.changed.wait_until(lock, deadline, over)) {
      return make_error(ErrorCode::Timeout,
                        fmt::format("a peer did not answer within {} ms", options.timeout.count()));
    }
    // A completed meeting counts even if the world ended just after it.
    if (ready()) return ok_status();
    return abort_reason();
  }

  Status meet(GroupState& group) {
    std::unique_lock lock(group.mutex);
    if (group.broken) return *group.broken;
    if (++group.arrived == group.members.size()) {
      group.arrived = 0;
      ++group.generation;
      group.changed.notify_all();
      return ok_status();
    }
    const std::uint64_t before = group.generation;
    const Status met = wait(group, lock, [&] { return group.generation != before; });
    if (!met.ok()) group.broken = met.error();
    return met;
  }

  // The second meeting of an exchange: all members are only reading memory, so all will come.
  // Nobody may leave early, whatever happens elsewhere, while others still read what it published.
  static void part(GroupState& group) {
    std::unique_lock lock(group.mutex);
    if (++group.arrived == group.members.size()) {
      group.arrived = 0;
      ++group.generation;
      group.changed.notify_all();
      return;
    }
    const std::uint64_t before = group.generation;
    group.changed.wait(lock, [&] { return group.generation != before; });
  }
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(LocalWorld::State& world, Rank rank) : world_(world), rank_(rank) {}

  Rank rank() const override { return rank_; }

  Result<GroupId> join(std::span<const Rank> members) override {
    std::vector<Rank> list(members.begin(), members.end());
    std::int64_t self = -1;
    for (std::size_t i = 0; i < list.size(); ++i) {
      CHECK(list[i].value >= 0 && list[i].value < world_.ranks);
      if (list[i] == rank_) self = static_cast<std::int64_t>(i);
    }
    CHECK(self >= 0, "a rank joins only groups it is a member of");
    const std::lock_guard lock(world_.mutex);
    auto& state = world_.groups[list];
    if (!state) state = std::make_shared<GroupState>(list);
    joined_.push_back({state, self});
    return GroupId{static_cast<std::int32_t>(joined_.size() - 1)};
  }

  Status all_to_all_v(GroupId group, std::span<const Bytes> send, MemberSink sink) override {
    const Joined& joined = joined_[static_cast<std::size_t>(group.value)];
    CHECK(send.size() == joined.state->members.size());
    return exchange(joined, send, [&](std::int64_t member, std::span<const Bytes> theirs) {
      sink(member, theirs[static_cast<std::size_t>(joined.self)]);
    });
  }

  Status all_gather_v(GroupId group, Bytes mine, MemberSink sink) override {
    const Joined& joined = joined_[static_cast<std::size_t>(group.value)];
    return exchange(joined, {&mine, 1}, [&](std::int64_t member, std::span<const Bytes> theirs) {
      sink(member, theirs.front());
    });
  }

  Status send(Rank to, Bytes bytes) override {
    Mailbox::Message message;
    message.copy.assign(bytes.begin(), bytes.end());
    message.bytes = message.copy;
    return post(to, std::move(message));
  }

  Status lend(Rank to, Bytes bytes) override { return post(to, {{}, bytes}); }

  Status recv(Rank from, BytesSink sink) override {
    const auto box = world_.mailbox(from, rank_);
    Mailbox::Message message;
    {
      std::unique_lock lock(box->mutex);
      PF_TRY(world_.wait(*box, lock, [&] { return !box->messages.empty(); }));
      message = std::move(box->messages.front());
      box->messages.pop_front();
    }
    sink(message.bytes);
    return ok_status();
  }

  Status barrier(GroupId group) override {
    const Joined& joined = joined_[static_cast<std::size_t>(group.value)];
    if (joined.state->members.size() == 1) return ok_status();
    return world_.meet(*joined.state);
  }

 private:
  struct Joined {
    std::shared_ptr<GroupState> state;
    std::int64_t self = 0;
  };

  Status post(Rank to, Mailbox::Message message) {
    if (world_.aborted.load()) return world_.abort_reason();
    const auto box = world_.mailbox(rank_, to);
    const std::lock_guard lock(box->mutex);
    box->messages.push_back(std::move(message));  // moving a copy keeps its bytes in place
    box->changed.notify_one();
    return ok_status();
  }

  template <class Read>
  Status exchange(const Joined& joined, std::span<const Bytes> mine, const Read& read) {
    GroupState& group = *joined.state;
    if (group.members.size() == 1) {
      read(0, mine);
      return ok_status();
    }
    group.sends[static_cast<std::size_t>(joined.self)] = mine;
    PF_TRY(world_.meet(group));
    for (std::size_t m = 0; m < group.members.size(); ++m) {
      read(static_cast<std::int64_t>(m), group.sends[m]);
    }
    LocalWorld::State::part(group);
    return ok_status();
  }

  LocalWorld::State& world_;
  Rank rank_;
  std::vector<Joined> joined_;
};

LocalWorld::LocalWorld(std::int64_t ranks, LocalWorldOptions options)
    : state_(std::make_unique<State>()) {
  state_->ranks = ranks;
  state_->options = options;
}

LocalWorld::~LocalWorld() = default;

std::unique_ptr<Communicator> LocalWorld::communicator(Rank rank) {
  return std::make_unique<LocalCommunicator>(*state_, rank);
}

void LocalWorld::abort(const Error& reason) {
  std::vector<std::shared_ptr<Meeting>> meetings;
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->reason) state_->reason = reason;
    state_->aborted.store(true);
    for (const auto& [members, group] : state_->groups) meetings.push_back(group);
    for (const auto& [pair, box] : state_->mailboxes) meetings.push_back(box);
  }
  for (const auto& meeting : meetings) {
    const std::lock_guard lock(meeting->mutex);  // a waiter is either before its check or asleep
    meeting->changed.notify_all();
  }
}

Status LocalWorld::status() const {
  if (!state_->aborted.load()) return ok_status();
  return state_->abort_reason();
}

}  // namespace pentafold
