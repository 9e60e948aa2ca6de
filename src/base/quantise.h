// Integers with scales: how weights are held in int8 and int4, and activations beside them in int8.
//
// A row is cut into groups along k; each group has one scale, largest / limit, and its values are
// the nearest integers of value * (limit / largest), ties to even. So an integer times its scale is
// within half a scale of the value. Groups follow from the model alone: inside the leaves of a
// contraction that plans shard, so every shard of a matrix has the groups of the whole
// (docs/numerics.md, rule 6). Symmetric, as in Jacob et al., Quantization and Training of Neural
// Networks for Efficient Integer-Arithmetic-Only Inference, 2018, with groups as in GPTQ.
// Cost: two passes over the values. Held by base/quantise_test.cc.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace pentafold {

// How a matrix is held in integers.
struct IntegerFormat {
  std::int64_t bits = 0;   // 8 or 4; 0: it is not
  std::int64_t group = 0;  // columns that share a scale; divides k
  constexpr int limit() const { return bits == 4 ? 7 : 127; }
  // Stored unsigned, as integer + offset: what multiply-add instructions for bytes take.
  constexpr int offset() const { return bits == 4 ? 8 : 128; }
  friend bool operator==(const IntegerFormat&, const IntegerFormat&) = default;
};

inline constexpr int kActivationLimit = 127;
inline constexpr std::int64_t kLeafGroup = 64;    // most columns of a group inside a leaf
inline constexpr std::int64_t kChainGroup = 128;  // and in a contraction that no plan shards
// A group's integers are followed by zeros up to a multiple of this: two steps of four columns.
inline constexpr std::int64_t kGroupStep = 8;

// What a rank keeps for activations in integers: as many rows as fit are multiplied at a time.
inline constexpr std::int64_t kIntegerRowBytes = std::int64_t{1} << 20;

// The largest divisor of `width` that is at most `most`. width >= 1.
constexpr std::int64_t group_size(std::int64_t width, std::int64_t most) {
  std::int64_t group = std::min(width, most);
  while (width % group != 0) --group;
  return group;
}

constexpr std::int64_t padded_group(std::int64_t group) {
  return (group + kGroupStep - 1) / kGroupStep * kGroupStep;
}

// Of one group of `outputs` outputs beside each other: integers, then an f32 scale each.
constexpr std::int64_t group_bytes(const IntegerFormat& format, std::int64_t outputs) {
  return outputs * (padded_group(format.group) * format.bits / 8 + 4);
}

// A group whose largest magnitude is below this is all zeros: limit / largest must be finite.
inline constexpr float kSmallestGroup = 0x1.0p-100F;

// The scale of a group from its largest magnitude's bits, and what values are multiplied with. A
// value that is no number makes the scale NaN, and with it every result.
struct GroupScale {
  float scale = 0.0F;
  float inverse = 0.0F;
};
inline GroupScale group_scale(std::uint32_t largest_bits, int limit) {
  if (largest_bits >= 0x7F800000U) return {std::numeric_limits<float>::quiet_NaN(), 0.0F};
  if (largest_bits < std::bit_cast<std::uint32_t>(kSmallestGroup)) return {};
  const auto largest = std::bit_cast<float>(largest_bits);
  return {largest / static_cast<float>(limit), static_cast<float>(limit) / largest};
}

// Adding this to a value below 2^22 in magnitude leaves its nearest integer, ties to even, in the
// low bits of the sum.
inline constexpr float kNearestMagic = 0x1.8p23F;

// Writes `count` integers and returns their scale.
inline float quantise_group(const float* x, std::int64_t count, int limit, std::int8_t* q) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFU);
  }
  const GroupScale by = group_scale(largest, limit);
  for (std::int64_t i = 0; i < count; ++i) {
    // With an inverse of 0 (no numbers, or none worth a scale) infinities must not be multiplied.
    const float level = by.inverse == 0.0F ? 0.0F : x[i] * by.inverse;
    q[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(level + kNearestMagic) -
                                    std::bit_cast<std::int32_t>(kNearestMagic));
  }
  return by.scale;
}

}  // namespace pentafold
