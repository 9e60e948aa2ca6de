// Slabs: memory in pages as large as the system gives, for what is read again and again.
//
// Streaming weights is bound by memory, and with pages of 4 KiB by the walk through page tables:
// matrices of a MiB get large pages only if they share them. So allocations are laid one behind the
// other in slabs of 32 MiB that ask for large pages; a slab is given back when its last allocation
// is. Elements are not zeroed: who allocates writes first. Thread-safe.
// Source: transparent huge pages (Linux, Documentation/admin-guide/mm/transhuge.rst). Cost: a mutex
// an allocation; up to one slab of address space more than what is in use. Held by
// base/slab_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace pentafold {

// 64-byte aligned; throws std::bad_alloc.
void* slab_allocate(std::size_t bytes);
void slab_free(void* at, std::size_t bytes) noexcept;

// Of all slab_allocate()s that are not freed.
std::int64_t slab_bytes_in_use();

// Asks for large pages where [at, at + bytes) has room for whole ones, if there are enough bytes to
// make up for clearing them. Contents stay.
void ask_for_large_pages(void* at, std::size_t bytes);

template <class T>
struct SlabAllocator {
  using value_type = T;
  SlabAllocator() = default;
  template <class U>
  SlabAllocator(const SlabAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) { return static_cast<T*>(slab_allocate(count * sizeof(T))); }
  void deallocate(T* at, std::size_t count) { slab_free(at, count * sizeof(T)); }
  // vector(n) and resize(n) leave their elements unwritten.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  friend bool operator==(const SlabAllocator&, const SlabAllocator&) { return true; }
};

template <class T>
using SlabVector = std::vector<T, SlabAllocator<T>>;

}  // namespace pentafold
