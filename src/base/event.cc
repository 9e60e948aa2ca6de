#include "base/event.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace pentafold {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

bool Event::sleep_while(std::uint32_t seen, Clock::time_point deadline) {
  using std::chrono::duration_cast;
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  const auto left = deadline - Clock::now();
  if (left <= Clock::duration::zero()) return false;
  const auto whole = duration_cast<seconds>(left);
  const timespec timeout{static_cast<time_t>(whole.count()),
                         static_cast<long>(nanoseconds(left - whole).count())};
  const long result = syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&announced_),
                              FUTEX_WAIT_PRIVATE, seen, &timeout, nullptr, 0);
  return result == 0 || errno != ETIMEDOUT;
}

void Event::wake_all() {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&announced_), FUTEX_WAKE_PRIVATE, INT_MAX,
          nullptr, nullptr, 0);
}

}  // namespace pentafold
