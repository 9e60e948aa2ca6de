// Grouped experts and sums of trees: cpu equals the reference, and no row knows its company.
#include <algorithm>
#include <array>
#include <numeric>

#include "base/reduction_tree.h"
#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

constexpr std::array kTypes{DType::F32, DType::BF16, DType::F16};

struct Expert {
  std::int64_t rows = 0;
  Range gate_n;  // where the shard starts in its matrices may differ
  Range up_n;
  std::vector<std::byte> gate;
  std::vector<std::byte> up;
  std::vector<std::byte> down;
  std::vector<Range> nodes;
};

// A rank's shards of some experts; tokens share input rows, as with top_k > 1.
struct ExpertCase {
  std::int64_t d = 0;
  std::int64_t leaf_width = 0;
  std::int64_t first_leaf = 0;
  std::int64_t leaves = 0;  // of the shard
  bool gated = true;
  ExpertActivation activation = ExpertActivation::Silu;
  DType type = DType::F32;
  std::vector<float> inputs;  // (tokens, d)
  std::vector<Expert> experts;

  std::int64_t tokens() const { return std::ssize(inputs) / d; }
  std::int64_t hidden() const { return leaves * leaf_width; }

  ExpertCase(Draw& draw, DType dtype) : type(dtype) {
    d = draw.integer(1, 80);
    leaf_width = draw.integer(1, 12);
    const std::int64_t all = draw.integer(1, 12);
    const Range mine = split(all, 2, draw.integer(0, 1));
    first_leaf = mine.empty() ? 0 : mine.begin;
    leaves = mine.empty() ? all : mine.size();
    gated = draw.integer(0, 2) > 0;
    activation = draw.integer(0, 2) > 0 ? ExpertActivation::Silu : ExpertActivation::Relu;
    inputs = draw.floats(draw.integer(1, 9) * d);
    for (std::int64_t e = draw.integer(1, 4); e > 0; --e) {
      Expert expert;
      expert.rows = draw.integer(0, 3) == 0 ? draw.integer(20, 60) : draw.integer(1, 9);
      const auto shard = [&] {
        const std::int64_t begin = draw.integer(0, 20);
        return Range{begin, begin + hidden()};
      };
      expert.gate_n = shard();
      expert.up_n = shard();
      expert.gate = random_weights(draw, expert.gate_n.end * d, type);
      expert.up = random_weights(draw, expert.up_n.end * d, type);
      expert.down = random_weights(draw, d * hidden(), type);
      expert.nodes = tree_cover(all, {first_leaf, first_leaf + leaves});
      experts.push_back(std::move(expert));
    }
  }

  // Outputs of all rows of all experts, one behind the other: (nodes, d) each.
  std::vector<float> run(const Device& device) const {
    struct Held {
      WeightMatrix gate, up, down;
      std::vector<const float*> x;
      std::vector<float*> y;
      std::vector<float> hidden;
    };
    std::vector<Held> held(experts.size());
    std::int64_t floats = 0;
    for (const Expert& e : experts) floats += e.rows * std::ssize(e.nodes) * d;
    std::vector<float> out(static_cast<std::size_t>(floats), 12345.0F);
    float* to = out.data();
    std::vector<ExpertRows> args;
    for (std::size_t i = 0; i < experts.size(); ++i) {
      const Expert& e = experts[i];
      Held& h = held[i];
      if (gated) h.gate = device.pack(e.gate, e.gate_n.end, d, type);
      h.up = device.pack(e.up, e.up_n.end, d, type);
      h.down = device.pack(e.down, d, hidden(), type);
      h.hidden.resize(static_cast<std::size_t>(e.rows * hidden()));
      for (std::int64_t r = 0; r < e.rows; ++r) {
        h.x.push_back(inputs.data() + r % tokens() * d);
        h.y.push_back(to);
        to += std::ssize(e.nodes) * d;
      }
      args.push_back({h.x,
                      h.y,
                      gated ? MatrixPart{&h.gate, e.gate_n, {0, d}} : MatrixPart{},
                      {&h.up, e.up_n, {0, d}},
                      {&h.down, {0, d}, {0, hidden()}},
                      e.nodes,
                      h.hidden.data()});
    }
    device.expert_mlp({args, leaf_width, activation});
    return out;
  }
};

using ExpertMlp = EveryTarget;

TEST_P(ExpertMlp, EqualsReference) {
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    Draw draw(seed);
    const ExpertCase c(draw, kTypes[seed % kTypes.size()]);
    ASSERT_TRUE(same_bits(c.run(*reference_), c.run(*cpu_)))
        << "seed " << seed << " d " << c.d << " leaves " << c.leaves << " x " << c.leaf_width;
  }
}

// Alone, each expert gives what it gives beside the others, and a team changes nothing.
TEST_P(ExpertMlp, AnExpertDoesNotKnowItsCompany) {
  const auto alone = make_device("cpu");
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(500 + seed);
    const ExpertCase all(draw, kTypes[seed % kTypes.size()]);
    std::vector<float> joined;
    for (const Expert& expert : all.experts) {
      ExpertCase one = all;
      one.experts = {expert};
      const std::vector<float> part = one.run(*alone);
      joined.insert(joined.end(), part.begin(), part.end());
    }
    ASSERT_TRUE(same_bits(joined, all.run(*cpu_))) << "seed " << seed;
  }
}

using SumTrees = EveryTarget;

TEST_P(SumTrees, EqualsReference) {
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    Draw draw(seed);
    const std::int64_t leaves = draw.integer(1, 12);
    const std::vector<Range> have = tree_cover_all(leaves, draw.integer(1, leaves));
    const std::vector<TreeAdd> adds = tree_finish(leaves, have);
    TreeSumArgs args;
    args.rows = draw.integer(1, 40);
    args.width = draw.integer(1, 600);
    args.terms = draw.integer(1, 4);
    args.nodes_per_term = std::ssize(have);
    args.adds = adds;
    const std::vector<float> values = draw.floats(8 * args.width);
    std::vector<const float*> nodes;
    for (std::int64_t t = 0; t < args.rows * args.terms; ++t) {
      const bool dropped = args.terms > 1 && draw.integer(0, 4) == 0;
      for (std::size_t n = 0; n < have.size(); ++n) {
        nodes.push_back(dropped ? nullptr : values.data() + draw.integer(0, 7) * args.width);
      }
    }
    args.nodes = nodes;
    const std::vector<float> weights = draw.floats(args.rows * args.terms);
    const std::vector<float> bias = draw.floats(args.width);
    if (args.terms > 1 || draw.integer(0, 1) == 1) {
      args.weights = weights.data();
    } else if (draw.integer(0, 1) == 1) {
      args.bias = bias.data();
    }
    const auto run = [&](const Device& device) {
      std::vector<float> y(static_cast<std::size_t>(args.rows * args.width));
      args.y = {y.data(), args.width};
      device.sum_trees(args);
      return y;
    };
    ASSERT_TRUE(same_bits(run(*reference_), run(*cpu_))) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ExpertMlp,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), target_name);
INSTANTIATE_TEST_SUITE_P(Targets, SumTrees,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), target_name);

}  // namespace
}  // namespace pentafold::testing
