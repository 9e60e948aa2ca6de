#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/reduction_tree.h"
#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

constexpr std::array kTypes{DType::F32, DType::BF16, DType::F16};

Range random_range(Draw& draw, std::int64_t n) {
  const std::int64_t begin = draw.integer(0, n - 1);
  return {begin, draw.integer(begin + 1, n)};
}

// One random gemm and everything it reads; y keeps untouched columns to catch stray stores.
struct GemmCase {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType type = DType::F32;
  Range n_range;
  Range k_range;
  bool biased = false;
  std::int64_t x_ld = 0;
  std::int64_t y_ld = 0;
  std::vector<std::byte> weights;
  std::vector<float> x;
  std::vector<float> bias;

  GemmCase(Draw& draw, DType dtype) : type(dtype) {
    rows = draw.integer(0, 3) == 0 ? draw.integer(1, 70) : draw.integer(1, 13);
    n = draw.integer(1, 150);
    k = draw.integer(1, 90);
    const bool whole = draw.integer(0, 2) == 0;
    n_range = whole ? Range{0, n} : random_range(draw, n);
    k_range = whole ? Range{0, k} : random_range(draw, k);
    biased = draw.integer(0, 1) == 1;
    x_ld = k_range.size() + draw.integer(0, 3);
    y_ld = n_range.size() + draw.integer(0, 3);
    weights = random_weights(draw, n * k, type);
    x = draw.floats(rows * x_ld);
    bias = draw.floats(n_range.size());
  }

  std::vector<float> run(const Device& device) const {
    const WeightMatrix w = device.pack(weights, n, k, type);
    std::vector<float> y(static_cast<std::size_t>(rows * y_ld), 12345.0F);
    device.gemm({.rows = rows,
                 .x = {x.data(), x_ld},
                 .w = &w,
                 .n = n_range,
                 .k = k_range,
                 .bias = biased ? bias.data() : nullptr,
                 .y = {y.data(), y_ld}});
    return y;
  }
};

using Gemm = EveryTarget;

TEST_P(Gemm, EqualsReference) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    Draw draw(seed);
    const GemmCase c(draw, kTypes[seed % kTypes.size()]);
    ASSERT_TRUE(same_bits(c.run(*reference_), c.run(*cpu_)))
        << "seed " << seed << " rows " << c.rows << " n " << c.n << " k " << c.k;
  }
}

TEST_P(Gemm, EveryF16ValueWidensExactly) {
  // w = all finite f16 values, x = 1: y must be the values themselves.
  std::vector<std::byte> weights;
  std::vector<float> want;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const std::uint16_t half = std::isfinite(f16_to_f32(static_cast<std::uint16_t>(bits)))
                                   ? static_cast<std::uint16_t>(bits)
                                   : std::uint16_t{0};
    weights.push_back(static_cast<std::byte>(half & 0xFFU));
    weights.push_back(static_cast<std::byte>(half >> 8));
    want.push_back(f16_to_f32(half) + 0.0F);  // the chain starts at +0, which absorbs -0
  }
  const float one = 1.0F;
  std::vector<float> got(65536);
  const WeightMatrix w = cpu_->pack(weights, 65536, 1, DType::F16);
  cpu_->gemm(
      {.rows = 1, .x = {&one, 1}, .w = &w, .n = {0, 65536}, .k = {0, 1}, .y = {got.data(), 65536}});
  EXPECT_TRUE(same_bits(want, got));
}

TEST_P(Gemm, ARowDoesNotKnowItsCompany) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(1000 + seed);
    const GemmCase c(draw, kTypes[seed % kTypes.size()]);
    const std::vector<float> whole = c.run(*cpu_);
    for (int trial = 0; trial < 4; ++trial) {
      GemmCase part = c;
      std::vector<float> want;
      part.rows = draw.integer(1, 9);
      part.x.clear();
      for (std::int64_t i = 0; i < part.rows; ++i) {
        const std::int64_t r = draw.integer(0, c.rows - 1);
        part.x.insert(part.x.end(), c.x.begin() + r * c.x_ld, c.x.begin() + (r + 1) * c.x_ld);
        want.insert(want.end(), whole.begin() + r * c.y_ld, whole.begin() + (r + 1) * c.y_ld);
      }
      ASSERT_TRUE(same_bits(want, part.run(*cpu_))) << "seed " << seed;
    }
  }
}

