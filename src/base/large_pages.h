// LargePages: an allocator for bytes that are read from end to end, again and again.
//
// A core that streams through pages of 4 KiB stops its prefetching at every border and asks for an
// address translation at each; in pages of 2 MiB it does neither. Large blocks begin on such a
// page; blocks that would fill only part of one share slabs of many. Elements are left
// uninitialised where std::vector would zero them: who allocates gigabytes writes them once. Pages
// come to be where they are first written (Linux: on the writer's NUMA node; each node has a slab
// of its own). Where the system has no large pages, these are ordinary ones. Source: madvise(2),
// MADV_HUGEPAGE. Cost: a lock for each block; a slab stays until its last block is freed. Held by
// base/large_pages_test.cc.
#pragma once

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace pentafold {

inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

// Blocks of at least this many bytes lie in large pages; smaller ones come from the heap.
inline constexpr std::size_t kLargeBlock = std::size_t{128} << 10;

// Aligned to 64 bytes. Throws std::bad_alloc.
void* take_large(std::size_t bytes);
void give_large(void* block, std::size_t bytes) noexcept;  // with the size it was taken with

template <class T>
struct LargePages {
  using value_type = T;
  LargePages() = default;
  template <class U>
  LargePages(const LargePages<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(take_large(n * sizeof(T)));
  }
  void deallocate(T* block, std::size_t n) noexcept { give_large(block, n * sizeof(T)); }

  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;  // as it is
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  friend bool operator==(const LargePages&, const LargePages&) { return true; }
};

// resize() leaves new bytes uninitialised.
using LargeBytes = std::vector<std::byte, LargePages<std::byte>>;

}  // namespace pentafold
