// Patience: how long a thread that waits for another looks out before it sleeps.
//
// Waking a sleeper costs tens of microseconds, as much as a small kernel; looking out costs a core.
// So threads look out for kPatience while every thread at work in the process can have a core of
// its own, and not at all otherwise: 64 ranks on 2 cores then pass the cores on at once. Cost: of
// looking out, at most kPatience of one core. Held by base/team_test.cc.
#pragma once

#include <chrono>
#include <cstdint>

namespace pentafold {

constexpr std::chrono::microseconds kPatience{200};

// Counts threads that may compute at the same time, for as long as it lives.
class BusyThreads {
 public:
  explicit BusyThreads(std::int64_t count);
  ~BusyThreads();
  BusyThreads(const BusyThreads&) = delete;
  BusyThreads& operator=(const BusyThreads&) = delete;

 private:
  std::int64_t count_;
};

// That some of those counted begin to compute, or, below 0, sleep until others have computed.
void count_busy(std::int64_t more);

// Cores this process may run on.
std::int64_t usable_cores();

// Whether every busy thread can have a core of its own.
bool cores_suffice();

// Lets the other thread of a core run, or the memory system rest, for a few cycles.
void pause_briefly();

// Looks out for `ready` as long as patience lasts; returns ready().
template <class Ready>
bool look_out(const Ready& ready) {
  if (ready()) return true;
  if (!cores_suffice()) return false;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    for (int i = 0; i < 64; ++i) {
      pause_briefly();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace pentafold
