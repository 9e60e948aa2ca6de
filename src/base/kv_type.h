// KvType: how keys and values lie in the cache, and the bytes they take.
//
// A number is rounded once, to nearest even, when it is appended, and widened exactly from then on;
// I8 has one f32 scale for each token's key and one for its value in each head, made of that head's
// own numbers, so no plan can cut what shares a scale (docs/numerics.md). Cost: a table. Held by
// kernels/attention_test.cc.
#pragma once

#include <array>
#include <cstdint>

#include "base/dtype.h"

namespace pentafold {

enum class KvType { F32, BF16, F16, I8 };

inline constexpr std::array<KvType, 4> kKvTypes = {KvType::F32, KvType::BF16, KvType::F16,
                                                   KvType::I8};

constexpr const char* to_string(KvType type) {
  switch (type) {
    case KvType::F32:
      return "f32";
    case KvType::BF16:
      return "bf16";
    case KvType::F16:
      return "f16";
    case KvType::I8:
      return "int8";
  }
  return "?";
}

// Of all but I8.
constexpr DType float_type(KvType type) {
  return type == KvType::BF16 ? DType::BF16 : type == KvType::F16 ? DType::F16 : DType::F32;
}

constexpr std::int64_t size_of(KvType type) {
  return type == KvType::I8 ? 1 : static_cast<std::int64_t>(size_of(float_type(type)));
}

// The keys, or the values, of some tokens of one head: their numbers, then their scales.
constexpr std::int64_t kv_tile_bytes(KvType type, std::int64_t tokens, std::int64_t head_dim) {
  return tokens * (head_dim * size_of(type) + (type == KvType::I8 ? 4 : 0));
}

}  // namespace pentafold
