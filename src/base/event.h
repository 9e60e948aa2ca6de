// Event: threads sleep here until something they watch has changed, or time is over.
//
// What is watched lies elsewhere, in atomics: change it, then announce(). A sleeper is woken by one
// system call and takes no lock on its way out, which matters where 64 ranks take turns on 2 cores;
// if nobody sleeps, announce() costs two atomic operations. Linux futexes: C++20's atomic wait
// knows no deadline. Held by comm/local_world_test.cc, tests/fault and base/event_test.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace pentafold {

class Event {
 public:
  using Clock = std::chrono::steady_clock;

  // Returns ready() once it holds or `deadline` has passed.
  template <class Ready>
  bool wait_until(Clock::time_point deadline, const Ready& ready) {
    ++sleepers_;
    bool is_ready = false;
    bool late = false;
    while (true) {
      const std::uint32_t seen = announced_.load();
      is_ready = ready();
      if (is_ready || late) break;
      late = !sleep_while(seen, deadline);
    }
    --sleepers_;
    return is_ready;
  }

  void announce() {
    ++announced_;
    if (sleepers_.load() > 0) wake_all();
  }

 private:
  // Until woken, or announced_ is no longer `seen`; false when the deadline has passed.
  bool sleep_while(std::uint32_t seen, Clock::time_point deadline);
  void wake_all();

  std::atomic<std::uint32_t> announced_{0};
  std::atomic<std::int32_t> sleepers_{0};
};

}  // namespace pentafold