// 4096 equal rows, one row: whatever bands and tiles a row falls into, its outputs are the same.
TEST_P(Gemm, OneRowIsAnyOf4096) {
  for (const DType type : kTypes) {
    Draw draw(77);
    GemmCase one(draw, type);
    one.rows = 1;
    one.n = 150;
    one.k = 96;
    one.n_range = {0, one.n};
    one.k_range = {0, one.k};
    one.x_ld = one.k;
    one.y_ld = one.n;
    one.weights = random_weights(draw, one.n * one.k, type);
    one.x = draw.floats(one.k);
    one.bias = draw.floats(one.n);
    GemmCase many = one;
    many.rows = 4096;
    many.x.clear();
    for (std::int64_t r = 0; r < many.rows; ++r) {
      many.x.insert(many.x.end(), one.x.begin(), one.x.end());
    }
    const std::vector<float> want = one.run(*cpu_);
    const std::vector<float> got = many.run(*cpu_);
    for (std::int64_t r = 0; r < many.rows; ++r) {
      const auto row = got.begin() + r * one.n;
      ASSERT_TRUE(same_bits(want, std::vector<float>(row, row + one.n))) << "row " << r;
    }
  }
}

// One random leaf_gemm over G leaves.
struct LeafCase {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t leaves = 0;
  std::int64_t leaf_width = 0;
  DType type = DType::F32;
  std::vector<std::byte> weights;
  std::vector<float> x;

  LeafCase(Draw& draw, DType dtype, std::int64_t leaf_count) : leaves(leaf_count), type(dtype) {
    rows = draw.integer(1, 9);
    n = draw.integer(1, 90);
    leaf_width = draw.integer(1, 9);
    weights = random_weights(draw, n * leaves * leaf_width, type);
    x = draw.floats(rows * leaves * leaf_width);
  }

  // Partial sums of the subtrees that cover `mine`, from the full matrix.
  std::vector<float> run(const Device& device, Range mine, bool full_matrix = true) const {
    const std::int64_t k = leaves * leaf_width;
    const Range columns{mine.begin * leaf_width, mine.end * leaf_width};
    const WeightMatrix w =
        full_matrix ? device.pack(weights, n, k, type) : pack_slice(device, columns);
    const std::vector<Range> nodes = tree_cover(leaves, mine);
    std::vector<float> y(nodes.size() * static_cast<std::size_t>(rows * n));
    device.leaf_gemm({.rows = rows,
                      .x = {x.data() + columns.begin, k},
                      .w = &w,
                      .k = full_matrix ? columns : Range{0, columns.size()},
                      .leaf_width = leaf_width,
                      .nodes = nodes,
                      .y = y.data()});
    return y;
  }

  // What a rank holds that loaded only its own columns.
  WeightMatrix pack_slice(const Device& device, Range columns) const {
    std::vector<std::byte> slice;
    const auto size = static_cast<std::int64_t>(size_of(type));
    for (std::int64_t row = 0; row < n; ++row) {
      const auto first = weights.begin() + (row * leaves * leaf_width + columns.begin) * size;
      slice.insert(slice.end(), first, first + columns.size() * size);
    }
    return device.pack(slice, n, columns.size(), type);
  }
};

TEST_P(Gemm, LeavesEqualReference) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(2000 + seed);
    const LeafCase c(draw, kTypes[seed % kTypes.size()], draw.integer(1, 24));
    const Range mine = random_range(draw, c.leaves);
    ASSERT_TRUE(same_bits(c.run(*reference_, mine), c.run(*cpu_, mine))) << "seed " << seed;
  }
}

TEST_P(Gemm, EverySplitOfTheLeavesGivesTheBitsOfTheWhole) {
  for (const std::int64_t leaves : {1, 2, 3, 6, 8, 12, 16}) {
    Draw draw(static_cast<std::uint64_t>(leaves));
    const LeafCase c(draw, DType::BF16, leaves);
    const auto tile = static_cast<std::size_t>(c.rows * c.n);
    const std::vector<float> whole = c.run(*cpu_, {0, leaves});
    for (std::int64_t ranks = 1; ranks <= leaves; ++ranks) {
      std::vector<float> partials;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const std::vector<float> y = c.run(*cpu_, split(leaves, ranks, rank), rank % 2 == 0);
        partials.insert(partials.end(), y.begin(), y.end());
      }
      for (const TreeAdd& add : tree_finish(leaves, tree_cover_all(leaves, ranks))) {
        float* to = partials.data() + static_cast<std::size_t>(add.dst) * tile;
        const float* from = partials.data() + static_cast<std::size_t>(add.src) * tile;
        cpu_->add(c.rows, c.n, {from, c.n}, {to, c.n});
      }
      partials.resize(tile);
      ASSERT_TRUE(same_bits(whole, partials)) << leaves << " leaves over " << ranks;
    }
  }
}

