// Products of weights in integers: every instruction set equals the reference, rows do not know
// their company, shards of k give the bits of the whole, and results are near those of the values.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/reduction_tree.h"
#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

constexpr std::array kTypes{DType::F32, DType::BF16, DType::F16};

IntegerFormat format_for(Draw& draw, std::int64_t group) {
  return {draw.integer(0, 1) == 0 ? 4 : 8, group};
}

// One random product; y keeps untouched columns to catch stray stores.
struct IntegerCase {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType type = DType::F32;
  IntegerFormat format;
  Range n_range;
  Range k_range;
  bool biased = false;
  std::int64_t x_ld = 0;
  std::int64_t y_ld = 0;
  std::vector<std::byte> weights;
  std::vector<float> x;
  std::vector<float> bias;

  IntegerCase(Draw& draw, DType dtype) : type(dtype) {
    rows = draw.integer(0, 3) == 0 ? draw.integer(1, 200) : draw.integer(1, 13);
    n = draw.integer(1, 150);
    format = format_for(draw, draw.integer(1, draw.integer(0, 1) == 0 ? 20 : 128));
    const std::int64_t groups = draw.integer(1, 5);
    k = groups * format.group;
    const bool whole = draw.integer(0, 2) == 0;
    const std::int64_t first_n = draw.integer(0, n - 1);
    const std::int64_t first_group = draw.integer(0, groups - 1);
    n_range = whole ? Range{0, n} : Range{first_n, draw.integer(first_n + 1, n)};
    k_range = whole ? Range{0, k}
                    : Range{first_group * format.group,
                            draw.integer(first_group + 1, groups) * format.group};
    biased = draw.integer(0, 1) == 1;
    x_ld = k_range.size() + draw.integer(0, 3);
    y_ld = n_range.size() + draw.integer(0, 3);
    weights = random_weights(draw, n * k, type);
    x = draw.floats(rows * x_ld);
    bias = draw.floats(n_range.size());
  }

  std::vector<float> run(const Device& device) const {
    const WeightMatrix w = device.pack_integers(weights, n, k, type, format);
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

  std::string describe() const {
    return "rows " + std::to_string(rows) + " n " + std::to_string(n) + " k " + std::to_string(k) +
           " bits " + std::to_string(format.bits) + " group " + std::to_string(format.group);
  }
};

using IntegerGemm = EveryTarget;

TEST_P(IntegerGemm, EqualsReference) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    Draw draw(seed);
    const IntegerCase c(draw, kTypes[seed % kTypes.size()]);
    ASSERT_TRUE(same_bits(c.run(*reference_), c.run(*cpu_))) << "seed " << seed << c.describe();
  }
}

TEST_P(IntegerGemm, ExtremesEqualReference) {
  // The largest sums that bytes can make, nothing, and values that are no numbers.
  for (const std::int64_t bits : {4, 8}) {
    for (const float x_value : {1.0F, -1.0F, 0.0F, 1e-38F, 3e38F, INFINITY, NAN}) {
      for (const float w_value : {1.0F, -1.0F, 0.0F, 1e-38F, INFINITY}) {
        Draw draw(1);
        IntegerCase c(draw, DType::F32);
        c.format = {bits, 128};
        c.rows = 7;
        c.n_range = {0, c.n = 40};
        c.k_range = {0, c.k = c.x_ld = 256};
        c.y_ld = c.n;
        c.biased = false;
        c.x.assign(static_cast<std::size_t>(c.rows * c.k), x_value);
        c.weights.resize(static_cast<std::size_t>(c.n * c.k) * 4);
        for (std::int64_t i = 0; i < c.n * c.k; ++i) {
          store_f32(w_value, DType::F32, c.weights.data() + i * 4);
        }
        ASSERT_TRUE(same_bits(c.run(*reference_), c.run(*cpu_))) << x_value << " " << w_value;
      }
    }
  }
}

TEST_P(IntegerGemm, ARowDoesNotKnowItsCompany) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    Draw draw(1000 + seed);
    IntegerCase c(draw, kTypes[seed % kTypes.size()]);
    c.rows = seed % 3 == 0 ? 4096 : 64;  // more than are quantised at a time
    c.x = draw.floats(c.rows * c.x_ld);
    const std::vector<float> whole = c.run(*cpu_);
    for (int trial = 0; trial < 4; ++trial) {
      IntegerCase part = c;
      std::vector<float> want;
      part.rows = trial == 0 ? 1 : draw.integer(1, 9);
      part.x.clear();
      for (std::int64_t i = 0; i < part.rows; ++i) {
        const std::int64_t r = draw.integer(0, c.rows - 1);
        part.x.insert(part.x.end(), c.x.begin() + r * c.x_ld, c.x.begin() + (r + 1) * c.x_ld);
        want.insert(want.end(), whole.begin() + r * c.y_ld, whole.begin() + (r + 1) * c.y_ld);
      }
      ASSERT_TRUE(same_bits(want, part.run(*cpu_))) << "seed " << seed << c.describe();
    }
  }
}

