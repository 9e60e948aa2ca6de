#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/result.h"
#include "base/split.h"
#include "base/units.h"

namespace pentafold {
namespace {

Result<int> parse_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return make_error(ErrorCode::InvalidSpec, "not a digit; use 0 to 9", "input.yaml", 3);
}

Result<int> add_digits(char a, char b) {
  PF_ASSIGN(const int first, parse_digit(a));
  PF_ASSIGN(const int second, parse_digit(b));
  return first + second;
}

Status require_digit(char c) {
  PF_TRY(parse_digit(c));
  return ok_status();
}

TEST(Result, CarriesTheValueOrTheError) {
  EXPECT_EQ(add_digits('3', '4').value(), 7);
  const Result<int> bad = add_digits('3', 'x');
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, ErrorCode::InvalidSpec);
  EXPECT_EQ(bad.error().to_string(), "input.yaml:3: not a digit; use 0 to 9");
  EXPECT_TRUE(require_digit('1').ok());
  EXPECT_EQ(require_digit('x').error().line, 3);
}

TEST(Result, ErrorNamesOnlyThePlaceItHas) {
  EXPECT_EQ(make_error(ErrorCode::Io, "no room").to_string(), "no room");
  EXPECT_EQ(make_error(ErrorCode::Io, "no room", "a.bin").to_string(), "a.bin: no room");
  EXPECT_STREQ(to_string(ErrorCode::PeerLost), "PeerLost");
}

TEST(ResultDeathTest, ReadingTheValueOfAnErrorEndsTheProcess) {
  EXPECT_DEATH(add_digits('x', '1').value(), "not a digit");
  EXPECT_DEATH(CHECK(1 + 1 == 3, "arithmetic"), "1 \\+ 1 == 3.*arithmetic");
}

TEST(Split, PartsTileInOrderAndDifferByAtMostOne) {
  for (std::int64_t n = 0; n <= 70; ++n) {
    for (std::int64_t parts = 1; parts <= 20; ++parts) {
      std::int64_t next = 0;
      for (std::int64_t i = 0; i < parts; ++i) {
        const Range part = split(n, parts, i);
        ASSERT_EQ(part.begin, next);
        ASSERT_GE(part.size(), n / parts);
        ASSERT_LE(part.size(), (n + parts - 1) / parts);
        next = part.end;
      }
      ASSERT_EQ(next, n);
    }
  }
}

TEST(Split, NestedSplitsStayNested) {
  for (std::int64_t n = 0; n <= 60; ++n) {
    for (std::int64_t outer = 1; outer <= 6; ++outer) {
      for (std::int64_t inner = 1; inner <= 6; ++inner) {
        for (std::int64_t i = 0; i < outer; ++i) {
          const Range whole = split(n, outer, i);
          std::int64_t next = whole.begin;
          for (std::int64_t j = 0; j < inner; ++j) {
            const Range part = split(whole, inner, j);
            ASSERT_EQ(part.begin, next);
            next = part.end;
          }
          ASSERT_EQ(next, whole.end);
        }
      }
    }
  }
}

TEST(Split, HullIsTheSmallestRangeAround) {
  EXPECT_EQ(hull({2, 5}, {7, 9}), (Range{2, 9}));
  EXPECT_EQ(hull({2, 5}, {4, 4}), (Range{2, 5}));
  EXPECT_EQ(hull({9, 1}, {4, 6}), (Range{4, 6}));
  EXPECT_TRUE((Range{2, 5}.contains(4)));
  EXPECT_FALSE((Range{2, 5}.contains(5)));
}

TEST(Random, PhiloxGivesThePublishedVectors) {
  // Random123 1.14, kat_vectors: philox4x32 10.
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, SplitMixGivesThePublishedStream) {
  // SplitMix64 from state 1234567: its state advances by the constant that mix64 adds.
  constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15ULL;
  EXPECT_EQ(mix64(1234567), 6457827717110365317ULL);
  EXPECT_EQ(mix64(1234567 + kGamma), 3203168211198807973ULL);
  EXPECT_EQ(mix64(1234567 + 2 * kGamma), 9817491932198370423ULL);
}

