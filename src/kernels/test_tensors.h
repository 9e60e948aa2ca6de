// Seeded tensors and a bitwise comparison for the kernels' tests.
//
// Values are functions of (seed, index), so a failure names everything needed to repeat it.
// Cost: one mix64 a value. Held by the tests that use it.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/cpu/targets.h"
#include "kernels/device.h"

namespace pentafold::testing {

// Small integers and unit floats from one seed, in order.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : seed_(mix64(seed)) {}
  std::uint64_t bits() { return mix64(seed_ + 0x1234567ULL * ++count_); }
  std::int64_t integer(std::int64_t low, std::int64_t high) {  // [low, high]
    return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  // Uniform in [-1, 1) with a full mantissa, so that every addition rounds.
  float unit() { return static_cast<float>(static_cast<double>(bits() >> 11) * 0x1.0p-52 - 1.0); }
  std::vector<float> floats(std::int64_t count, float scale = 1.0F) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& value : out) value = unit() * scale;
    return out;
  }

 private:
  std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

// f32 below 1 in magnitude -> f16, toward zero; enough to make test weights.
inline std::uint16_t truncate_to_f16(float value) {
  const auto magnitude = std::fabs(value);
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  if (magnitude < 0x1.0p-14F) return sign | static_cast<std::uint16_t>(magnitude * 0x1.0p24F);
  const auto bits = std::bit_cast<std::uint32_t>(magnitude);
  return static_cast<std::uint16_t>(sign | ((bits >> 13) - (112U << 10)));
}

// `count` random weights in storage type `dtype`; some f16 values are subnormal.
inline std::vector<std::byte> random_weights(Draw& draw, std::int64_t count, DType dtype) {
  std::vector<std::byte> out(static_cast<std::size_t>(count) * size_of(dtype));
  for (std::int64_t i = 0; i < count; ++i) {
    float value = draw.unit();
    if (draw.integer(0, 15) == 0) value *= 0x1.0p-14F;
    std::byte* to = out.data() + static_cast<std::size_t>(i) * size_of(dtype);
    if (dtype == DType::F32) {
      std::memcpy(to, &value, 4);
    } else {
      const std::uint16_t bits = dtype == DType::BF16 ? f32_to_bf16(value) : truncate_to_f16(value);
      std::memcpy(to, &bits, 2);
    }
  }
  return out;
}

inline float widen(const std::vector<std::byte>& bytes, std::int64_t i, DType dtype) {
  if (dtype == DType::F32) {
    float value = 0.0F;
    std::memcpy(&value, bytes.data() + i * 4, 4);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + i * 2, 2);
  return dtype == DType::BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// Equal in every bit; two NaNs are equal whatever their payload.
inline ::testing::AssertionResult same_bits(const std::vector<float>& want,
                                            const std::vector<float>& got) {
  if (want.size() != got.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < want.size(); ++i) {
    const bool nan = std::isnan(want[i]) && std::isnan(got[i]);
    if (nan || std::bit_cast<std::uint32_t>(want[i]) == std::bit_cast<std::uint32_t>(got[i])) {
      continue;
    }
    return ::testing::AssertionFailure()
           << "element " << i << ": want " << want[i] << ", got " << got[i];
  }
  return ::testing::AssertionSuccess();
}

// A test that runs once on every instruction set this CPU has and the kernels know.
class EveryTarget : public ::testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
  std::unique_ptr<Device> reference_ = make_device("reference");
  Team team_{3};  // shares whatever is large enough to be shared
  std::unique_ptr<Device> cpu_ = make_device("cpu", &team_);
};

inline std::string target_name(const ::testing::TestParamInfo<std::int64_t>& info) {
  return hwy::TargetName(info.param);
}

constexpr double kUnitRoundoff = 0x1.0p-24;

// Higham's gamma_n: n roundings in a row change a value by at most this factor.
inline double gamma_bound(double n) {
  return n * kUnitRoundoff / (1.0 - n * kUnitRoundoff);
}

}  // namespace pentafold::testing
