#include <algorithm>
#include <cmath>
#include <limits>

#include "base/canonical_math.h"
#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

// Inputs shared by the elementwise kernels: rows of a width, leading dimensions wider than that.
struct Sheet {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t ld = 0;
  std::vector<float> x;
  std::vector<float> y;
  std::vector<float> weight;
  std::vector<float> per_row;

  explicit Sheet(Draw& draw, float scale = 3.0F) {
    rows = draw.integer(1, 9);
    width = draw.integer(1, 200);
    ld = width + draw.integer(0, 5);
    x = draw.floats(rows * ld, scale);
    y = draw.floats(rows * ld, scale);
    weight = draw.floats(width);
    per_row = draw.floats(rows);
  }
  ConstRows xs() const { return {x.data(), ld}; }
  Rows ys() { return {y.data(), ld}; }
  float x_at(std::int64_t r, std::int64_t i) const {
    return x[static_cast<std::size_t>(r * ld + i)];
  }
  float y_at(std::int64_t r, std::int64_t i) const {
    return y[static_cast<std::size_t>(r * ld + i)];
  }
};

// Runs `kernel(device, sheet)` on equal sheets on both devices and compares all of y.
template <class Kernel>
void expect_equal(const Device& reference, const Device& cpu, const Kernel& kernel) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(seed);
    Sheet want(draw);
    Sheet got = want;
    kernel(reference, want);
    kernel(cpu, got);
    ASSERT_TRUE(same_bits(want.y, got.y)) << "seed " << seed << " width " << want.width;
  }
}

using Elementwise = EveryTarget;

TEST_P(Elementwise, SumSquares) {
  expect_equal(*reference_, *cpu_, [](const Device& device, Sheet& s) {
    device.sum_squares(s.rows, s.width, s.xs(), s.y.data());
  });
}

TEST_P(Elementwise, Normalise) {
  expect_equal(*reference_, *cpu_, [](const Device& device, Sheet& s) {
    std::vector<float> sum(static_cast<std::size_t>(s.rows));
    device.sum_squares(s.rows, s.width, s.xs(), sum.data());
    device.normalise(s.rows, s.width, s.ys(), sum.data(), static_cast<float>(s.width), 1e-5F,
                     s.weight.data(), s.ys());  // in place
  });
}

TEST_P(Elementwise, SiluMul) {
  expect_equal(*reference_, *cpu_, [](const Device& device, Sheet& s) {
    device.silu_mul(s.rows, s.width, s.xs(), s.ys(), s.ys());  // in place
  });
}

TEST_P(Elementwise, Add) {
  expect_equal(*reference_, *cpu_,
               [](const Device& device, Sheet& s) { device.add(s.rows, s.width, s.xs(), s.ys()); });
}

TEST_P(Elementwise, ScaledAdd) {
  expect_equal(*reference_, *cpu_, [](const Device& device, Sheet& s) {
    device.scaled_add(s.rows, s.width, s.per_row.data(), s.xs(), s.ys());
  });
}

// A rope call of random shape; returns what x became.
std::vector<float> run_rope(const Device& device, std::uint64_t seed) {
  Draw draw(seed);
  const std::int64_t heads = draw.integer(1, 4);
  const std::int64_t head_dim = 2 * draw.integer(1, 64);
  const std::int64_t rows = draw.integer(1, 5);
  const std::int64_t ld = heads * head_dim + 1;
  std::vector<float> x = draw.floats(rows * ld);
  const std::vector<float> table = draw.floats(20 * head_dim);
  std::vector<std::int64_t> positions;
  for (std::int64_t r = 0; r < rows; ++r) positions.push_back(draw.integer(0, 19));
  device.rope(rows, heads, head_dim, positions, table.data(), {x.data(), ld});
  return x;
}

TEST_P(Elementwise, Rope) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    ASSERT_TRUE(same_bits(run_rope(*reference_, seed), run_rope(*cpu_, seed))) << "seed " << seed;
  }
}

TEST_P(Elementwise, ExpHasTheScalarBitsOnEveryExponent) {
  // silu(-x) * 1 exposes exp(x) fully for every exponent and sign of x; 4 M inputs plus edges.
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0F,
                          -0.0F,
                          87.0F,
                          -87.0F,
                          88.0F,
                          -88.0F,
                          1e-45F,
                          -1e-45F,
                          kInfinity,
                          -kInfinity,
                          std::numeric_limits<float>::quiet_NaN(),
                          std::nextafter(87.0F, 88.0F),
                          std::nextafter(-88.0F, -89.0F)};
  Draw draw(5);
  for (int i = 0; i < 2'000'000; ++i) {
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(draw.bits())));
    x.push_back(draw.unit() * 90.0F);
  }
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<float> ones(x.size(), 1.0F);
  std::vector<float> got(x.size());
  cpu_->silu_mul(1, n, {x.data(), n}, {ones.data(), n}, {got.data(), n});
  std::vector<float> want(x.size());
  std::transform(x.begin(), x.end(), want.begin(), canonical_silu);
  EXPECT_TRUE(same_bits(want, got));
}

