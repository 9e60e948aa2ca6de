// ByteArena: one block of memory, sized once, from which vectors are cut in turn.
//
// A memory_resource for std::pmr containers: an allocation moves a mark up, freeing does nothing,
// rewind() moves the mark back. It never grows: asking for more than was planned is a bug of the
// plan and ends the process (CHECK), so what an arena was made for bounds what is ever used. The
// block is not touched before its first use. Every cut is rounded up to 64 bytes (arena_bytes), so
// that sizes can be summed beforehand. Source: regions (Tofte and Talpin 1997).
// One thread. Cost: an addition an allocation. Held by base/byte_arena_test.cc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>

#include "base/check.h"
#include "base/slab.h"

namespace pentafold {

inline constexpr std::int64_t kArenaAlign = 64;

// What a cut of `bytes` takes from an arena.
constexpr std::int64_t arena_bytes(std::int64_t bytes) {
  return (bytes + kArenaAlign - 1) / kArenaAlign * kArenaAlign;
}

class ByteArena final : public std::pmr::memory_resource {
 public:
  ByteArena() = default;
  // Throws std::bad_alloc when the system refuses.
  explicit ByteArena(std::int64_t capacity)
      : block_(static_cast<std::byte*>(::operator new(
            static_cast<std::size_t>(arena_bytes(capacity)), std::align_val_t{kArenaAlign}))),
        capacity_(arena_bytes(capacity)) {
    ask_for_large_pages(block_.get(), static_cast<std::size_t>(capacity_));
  }

  std::int64_t capacity() const { return capacity_; }
  std::int64_t used() const { return used_; }
  std::int64_t most_used() const { return most_used_; }  // since it was made
  // Everything cut since used() was `mark` is gone.
  void rewind(std::int64_t mark) { used_ = mark; }

 private:
  struct Free {
    void operator()(std::byte* block) const {
      ::operator delete(block, std::align_val_t{kArenaAlign});
    }
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    CHECK(alignment <= static_cast<std::size_t>(kArenaAlign));
    const auto room = static_cast<std::size_t>(capacity_ - used_);
    CHECK(bytes <= room, "more working memory than the plan counted");
    void* const at = block_.get() + used_;
    used_ += arena_bytes(static_cast<std::int64_t>(bytes));
    most_used_ = std::max(most_used_, used_);
    return at;
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::unique_ptr<std::byte, Free> block_;
  std::int64_t capacity_ = 0;
  std::int64_t used_ = 0;
  std::int64_t most_used_ = 0;
};

// Bytes held now, and the most that were ever held.
struct ByteCount {
  std::int64_t now = 0;
  std::int64_t peak = 0;
  void add(std::int64_t bytes) {
    now += bytes;
    peak = std::max(peak, now);
  }
  void remove(std::int64_t bytes) { now -= bytes; }
};

}  // namespace pentafold