TEST(Random, SamplesAreUniformAndDependOnEveryCoordinate) {
  double sum = 0.0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const double u = sample_uniform(1, 2, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.02);  // 7 standard deviations
  EXPECT_NE(sample_uniform(1, 2, 3), sample_uniform(1, 2, 4));
  EXPECT_NE(sample_uniform(1, 2, 3), sample_uniform(1, 3, 3));
  EXPECT_NE(sample_uniform(1, 2, 3), sample_uniform(2, 2, 3));
  EXPECT_NE(sample_uniform(1, 2, 3), sample_uniform(1ULL << 40 | 1, 2, 3));
}

// The definition of binary16 in doubles, by value and not by bits.
double f16_by_definition(std::uint32_t bits) {
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 10 & 31U);
  const double mantissa = bits & 1023U;
  if (exponent == 31) {
    return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024.0 + mantissa, exponent - 25);
}

TEST(DType, EveryF16ValueWidensExactly) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float got = f16_to_f32(static_cast<std::uint16_t>(bits));
    const double want = f16_by_definition(bits);
    ASSERT_TRUE(std::isnan(want) ? std::isnan(got) : got == want) << bits;
    ASSERT_EQ(std::signbit(got), (bits >> 15) != 0) << bits;
#ifdef __FLT16_MAX__
    const auto half = std::bit_cast<_Float16>(static_cast<std::uint16_t>(bits));
    ASSERT_TRUE(std::isnan(got) || static_cast<float>(half) == got) << bits;
#endif
  }
}

TEST(DType, Bf16RoundsToNearestEvenAndRoundTrips) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = bf16_to_f32(half);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value))));
      continue;
    }
    ASSERT_EQ(f32_to_bf16(value), half);
    if (std::isinf(value)) continue;
    // Just below, at and just above the middle between a value and its neighbour outwards.
    const std::uint32_t middle = bits << 16 | 0x8000U;
    const auto away = static_cast<std::uint16_t>(half + 1);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(middle - 1)), half);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(middle)), (bits & 1U) != 0 ? away : half);
    ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(middle + 1)), away);
  }
  // A NaN whose payload lies in the lost half must not become infinity.
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001U)))));
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(size_of(DType::F32), 4U);
  EXPECT_EQ(size_of(DType::BF16), 2U);
  EXPECT_EQ(size_of(DType::F16), 2U);
  EXPECT_STREQ(to_string(DType::BF16), "BF16");
}

TEST(Hash, SeesEveryBitAndTheOrder) {
  std::vector<float> values = {1.0F, -2.5F, 0.0F, 3e-40F};
  for (int i = 0; i < 23; ++i) values.push_back(static_cast<float>(i) * 0.1F);
  const std::uint64_t hash = hash_floats(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
      std::vector<float> changed = values;
      changed[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(values[i]) ^ (1U << bit));
      ASSERT_NE(hash_floats(changed), hash) << i << " bit " << bit;
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      std::vector<float> swapped = values;
      std::swap(swapped[i], swapped[j]);
      const bool same = values[i] == values[j];  // nothing was swapped
      EXPECT_EQ(hash_floats(swapped) == hash, same) << i << " and " << j;
    }
  }
  EXPECT_EQ(hash_floats(values), hash);
  EXPECT_NE(hash_floats({}), hash_floats(std::vector<float>{0.0F}));
}

TEST(Units, ReadAsAPersonWritesThem) {
  EXPECT_EQ(format_bytes(12.94e9), "12.9 GB");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_count(3.414e9), "3.41 B");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_seconds(1.734e-3), "1.73 ms");
  EXPECT_EQ(format_seconds(2.5), "2.50 s");
  EXPECT_EQ(format_seconds(12.3e-6), "12.3 us");
}

}  // namespace
}  // namespace pentafold
