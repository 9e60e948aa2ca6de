#include "comm/faulty.h"

#include <fmt/format.h>

#include <thread>
#include <utility>

#include "base/random.h"

namespace pentafold {

FaultyCommunicator::FaultyCommunicator(std::unique_ptr<Communicator> inner, FaultScript script,
                                       std::atomic<std::int64_t>* calls)
    : inner_(std::move(inner)), script_(std::move(script)), calls_(calls) {}

Status FaultyCommunicator::begin_call() {
  const std::int64_t call = made_++;
  if (calls_ != nullptr) calls_->store(made_);
  switch (script_.kind) {
    case FaultKind::None:
      break;
    case FaultKind::Fail:
      if (call == script_.call) return script_.error;
      break;
    case FaultKind::Delay:
      if (call == script_.call) std::this_thread::sleep_for(script_.delay);
      break;
    case FaultKind::Vanish:
      if (call >= script_.call) {
        return make_error(ErrorCode::PeerLost, fmt::format("rank {} vanished at its call {}",
                                                           rank().value, script_.call));
      }
      break;
    case FaultKind::Jitter: {
      const auto key = static_cast<std::uint64_t>(rank().value) << 32;
      const std::uint64_t draw =
          mix64(script_.seed ^ mix64(key + static_cast<std::uint64_t>(call)));
      const auto most = static_cast<std::uint64_t>(script_.delay.count()) + 1;
      std::this_thread::sleep_for(std::chrono::microseconds(draw % most));
      break;
    }
  }
  return ok_status();
}

Rank FaultyCommunicator::rank() const {
  return inner_->rank();
}

Result<GroupId> FaultyCommunicator::join(std::span<const Rank> members) {
  PF_TRY(begin_call());
  return inner_->join(members);
}

Status FaultyCommunicator::all_to_all_v(GroupId group, std::span<const Bytes> send,
                                        MemberSink sink) {
  PF_TRY(begin_call());
  return inner_->all_to_all_v(group, send, sink);
}

Status FaultyCommunicator::all_gather_v(GroupId group, Bytes mine, MemberSink sink) {
  PF_TRY(begin_call());
  return inner_->all_gather_v(group, mine, sink);
}

Status FaultyCommunicator::send(Rank to, Bytes bytes) {
  PF_TRY(begin_call());
  return inner_->send(to, bytes);
}

Status FaultyCommunicator::lend(Rank to, Bytes bytes) {
  PF_TRY(begin_call());
  return inner_->lend(to, bytes);
}

Status FaultyCommunicator::recv(Rank from, BytesSink sink) {
  PF_TRY(begin_call());
  return inner_->recv(from, sink);
}

Status FaultyCommunicator::barrier(GroupId group) {
  PF_TRY(begin_call());
  return inner_->barrier(group);
}

}  // namespace pentafold
