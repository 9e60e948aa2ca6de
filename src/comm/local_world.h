// LocalWorld: the communicator of ranks that are threads of one process.
//
// A collective is two meetings at a generation barrier: members publish pointers to what they send,
// meet, read each other's memory directly, meet again, and may then reuse their buffers. Point to
// point messages are queued copies. Who waits looks out only while cores suffice for all who
// compute (base/patience.h), so a thousand ranks on two cores make progress; who waits for a
// message does not compute. Cost: two wake-ups per member and collective. Held by
// comm/local_world_test.cc (also under tsan).
#pragma once

#include <chrono>
#include <memory>

#include "base/result.h"
#include "comm/communicator.h"

namespace pentafold {

struct LocalWorldOptions {
  std::chrono::milliseconds timeout{120'000};  // longest wait for a peer
};

class LocalWorld {
 public:
  LocalWorld(std::int64_t ranks, LocalWorldOptions options);
  ~LocalWorld();
  LocalWorld(const LocalWorld&) = delete;
  LocalWorld& operator=(const LocalWorld&) = delete;

  // One per rank; must not outlive the world.
  std::unique_ptr<Communicator> communicator(Rank rank);

  // Makes every present and future wait of every rank return `reason`. Only the first call counts.
  void abort(const Error& reason);
  Status status() const;

 private:
  friend class LocalCommunicator;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pentafold
