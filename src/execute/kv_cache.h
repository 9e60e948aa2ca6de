// KvCache: one rank's keys and values, in blocks of 16 tokens, fp32.
//
// For every layer of the rank's stage a pool of blocks; which block holds which tokens is decided
// by policy/scheduler, so the cache itself has no state but the numbers. Pages are touched on first
// use only (calloc). Cost: layers * blocks * 16 * kv_heads * head_dim * 8 bytes, see kv_bytes.
// Held by tests/equivalence/kv_test.cc.
#pragma once

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

  std::int64_t layer_floats() const { return blocks * kKvBlockTokens * kv_heads * head_dim; }
  std::int64_t bytes() const { return 2 * layers * layer_floats() * 4; }
};

class KvCache {
 public:
  explicit KvCache(const KvShape& shape) : shape_(shape) {
    const auto floats = static_cast<std::size_t>(2 * shape.layers * shape.layer_floats());
    if (floats == 0) return;
    data_.reset(static_cast<float*>(std::calloc(floats, sizeof(float))));
    CHECK(data_ != nullptr, "verify admits only plans whose KV cache fits");
    ask_for_large_pages(data_.get(), floats * sizeof(float));
  }

  // `layer` counts within the stage.
  KvLayer layer(std::int64_t layer) const {
    float* k = data_.get() + 2 * layer * shape_.layer_floats();
    return {k, k + shape_.layer_floats(), shape_.kv_heads, shape_.head_dim};
  }

  const KvShape& shape() const { return shape_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  KvShape shape_;
  std::unique_ptr<float, Free> data_;
};

}  // namespace pentafold