// One random leaf_gemm over G leaves of whole groups.
struct IntegerLeaves {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t leaves = 0;
  std::int64_t leaf_width = 0;
  IntegerFormat format;
  std::vector<std::byte> weights;
  std::vector<float> x;

  IntegerLeaves(Draw& draw, std::int64_t leaf_count) : leaves(leaf_count) {
    rows = draw.integer(1, 15);
    n = draw.integer(1, 90);
    leaf_width = draw.integer(1, 40) * draw.integer(1, 3);
    format = format_for(draw, group_size(leaf_width, draw.integer(1, kLeafGroup)));
    weights = random_weights(draw, n * leaves * leaf_width, DType::BF16);
    x = draw.floats(rows * leaves * leaf_width);
  }

  // Partial sums of the subtrees that cover `mine`, from the full matrix or a shard of it.
  std::vector<float> run(const Device& device, Range mine, bool full_matrix = true) const {
    const std::int64_t k = leaves * leaf_width;
    const Range columns{mine.begin * leaf_width, mine.end * leaf_width};
    std::vector<std::byte> shard;
    for (std::int64_t row = 0; row < n; ++row) {
      const auto first = weights.begin() + (row * k + columns.begin) * 2;
      shard.insert(shard.end(), first, first + columns.size() * 2);
    }
    const WeightMatrix w =
        full_matrix ? device.pack_integers(weights, n, k, DType::BF16, format)
                    : device.pack_integers(shard, n, columns.size(), DType::BF16, format);
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
};

TEST_P(IntegerGemm, LeavesEqualReference) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(2000 + seed);
    const IntegerLeaves c(draw, draw.integer(1, 24));
    const std::int64_t first = draw.integer(0, c.leaves - 1);
    const Range mine{first, draw.integer(first + 1, c.leaves)};
    ASSERT_TRUE(same_bits(c.run(*reference_, mine), c.run(*cpu_, mine))) << "seed " << seed;
  }
}

TEST_P(IntegerGemm, EverySplitOfTheLeavesGivesTheBitsOfTheWhole) {
  for (const std::int64_t leaves : {1, 2, 3, 6, 8, 12, 16}) {
    Draw draw(static_cast<std::uint64_t>(leaves));
    const IntegerLeaves c(draw, leaves);
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

// Experts whose shards lie anywhere in their matrices, some with no rows.
struct IntegerExperts {
  std::int64_t d = 0;
  std::int64_t leaf_width = 0;
  Range leaves;             // of 8
  std::int64_t before = 0;  // rows of gate and up ahead of the shard's
  bool gated = false;
  ExpertActivation activation = ExpertActivation::Silu;
  IntegerFormat in;
  IntegerFormat out;
  std::vector<std::vector<float>> rows;      // of each expert: (rows, d)
  std::vector<std::vector<std::byte>> mats;  // gate, up, down of each

  explicit IntegerExperts(Draw& draw, std::int64_t most_rows) {
    in = format_for(draw, draw.integer(1, 40));
    d = in.group * draw.integer(1, 3);
    leaf_width = draw.integer(1, 30);
    out = {in.bits, group_size(leaf_width, 12)};
    leaves.begin = draw.integer(0, 7);
    leaves.end = draw.integer(leaves.begin + 1, 8);
    before = draw.integer(0, 20);
    gated = draw.integer(0, 3) != 0;
    if (draw.integer(0, 3) == 0) activation = ExpertActivation::Relu;
    for (std::int64_t e = draw.integer(1, 4); e > 0; --e) {
      rows.push_back(draw.floats(draw.integer(0, most_rows) * d));
      for (int i = 0; i < 2; ++i) mats.push_back(random_weights(draw, up_rows() * d, DType::BF16));
      mats.push_back(random_weights(draw, d * 8 * leaf_width, DType::BF16));
    }
  }
  std::int64_t hidden() const { return leaves.size() * leaf_width; }
  std::int64_t up_rows() const { return before + hidden() + 3; }

  std::vector<float> run(const Device& device) const {
    const std::vector<Range> nodes = tree_cover(8, leaves);
    const auto per_row = static_cast<std::int64_t>(nodes.size()) * d;
    std::int64_t count = 0;
    for (const auto& x : rows) count += std::ssize(x) / d;
    std::vector<float> y(static_cast<std::size_t>(count * per_row));
    std::vector<WeightMatrix> packed;
    for (std::size_t i = 0; i < mats.size(); ++i) {
      packed.push_back(i % 3 == 2
                           ? device.pack_integers(mats[i], d, 8 * leaf_width, DType::BF16, out)
                           : device.pack_integers(mats[i], up_rows(), d, DType::BF16, in));
    }
    std::vector<std::vector<const float*>> xs(rows.size());
    std::vector<std::vector<float*>> ys(rows.size());
    std::vector<std::vector<float>> scratch(rows.size());
    std::vector<ExpertRows> experts;
    float* to = y.data();
    for (std::size_t e = 0; e < rows.size(); ++e) {
      for (std::int64_t r = 0; r < std::ssize(rows[e]) / d; ++r, to += per_row) {
        xs[e].push_back(rows[e].data() + r * d);
        ys[e].push_back(to);
      }
      scratch[e].resize(xs[e].size() * static_cast<std::size_t>(hidden()));
      const Range units{before, before + hidden()};
      ExpertRows& expert = experts.emplace_back();
      expert.x = xs[e];
      expert.y = ys[e];
      if (gated) expert.gate = {&packed[3 * e], units, {0, d}};
      expert.up = {&packed[3 * e + 1], units, {0, d}};
      expert.down = {
          &packed[3 * e + 2], {0, d}, {leaves.begin * leaf_width, leaves.end * leaf_width}};
      expert.nodes = nodes;
      expert.hidden = scratch[e].data();
    }
    device.expert_mlp({experts, leaf_width, activation});
    return y;
  }
};

TEST_P(IntegerGemm, ExpertsEqualReference) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Draw draw(5000 + seed);
    const IntegerExperts c(draw, 9);
    ASSERT_TRUE(same_bits(c.run(*reference_), c.run(*cpu_))) << "seed " << seed;
  }
}

