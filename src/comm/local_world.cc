#include "comm/local_world.h"

#include <fmt/format.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/event.h"
#include "base/patience.h"

namespace pentafold {
namespace {

using Clock = std::chrono::steady_clock;

// A barrier that its members pass again and again without a lock: one word counts who is here; who
// completes the count moves on to the next generation. Only who has waited for long sleeps.
struct GroupState {
  explicit GroupState(std::vector<Rank> m) : members(std::move(m)), sends(members.size()) {}

  static constexpr std::uint64_t kBroken = std::uint64_t{1} << 31;  // a member left the others
  static constexpr std::uint64_t kGeneration = std::uint64_t{1} << 32;

  // Counts the caller in; the generation it waits to see passed, or nothing if it is broken.
  std::optional<std::uint64_t> arrive() {
    std::uint64_t word = barrier.load();
    while ((word & kBroken) == 0) {
      const std::uint64_t generation = word / kGeneration;
      const bool last = word % kGeneration + 1 == members.size();
      const std::uint64_t next = last ? (generation + 1) * kGeneration : word + 1;
      if (!barrier.compare_exchange_weak(word, next)) continue;
      if (last) changed.announce();
      return generation;
    }
    return std::nullopt;
  }
  bool passed(std::uint64_t waited_for) const { return barrier.load() / kGeneration != waited_for; }
  // Ends the meeting for all, who will hear why, unless it is complete: then false.
  bool leave(std::uint64_t waited_for, const Error& reason) {
    {
      const std::lock_guard lock(mutex);
      why = reason;
    }
    std::uint64_t word = barrier.load();
    while (word / kGeneration == waited_for) {
      if (barrier.compare_exchange_weak(word, word | kBroken)) return true;
    }
    return false;
  }

  const std::vector<Rank> members;
  std::vector<std::span<const Bytes>> sends;  // what each member published
  std::atomic<std::uint64_t> barrier{0};
  Event changed;
  std::mutex mutex;
  std::optional<Error> why;  // it is broken: set before it is
};

struct Mailbox {
  struct Message {
    std::vector<std::byte> copy;
    Bytes bytes;  // of the copy, or the sender's
  };
  std::mutex mutex;
  std::deque<Message> messages;
  std::atomic<std::int64_t> waiting{0};  // messages
  bool resting = false;                  // the receiver, and does not count as busy
  Event changed;

  // Before the receiver sleeps, and by the sender before it wakes it, so that nobody looks out on
  // a core that it needs. A later stage sleeps while an earlier one computes.
  void rest(bool at_rest) {
    if (resting == at_rest) return;
    resting = at_rest;
    count_busy(at_rest ? -1 : 1);
  }
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

  // Looks out for `ready` for a while, then sleeps until it is so or the world or the time is over.
  template <class Ready>
  Status wait(Event& changed, const Ready& ready) {
    const auto over = [&] { return ready() || aborted.load(); };
    return look_out(over) && ready() ? ok_status() : sleep(changed, ready);
  }

  template <class Ready>
  Status sleep(Event& changed, const Ready& ready) {
    const auto over = [&] { return ready() || aborted.load(); };
    if (!changed.wait_until(Clock::now() + options.timeout, over)) {
      return make_error(ErrorCode::Timeout,
                        fmt::format("a peer did not answer within {} ms", options.timeout.count()));
    }
    // A completed meeting counts even if the world ended just after it.
    if (ready()) return ok_status();
    return abort_reason();
  }

  Status meet(GroupState& group) {
    const auto arrived = group.arrive();
    if (!arrived) {
      const std::lock_guard lock(group.mutex);
      return *group.why;
    }
    Status met = wait(group.changed, [&] { return group.passed(*arrived); });
    // What this rank published is about to go: nobody may complete the meeting any more.
    if (!met.ok() && !group.leave(*arrived, met.error())) return ok_status();
    return met;
  }

  // The second meeting of an exchange: all members are only reading memory, so all will come.
  // Nobody may leave early, whatever happens elsewhere, while others still read what it published.
  static void part(GroupState& group) {
    const auto arrived = group.arrive();
    CHECK(arrived.has_value(), "a member leaves a meeting only before it is complete");
    const auto passed = [&] { return group.passed(*arrived); };
    if (!look_out(passed)) group.changed.wait_until(Clock::time_point::max(), passed);
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
    const auto arrived = [&] { return box->waiting.load() > 0; };
    if (!look_out(arrived)) {
      {
        const std::lock_guard lock(box->mutex);
        box->rest(!arrived());
      }
      const Status woken = world_.sleep(box->changed, arrived);
      const std::lock_guard lock(box->mutex);
      box->rest(false);
      if (!woken.ok()) return woken;
    }
    Mailbox::Message message;
    {
      const std::lock_guard lock(box->mutex);
      --box->waiting;
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
    ++box->waiting;
    box->rest(false);
    box->changed.announce();
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
  const std::lock_guard lock(state_->mutex);
  if (!state_->reason) state_->reason = reason;
  state_->aborted.store(true);
  for (const auto& [members, group] : state_->groups) group->changed.announce();
  for (const auto& [pair, box] : state_->mailboxes) box->changed.announce();
}

Status LocalWorld::status() const {
  if (!state_->aborted.load()) return ok_status();
  return state_->abort_reason();
}

}  // namespace pentafold
