// KvBlockPool: which KV blocks of one cache are taken, by whom shared, and which may be reused.
//
// A cache is cut into blocks of equal numbers of tokens. A block is free, or referenced by one or
// more sequences, or cached: nobody needs it now, but it still holds a known piece of a prompt (its
// hash covers everything before it too), so that a later prompt with the same beginning shares it
// instead of computing it. Fresh blocks come from the free ones first, then from the cached one
// that was needed longest ago. Only whole blocks are ever shared, so nobody writes to a shared one.
// Source: PagedAttention (Kwon et al., SOSP 2023), automatic prefix caching of vLLM.
// Cost: O(1) a block. Held by policy/kv_blocks_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pentafold {

class KvBlockPool {
 public:
  explicit KvBlockPool(std::int64_t blocks);

  std::int64_t size() const { return static_cast<std::int64_t>(blocks_.size()); }
  // Blocks that some sequence references.
  std::int64_t used() const { return size() - available(); }
  // Blocks that allocate() could give: free and cached ones.
  std::int64_t available() const { return static_cast<std::int64_t>(free_.size()) + cached_; }

  static constexpr std::int32_t kNone = -1;
  // The block that holds what `hash` names; kNone if there is none.
  std::int32_t find(std::uint64_t hash) const;
  // Nobody references it: sharing it takes it from the available ones.
  bool idle(std::int32_t block) const { return at(block).references == 0; }

  // Appends `count` fresh blocks; false, and nothing is changed, if there are not so many.
  bool allocate(std::int64_t count, std::vector<std::int32_t>& blocks);
  // One reference more on a block that find gave.
  void share(std::int32_t block);
  // A referenced block is full and holds what `hash` names. If another block does already, that one
  // stays the one that is shared.
  void publish(std::int32_t block, std::uint64_t hash);
  // One reference less on each; the last block is the first to be reused.
  void release(std::span<const std::int32_t> blocks);

 private:
  struct Block {
    std::uint64_t hash = 0;
    std::int32_t references = 0;
    std::int32_t older = kNone;  // neighbours among the cached
    std::int32_t newer = kNone;
    bool published = false;
  };
  Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
  const Block& at(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)]; }
  void enter_cached(std::int32_t block);
  void leave_cached(std::int32_t block);
  std::int32_t take();
  std::size_t home(std::uint64_t hash) const;
  std::size_t place_of(std::uint64_t hash) const;
  void forget(std::uint64_t hash);

  std::vector<Block> blocks_;
  std::vector<std::int32_t> free_;  // taken from the back
  // Published blocks by hash: open addressing with linear probing, the hashes are in the blocks; a
  // power of two of places, at least twice the blocks. Made when first needed.
  std::vector<std::int32_t> by_hash_;
  std::int32_t oldest_ = kNone;
  std::int32_t newest_ = kNone;
  std::int64_t cached_ = 0;
};

}  // namespace pentafold