INSTANTIATE_TEST_SUITE_P(Targets, Elementwise,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), target_name);

TEST(ElementwiseOracle, NormaliseIsWithinTheBound) {
  // sum: width/16 steps in a lane and 4 additions; half of that through the root. Then division,
  // + eps, root, reciprocal, two products: 6 roundings.
  const auto device = make_device("reference");
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Draw draw(100 + seed);
    Sheet s(draw);
    std::vector<float> sum(static_cast<std::size_t>(s.rows));
    device->sum_squares(s.rows, s.width, s.xs(), sum.data());
    device->normalise(s.rows, s.width, s.xs(), sum.data(), static_cast<float>(s.width), 1e-5F,
                      s.weight.data(), s.ys());
    const double steps = std::ceil(static_cast<double>(s.width) / 16.0) + 4;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      double squares = 0.0;
      for (std::int64_t i = 0; i < s.width; ++i) {
        squares += static_cast<double>(s.x_at(r, i)) * s.x_at(r, i);
      }
      ASSERT_LE(std::fabs(sum[r] - squares), gamma_bound(steps) * squares);
      const double root = std::sqrt(squares / static_cast<double>(s.width) + 1e-5F);
      for (std::int64_t i = 0; i < s.width; ++i) {
        const double exact = s.x_at(r, i) / root * s.weight[i];
        ASSERT_LE(std::fabs(s.y_at(r, i) - exact), gamma_bound(steps + 6) * std::fabs(exact));
      }
    }
  }
}

TEST(ElementwiseOracle, SiluIsWithinTheBound) {
  // exp is off by 2^-21 at most, then one addition, one division, one product.
  const auto device = make_device("reference");
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Draw draw(200 + seed);
    Sheet s(draw, 20.0F);
    const std::vector<float> up = s.y;
    device->silu_mul(s.rows, s.width, s.xs(), s.ys(), s.ys());
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t i = 0; i < s.width; ++i) {
        const double gate = s.x_at(r, i);
        const double exact = gate / (1.0 + std::exp(-gate)) * up[r * s.ld + i];
        ASSERT_LE(std::fabs(s.y_at(r, i) - exact), (0x1.0p-21 + gamma_bound(4)) * std::fabs(exact));
      }
    }
  }
}

TEST(ElementwiseOracle, RopeRotatesPairs) {
  // Each output is a fused step after one product: 2 roundings of |a cos| + |b sin|.
  const auto device = make_device("reference");
  const std::int64_t head_dim = 10;
  const std::int64_t half = head_dim / 2;
  Draw draw(300);
  const std::vector<float> before = draw.floats(3 * 2 * head_dim);
  std::vector<float> x = before;
  std::vector<float> table(static_cast<std::size_t>(50 * head_dim));
  for (std::int64_t p = 0; p < 50; ++p) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(100.0, -static_cast<double>(i) / half);
      table[p * head_dim + i] = static_cast<float>(std::cos(angle));
      table[p * head_dim + half + i] = static_cast<float>(std::sin(angle));
    }
  }
  const std::vector<std::int64_t> positions = {0, 7, 49};
  device->rope(3, 2, head_dim, positions, table.data(), {x.data(), 2 * head_dim});
  for (std::size_t head = 0; head < 6; ++head) {
    const float* row = table.data() + positions[head / 2] * head_dim;
    for (std::int64_t i = 0; i < half; ++i) {
      const std::size_t low = head * head_dim + static_cast<std::size_t>(i);
      const double a = before[low];
      const double b = before[low + half];
      const double c = row[i];
      const double s = row[half + i];
      EXPECT_LE(std::fabs(x[low] - (a * c - b * s)),
                gamma_bound(2) * (std::fabs(a * c) + std::fabs(b * s)));
      EXPECT_LE(std::fabs(x[low + half] - (b * c + a * s)),
                gamma_bound(2) * (std::fabs(b * c) + std::fabs(a * s)));
    }
  }
}

TEST(ElementwiseOracle, AdditionsAreSingleRoundings) {
  const auto device = make_device("reference");
  Draw draw(400);
  const Sheet before(draw);
  Sheet sum = before;
  Sheet scaled = before;
  device->add(sum.rows, sum.width, sum.xs(), sum.ys());
  device->scaled_add(scaled.rows, scaled.width, scaled.per_row.data(), scaled.xs(), scaled.ys());
  for (std::int64_t r = 0; r < before.rows; ++r) {
    for (std::int64_t i = 0; i < before.width; ++i) {
      const double x = before.x_at(r, i);
      const double y = before.y_at(r, i);
      EXPECT_EQ(sum.y_at(r, i), static_cast<float>(x + y));
      const double exact = before.per_row[r] * x + y;
      EXPECT_LE(std::fabs(scaled.y_at(r, i) - exact), gamma_bound(1) * std::fabs(exact) * 1.0001);
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