TEST_P(Gemm, AnotherReductionOrderChangesBits) {
  // Shows that the equalities above could fail: reversing k, or adding the leaves from left to
  // right instead of as a tree, is mathematically the same and must not be bitwise the same.
  Draw draw(7);
  LeafCase c(draw, DType::F32, 16);
  const std::vector<float> tree = c.run(*cpu_, {0, 16});
  const auto tile = tree.size();
  std::vector<float> sum(tile, 0.0F);
  for (std::int64_t leaf = 0; leaf < 16; ++leaf) {
    const std::vector<float> part = c.run(*cpu_, {leaf, leaf + 1});
    for (std::size_t i = 0; i < tile; ++i) sum[i] += part[i];
  }
  EXPECT_FALSE(same_bits(tree, sum));

  GemmCase g(draw, DType::F32);
  g.n_range = {0, g.n = 64};
  g.k_range = {0, g.k = 80};
  g.rows = 1;
  g.x_ld = g.k;
  g.y_ld = g.n;
  g.biased = false;
  g.x = draw.floats(g.k);
  const std::vector<float> row = draw.floats(g.k);
  g.weights.clear();
  for (std::int64_t j = 0; j < g.n; ++j) {
    const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
    g.weights.insert(g.weights.end(), bytes, bytes + g.k * 4);
  }
  const std::vector<float> ascending = g.run(*cpu_);
  for (std::size_t i = 0; i < g.weights.size(); i += static_cast<std::size_t>(g.k) * 4) {
    auto* first = reinterpret_cast<float*>(g.weights.data() + i);
    std::reverse(first, first + g.k);
  }
  std::reverse(g.x.begin(), g.x.end());
  EXPECT_FALSE(same_bits(ascending, g.run(*cpu_)));
}

INSTANTIATE_TEST_SUITE_P(Targets, Gemm, ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         target_name);

TEST(GemmOracle, ReferenceIsWithinTheChainBound) {
  // A chain of k fused steps is k roundings, the bias one more (Higham 2002, section 3.1).
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(3000 + seed);
    const GemmCase c(draw, kTypes[seed % kTypes.size()]);
    const std::vector<float> y = c.run(*make_device("reference"));
    for (std::int64_t r = 0; r < c.rows; ++r) {
      for (std::int64_t j = 0; j < c.n_range.size(); ++j) {
        double exact = c.biased ? c.bias[static_cast<std::size_t>(j)] : 0.0;
        double magnitude = std::fabs(exact);
        for (std::int64_t i = c.k_range.begin; i < c.k_range.end; ++i) {
          const double x = c.x[static_cast<std::size_t>(r * c.x_ld + i - c.k_range.begin)];
          const double w = widen(c.weights, (c.n_range.begin + j) * c.k + i, c.type);
          exact += x * w;
          magnitude += std::fabs(x * w);
        }
        const double steps = static_cast<double>(c.k_range.size()) + 1;
        ASSERT_LE(std::fabs(y[static_cast<std::size_t>(r * c.y_ld + j)] - exact),
                  gamma_bound(steps) * magnitude)
            << "seed " << seed;
      }
    }
  }
}

TEST(GemmOracle, LeavesAreWithinTheTreeBound) {
  // leaf_width roundings in a leaf, then one an addition on the way to the root.
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(4000 + seed);
    const LeafCase c(draw, DType::F32, draw.integer(1, 24));
    const std::vector<float> y = c.run(*make_device("reference"), {0, c.leaves});
    const double depth = std::ceil(std::log2(static_cast<double>(c.leaves)));
    const std::int64_t k = c.leaves * c.leaf_width;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      for (std::int64_t j = 0; j < c.n; ++j) {
        double exact = 0.0;
        double magnitude = 0.0;
        for (std::int64_t i = 0; i < k; ++i) {
          const double product = static_cast<double>(c.x[static_cast<std::size_t>(r * k + i)]) *
                                 widen(c.weights, j * k + i, c.type);
          exact += product;
          magnitude += std::fabs(product);
        }
        ASSERT_LE(std::fabs(y[static_cast<std::size_t>(r * c.n + j)] - exact),
                  gamma_bound(static_cast<double>(c.leaf_width) + depth) * magnitude);
      }
    }
  }
}

TEST(MakeDevice, KnowsItsNames) {
  EXPECT_STREQ(make_device("cpu")->name(), "cpu");
  EXPECT_STREQ(make_device("reference")->name(), "reference");
  EXPECT_EQ(make_device("abacus"), nullptr);
}

}  // namespace
}  // namespace pentafold::testing
