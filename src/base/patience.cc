#include "base/patience.h"

#include <sched.h>

#include <atomic>
#include <thread>

namespace pentafold {
namespace {

std::atomic<std::int64_t> busy{0};

}  // namespace

BusyThreads::BusyThreads(std::int64_t count) : count_(count) {
  count_busy(count_);
}

BusyThreads::~BusyThreads() {
  count_busy(-count_);
}

void count_busy(std::int64_t more) {
  busy += more;
}

std::int64_t usable_cores() {
  static const std::int64_t kCores = [] {
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) return std::int64_t{CPU_COUNT(&mine)};
    return std::int64_t{std::thread::hardware_concurrency()};
  }();
  return kCores;
}

bool cores_suffice() {
  return busy.load(std::memory_order_relaxed) <= usable_cores();
}

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace pentafold