TEST_P(IntegerGemm, ExpertsOfMoreRowsThanAreQuantisedAtATime) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Draw draw(6000 + seed);
    IntegerExperts c(draw, 5);
    const std::vector<float> row = draw.floats(c.d);
    const std::vector<float> few = [&] {
      c.rows.assign(c.rows.size(), row);
      return c.run(*cpu_);
    }();
    for (auto& x : c.rows) {
      for (int i = 1; i < 12000; ++i) x.insert(x.end(), row.begin(), row.end());
    }
    const std::vector<float> many = c.run(*cpu_);
    const std::size_t each = few.size() / c.rows.size();
    for (std::size_t i = 0; i < many.size(); ++i) {
      ASSERT_EQ(many[i], few[i / (12000 * each) * each + i % each]) << "seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, IntegerGemm,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), target_name);

// Half a scale for each factor: |xq sx - x| <= sx / 2, |wq sw - w| <= sw / 2, and the products of a
// group then differ by at most sx/2 |w| + sw/2 |x| + sx sw / 4 each; the roundings of the chain are
// far below that.
TEST(IntegerGemmOracle, IsWithinHalfAScaleOfEachFactor) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(3000 + seed);
    IntegerCase c(draw, kTypes[seed % kTypes.size()]);
    c.biased = false;
    const std::vector<float> y = c.run(*make_device("reference"));
    const std::int64_t group = c.format.group;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      for (std::int64_t j = 0; j < c.n_range.size(); ++j) {
        double exact = 0;
        double bound = 0;
        for (std::int64_t first = c.k_range.begin; first < c.k_range.end; first += group) {
          std::vector<double> xs;
          std::vector<double> ws;
          for (std::int64_t i = first; i < first + group; ++i) {
            xs.push_back(c.x[static_cast<std::size_t>(r * c.x_ld + i - c.k_range.begin)]);
            ws.push_back(widen(c.weights, (c.n_range.begin + j) * c.k + i, c.type));
          }
          const auto largest = [](const std::vector<double>& values) {
            double most = 0;
            for (const double value : values) most = std::max(most, std::fabs(value));
            return most;
          };
          const double half_x = largest(xs) / kActivationLimit / 2 * 1.0001;
          const double half_w = largest(ws) / c.format.limit() / 2 * 1.0001;
          for (std::size_t i = 0; i < xs.size(); ++i) {
            exact += xs[i] * ws[i];
            bound += half_x * std::fabs(ws[i]) + half_w * std::fabs(xs[i]) + half_x * half_w;
          }
        }
        ASSERT_LE(std::fabs(y[static_cast<std::size_t>(r * c.y_ld + j)] - exact), bound + 1e-12)
            << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
