// A 64-bit content hash for logits: equal bits, equal hash; used to compare plans, not for safety.
//
// FNV-1a over 32-bit words, finalised by mix64. Cost: about 1 ns a word. Held by base/base_test.cc.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "base/random.h"

namespace pentafold {

constexpr std::uint64_t kHashSeed = 0xCBF29CE484222325ULL;

constexpr std::uint64_t hash_word(std::uint64_t hash, std::uint64_t word) {
  return (hash ^ word) * 0x100000001B3ULL;
}

// Bit patterns, so -0.0 and +0.0 differ and a NaN equals itself.
inline std::uint64_t hash_floats(std::span<const float> values, std::uint64_t hash = kHashSeed) {
  for (const float& v : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof bits);
    hash = hash_word(hash, bits);
  }
  return mix64(hash);
}

}  // namespace pentafold
