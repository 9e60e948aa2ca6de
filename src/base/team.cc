#include "base/team.h"

#include <limits>
#include <system_error>

#include "base/check.h"

namespace pentafold {
namespace {

constexpr std::int32_t kOver = -1;  // of left_: the team ends

}  // namespace

Team::Team(std::int64_t size) : busy_(std::in_place, size) {
  CHECK(size >= 1, "a team has at least the thread that calls it");
  helpers_.reserve(static_cast<std::size_t>(size - 1));
  try {
    while (this->size() < size) helpers_.emplace_back([this] { help(); });
  } catch (const std::system_error&) {
    return;  // fewer hands, the same work
  }
}

Team::~Team() {
  left_.value.store(kOver);
  ++round_.value;
  round_.value.notify_all();
}

void Team::rest(bool at_rest) {
  busy_.reset();
  if (!at_rest) busy_.emplace(size());
}

void Team::work() {
  std::int32_t left = left_.value.load(std::memory_order_acquire);
  while (left > 0) {
    if (!left_.value.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel)) continue;
    // Until this part counts as done the run cannot end, so what it published stays.
    const std::int32_t parts = parts_;
    (*body_)(parts - left);
    if (done_.value.fetch_add(1, std::memory_order_acq_rel) + 1 == parts) done_.value.notify_one();
    left = left_.value.load(std::memory_order_acquire);
  }
}

void Team::help() {
  while (true) {
    const std::int32_t round = round_.value.load();
    work();
    if (left_.value.load() == kOver) return;
    const bool called = look_out([&] { return round_.value.load() != round; });
    if (!called) round_.value.wait(round);
  }
}

void Team::run(std::int64_t parts, Body body) {
  if (parts <= 0) return;
  if (helpers_.empty() || parts == 1) {
    for (std::int64_t part = 0; part < parts; ++part) body(part);
    return;
  }
  CHECK(parts <= std::numeric_limits<std::int32_t>::max());
  body_ = &body;
  parts_ = static_cast<std::int32_t>(parts);
  done_.value.store(0, std::memory_order_relaxed);
  left_.value.store(parts_, std::memory_order_release);
  ++round_.value;
  round_.value.notify_all();
  work();
  const auto finished = [&] { return done_.value.load(std::memory_order_acquire) == parts_; };
  while (!look_out(finished)) {
    const std::int32_t done = done_.value.load();
    if (done != parts_) done_.value.wait(done);
  }
}

}  // namespace pentafold
