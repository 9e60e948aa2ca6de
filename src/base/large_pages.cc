#include "base/large_pages.h"

#include <sched.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/check.h"

namespace pentafold {
namespace {

constexpr std::size_t kAlignment = 64;
// Aligned to its size, so that a block's slab follows from its address.
constexpr std::size_t kSlab = std::size_t{32} << 20;
constexpr std::size_t kOwnPages = kSlab / 4;  // from here on a block is no slab's

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// `bytes` and `alignment` are multiples of a page.
void* map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t with_room = bytes + alignment;
  void* mapped = ::mmap(nullptr, with_room, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* const from = static_cast<std::byte*>(mapped);
  const std::size_t front = round_up(reinterpret_cast<std::uintptr_t>(from), alignment) -
                            reinterpret_cast<std::uintptr_t>(from);
  if (front > 0) ::munmap(from, front);
  ::munmap(from + front + bytes, alignment - front);
  // A kernel without large pages refuses; then these are small ones.
  static_cast<void>(::madvise(from + front, bytes, MADV_HUGEPAGE));
  return from + front;
}

// At the beginning of its own memory.
struct Slab {
  std::atomic<std::int64_t> users{1};  // blocks, and one while it is open
  std::size_t used = kAlignment;
};
static_assert(sizeof(Slab) <= kAlignment);

void leave(Slab* slab) {
  if (slab->users.fetch_sub(1, std::memory_order_acq_rel) == 1) ::munmap(slab, kSlab);
}

// The slab that a node's next blocks come from.
struct OpenSlab {
  std::mutex mutex;
  Slab* slab = nullptr;

  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex);
    if (slab == nullptr || slab->used + bytes > kSlab) {
      Slab* const fresh = ::new (map_aligned(kSlab, kSlab)) Slab;
      if (slab != nullptr) leave(slab);
      slab = fresh;
    }
    slab->users.fetch_add(1, std::memory_order_relaxed);
    auto* const block = reinterpret_cast<std::byte*>(slab) + slab->used;
    slab->used += bytes;
    return block;
  }
};

constexpr unsigned kMostNodes = 16;  // more share slabs

OpenSlab& open_slab() {
  static std::array<OpenSlab, kMostNodes> of_node;
  unsigned core = 0;
  unsigned node = 0;
  if (::getcpu(&core, &node) != 0) node = 0;
  return of_node[node % kMostNodes];
}

}  // namespace

void* take_large(std::size_t bytes) {
  if (bytes < kLargeBlock) return ::operator new(bytes, std::align_val_t{kAlignment});
  if (bytes >= kOwnPages) return map_aligned(round_up(bytes, kLargePage), kLargePage);
  return open_slab().take(round_up(bytes, kAlignment));
}

void give_large(void* block, std::size_t bytes) noexcept {
  if (bytes < kLargeBlock) return ::operator delete(block, std::align_val_t{kAlignment});
  if (bytes >= kOwnPages) {
    CHECK(::munmap(block, round_up(bytes, kLargePage)) == 0, "a block is given with its own size");
    return;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  leave(reinterpret_cast<Slab*>(static_cast<std::byte*>(block) - address % kSlab));
}

}  // namespace pentafold
