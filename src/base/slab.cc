#include "base/slab.h"

#include <sys/mman.h>

#include <atomic>
#include <mutex>

namespace pentafold {
namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20;
constexpr std::size_t kSlab = std::size_t{32} << 20;
constexpr std::size_t kAlign = 64;
constexpr std::size_t kWorthLargePages = std::size_t{16} << 20;  // less is read too little
constexpr std::size_t kOwnMapping = kSlab / 4;  // what is as large does not share a slab

constexpr std::size_t round_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

// Bytes from `at` to the next multiple of `align`.
std::size_t to_multiple(const void* at, std::size_t align) {
  return (align - reinterpret_cast<std::uintptr_t>(at) % align) % align;
}

// At the start of a slab; slabs lie at multiples of kSlab, so an address names its slab.
struct Slab {
  std::size_t used = kAlign;
  std::size_t allocations = 0;
};
static_assert(sizeof(Slab) <= kAlign);

std::mutex mutex;
Slab* current = nullptr;  // the slab that is being filled
std::atomic<std::int64_t> in_use{0};

// `bytes` at a multiple of `align`: maps more and gives back what is too much.
void* map(std::size_t bytes, std::size_t align) {
  void* const raw = mmap(nullptr, bytes + align, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  const std::size_t before = to_multiple(raw, align);
  std::byte* const at = static_cast<std::byte*>(raw) + before;
  if (before > 0) munmap(raw, before);
  if (before < align) munmap(at + bytes, align - before);
  ask_for_large_pages(at, bytes);
  return at;
}

void* from_slab(std::size_t bytes) {
  const std::lock_guard lock(mutex);
  if (current == nullptr || current->used + bytes > kSlab) {
    if (current != nullptr && current->allocations == 0) munmap(current, kSlab);
    current = nullptr;
    current = new (map(kSlab, kSlab)) Slab;
  }
  void* const at = reinterpret_cast<std::byte*>(current) + current->used;
  current->used += bytes;
  ++current->allocations;
  return at;
}

}  // namespace

void* slab_allocate(std::size_t bytes) {
  if (bytes > SIZE_MAX - kSlab) throw std::bad_alloc();
  void* const at = bytes >= kOwnMapping ? map(round_up(bytes, kLargePage), kLargePage)
                                        : from_slab(round_up(bytes, kAlign));
  in_use += static_cast<std::int64_t>(bytes);
  return at;
}

void slab_free(void* at, std::size_t bytes) noexcept {
  in_use -= static_cast<std::int64_t>(bytes);
  if (bytes >= kOwnMapping) {
    munmap(at, round_up(bytes, kLargePage));
    return;
  }
  auto* const slab = reinterpret_cast<Slab*>(static_cast<std::byte*>(at) -
                                             reinterpret_cast<std::uintptr_t>(at) % kSlab);
  const std::lock_guard lock(mutex);
  if (--slab->allocations > 0) return;
  if (slab == current) {
    slab->used = kAlign;
  } else {
    munmap(slab, kSlab);
  }
}

std::int64_t slab_bytes_in_use() {
  return in_use.load();
}

void ask_for_large_pages(void* at, std::size_t bytes) {
  const std::size_t before = to_multiple(at, kLargePage);
  if (bytes < kWorthLargePages || bytes < before + kLargePage) return;
  const std::size_t whole = (bytes - before) / kLargePage * kLargePage;
  // Where the system has none, small pages do the same, more slowly.
  madvise(static_cast<std::byte*>(at) + before, whole, MADV_HUGEPAGE);
}

}  // namespace pentafold
