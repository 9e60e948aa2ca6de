// KvCache: one rank's keys and values, in blocks of 16 tokens, in the type that the plan says.
//
// For every layer of the rank's stage a pool of blocks; which block holds which tokens is decided
// by policy/scheduler, so the cache itself has no state but the numbers. Pages are touched on first
// use only (calloc). Cost: two tiles (base/kv_type.h) for each layer, block and KV head. Held by
// tests/equivalence/kv_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/check.h"
#include "base/slab.h"
#include "kernels/device.h"

namespace pentafold {

struct KvShape {
  std::int64_t layers = 0;
  std::int64_t blocks = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  KvType type = KvType::F32;

  std::int64_t pool_bytes() const {  // the keys, or the values, of a layer
    return blocks * kv_heads * kv_tile_bytes(type, kKvBlockTokens, head_dim);
  }
  std::int64_t bytes() const { return 2 * layers * pool_bytes(); }
};

class KvCache {
 public:
  explicit KvCache(const KvShape& shape) : shape_(shape) {
    const auto bytes = static_cast<std::size_t>(shape.bytes());
    if (bytes == 0) return;
    data_.reset(static_cast<std::byte*>(std::calloc(bytes, 1)));
    CHECK(data_ != nullptr, "verify admits only plans whose KV cache fits");
    ask_for_large_pages(data_.get(), bytes);
  }

  // `layer` counts within the stage.
  KvLayer layer(std::int64_t layer) const {
    std::byte* k = data_.get() + 2 * layer * shape_.pool_bytes();
    return {k, k + shape_.pool_bytes(), shape_.kv_heads, shape_.head_dim, shape_.type};
  }

  const KvShape& shape() const { return shape_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  KvShape shape_;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace pentafold
