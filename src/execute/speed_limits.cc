#include "execute/speed_limits.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>

#include "base/split.h"
#include "base/team.h"
#include "execute/probe.h"
#include "kernels/core_limits.h"
#include "report/percentiles.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kCaches = 16;  // the buffer, in last caches
constexpr std::int64_t kLeastBytes = 512 * kMiB;
constexpr std::int64_t kMostBytes = 4096 * kMiB;
constexpr std::int64_t kQuickBytes = 4 * kMiB;
constexpr std::int64_t kRounds = 200'000;  // of multiply-adds of a part: about a millisecond
constexpr std::int64_t kPartsAThread = 24;
constexpr std::int64_t kReadPart = 4 * kMiB;

}  // namespace

SlabVector<std::byte> make_probe_buffer(bool quick) {
  std::int64_t bytes = kQuickBytes;
  if (!quick) {
    const std::int64_t cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
    bytes = std::clamp(kCaches * std::max<std::int64_t>(0, cache), kLeastBytes, kMostBytes);
  }
  SlabVector<std::byte> out(static_cast<std::size_t>(bytes));
  std::memset(out.data(), 1, out.size());  // pages nobody wrote are all the same page
  return out;
}

SpeedProbe::SpeedProbe(std::int64_t threads, const SlabVector<std::byte>& buffer)
    : threads_(threads), buffer_(buffer) {}

void SpeedProbe::sample() {
  Team team(threads_);  // no longer than this, for its threads count as busy
  std::atomic<std::int64_t> flop{0};
  const double computing = seconds_a_call(
      [&] {
        team.run(kPartsAThread * team.size(),
                 [&](std::int64_t) { flop += static_cast<std::int64_t>(multiply_add(kRounds)); });
      },
      0, 1);
  flops_.push_back(static_cast<double>(flop) / computing);

  const std::span<const std::byte> all(buffer_);
  std::atomic<std::int64_t> read{0};
  const std::int64_t parts = std::max<std::int64_t>(1, std::ssize(all) / kReadPart);
  const double reading = seconds_a_call(
      [&] {
        team.run(parts, [&](std::int64_t part) {
          const Range mine = split(std::ssize(all) / 64, parts, part);
          read += read_through(all.subspan(static_cast<std::size_t>(64 * mine.begin),
                                           static_cast<std::size_t>(64 * mine.size())));
        });
      },
      0, 1);
  bytes_per_s_.push_back(static_cast<double>(read) / reading);
}

SpeedLimits SpeedProbe::limits() const {
  return {threads_, distribution_of(flops_).p50, distribution_of(bytes_per_s_).p50};
}

}  // namespace pentafold
