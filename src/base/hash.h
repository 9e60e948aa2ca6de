// A 64-bit content hash for logits: equal bits, equal hash; used to compare plans, not for safety.
//
// FNV-1a over 64-bit words, in four chains that take words in turn: one chain would wait for its
// own multiplication. Mixed by mix64, with the count. Cost: about 0.5 ns a float. Held by
// base/base_test.cc.
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
  constexpr std::size_t kChains = 4;
  constexpr std::size_t kRound = 2 * kChains;  // floats
  std::uint64_t chains[kChains];
  for (std::size_t c = 0; c < kChains; ++c) chains[c] = hash_word(hash, c);
  std::size_t at = 0;
  for (; at + kRound <= values.size(); at += kRound) {
    std::uint64_t words[kChains];
    std::memcpy(words, values.data() + at, sizeof words);
    for (std::size_t c = 0; c < kChains; ++c) chains[c] = hash_word(chains[c], words[c]);
  }
  for (; at < values.size(); ++at) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &values[at], sizeof bits);
    hash = hash_word(hash, bits);
  }
  for (const std::uint64_t chain : chains) hash = mix64(hash_word(hash, chain));
  return hash_word(hash, values.size());
}

}  // namespace pentafold
