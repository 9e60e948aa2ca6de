#include "execute/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace pentafold {
namespace {

constexpr std::int64_t kPositions = 300;

// theta_i = base^(-2i/d), RoFormer section 3.2.2.
double plain_frequency(const RopeSpec& rope, std::int64_t head_dim, std::int64_t i) {
  return std::exp(-std::log(rope.theta) * 2.0 * static_cast<double>(i) /
                  static_cast<double>(head_dim));
}

// Each scaling as its source states it, one pair at a time.
double frequency(const RopeSpec& rope, std::int64_t head_dim, std::int64_t i) {
  const double plain = plain_frequency(rope, head_dim, i);
  const auto original = static_cast<double>(rope.original_max_position);
  const double turns = original * plain / (2 * std::numbers::pi);  // within the original context
  switch (rope.scaling) {
    case RopeScaling::None:
      return plain;
    case RopeScaling::Linear:
      return plain / rope.factor;
    case RopeScaling::Llama3: {
      if (turns < rope.low_freq_factor) return plain / rope.factor;
      if (turns > rope.high_freq_factor) return plain;
      const double kept =
          (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      return kept * plain + (1 - kept) * plain / rope.factor;
    }
    case RopeScaling::Yarn: {
      // The pair that turns `t` times solves theta^(2i/d) = original / (2 pi t).
      const auto pair_turning = [&](double t) {
        return static_cast<double>(head_dim) / 2 *
               (std::log(original / (2 * std::numbers::pi * t)) / std::log(rope.theta));
      };
      double fast = pair_turning(rope.beta_fast);
      double slow = pair_turning(rope.beta_slow);
      if (rope.truncate) {
        fast = std::floor(fast);
        slow = std::ceil(slow);
      }
      fast = std::fmax(fast, 0);
      slow = std::fmin(slow, static_cast<double>(head_dim) - 1);
      const double at = static_cast<double>(i);
      if (at <= fast) return plain;
      if (at >= slow) return plain / rope.factor;
      const double scaled = (at - fast) / (slow - fast);
      return scaled * plain / rope.factor + (1 - scaled) * plain;
    }
  }
  return 0;
}

std::vector<RopeSpec> specs() {
  std::vector<RopeSpec> out;
  for (const double theta : {10000.0, 500000.0, 1e6}) {
    for (const double factor : {1.0, 4.0, 8.0, 32.0}) {
      RopeSpec rope;
      rope.theta = theta;
      rope.factor = factor;
      rope.original_max_position = 4096;
      rope.scaling = RopeScaling::Linear;
      out.push_back(rope);
      rope.scaling = RopeScaling::Llama3;
      out.push_back(rope);
      rope.original_max_position = 8192;
      rope.high_freq_factor = 5;
      rope.low_freq_factor = 2;
      out.push_back(rope);
      rope.scaling = RopeScaling::Yarn;
      rope.attention_factor = 0.1 * std::log(factor) + 1;
      out.push_back(rope);
      rope.truncate = false;
      out.push_back(rope);
      rope.original_max_position = 64;  // the ramp leaves the pairs at both ends
      rope.beta_slow = 0.01;
      out.push_back(rope);
    }
    RopeSpec plain;
    plain.theta = theta;
    plain.factor = 7;  // not read without a scaling
    plain.attention_factor = 3;
    out.push_back(plain);
  }
  return out;
}

TEST(RopeTable, FrequenciesFollowTheFormulas) {
  for (const RopeSpec& rope : specs()) {
    for (const std::int64_t head_dim : {4, 6, 64, 128}) {
      const std::vector<double> got = rope_frequencies(rope, head_dim);
      ASSERT_EQ(std::ssize(got), head_dim / 2);
      for (std::int64_t i = 0; i < head_dim / 2; ++i) {
        const double wanted = frequency(rope, head_dim, i);
        EXPECT_NEAR(got[static_cast<std::size_t>(i)] / wanted, 1.0, 1e-9)
            << "scaling " << static_cast<int>(rope.scaling) << " theta " << rope.theta << " pair "
            << i << " of " << head_dim;
      }
    }
  }
}

// (positions, 2, head_dim / 2): cosines, then sines; yarn alone scales them.
TEST(RopeTable, HoldsCosinesThenSines) {
  for (const RopeSpec& rope : specs()) {
    const std::int64_t head_dim = 16;
    const std::vector<float> table = make_rope_table(rope, head_dim, kPositions);
    ASSERT_EQ(std::ssize(table), kPositions * head_dim);
    const double gain = rope.scaling == RopeScaling::Yarn ? rope.attention_factor : 1.0;
    std::size_t at = 0;
    for (std::int64_t p = 0; p < kPositions; ++p) {
      for (const bool sine : {false, true}) {
        for (std::int64_t i = 0; i < head_dim / 2; ++i) {
          const double angle = static_cast<double>(p) * frequency(rope, head_dim, i);
          EXPECT_NEAR(table[at++], gain * (sine ? std::sin(angle) : std::cos(angle)), 2e-7 * gain);
        }
      }
    }
  }
}

// A longer table begins with the shorter one: positions do not know how many there are.
TEST(RopeTable, AShorterTableIsAPrefix) {
  for (const RopeSpec& rope : specs()) {
    const std::vector<float> all = make_rope_table(rope, 8, 50);
    const std::vector<float> some = make_rope_table(rope, 8, 20);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
  }
  EXPECT_TRUE(make_rope_table(specs()[0], 8, 0).empty());
}

}  // namespace
}  // namespace pentafold
