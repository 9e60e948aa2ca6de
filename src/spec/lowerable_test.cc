// What is lowered has the dimensions of the shape; what is not says why.
#include "spec/lowerable.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "spec/load_shape.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

bool same_group(const WeightGroup& a, const WeightGroup& b) {
  return a.name == b.name && a.params == b.params && a.split == b.split && a.part == b.part;
}

// Of the engine's families nothing is lost: the spec's shape is the shape again.
TEST(Lowerable, ShapesOfTheEnginesFamiliesComeBack) {
  for (const ModelSpec& model : testing::tiny_models()) {
    const ModelShape shape = shape_of(model);
    const auto spec = lowerable(shape);
    ASSERT_TRUE(spec.ok()) << model.name << ": " << spec.error().message;
    const ModelShape again = shape_of(*spec);
    EXPECT_EQ(again.layers, shape.layers) << model.name;
    ASSERT_EQ(again.kinds.size(), shape.kinds.size());
    for (std::size_t k = 0; k < shape.kinds.size(); ++k) {
      EXPECT_TRUE(std::ranges::equal(again.kinds[k].weights, shape.kinds[k].weights, same_group))
          << model.name;
      EXPECT_EQ(again.kinds[k].mixer.window, shape.kinds[k].mixer.window);
      EXPECT_EQ(again.kinds[k].ffn.top_k, shape.kinds[k].ffn.top_k);
    }
    EXPECT_TRUE(std::ranges::equal(again.outer, shape.outer, same_group)) << model.name;
  }
}

TEST(Lowerable, ModelsOfTheCatalogKeepTheirParameters) {
  int plain = 0;
  for (const CatalogModel& model : catalog_models()) {
    const auto spec = lowerable(model.shape);
    if (!spec.ok()) {
      EXPECT_TRUE(spec.error().message.starts_with("of ") ||
                  spec.error().message.starts_with("with "))
          << spec.error().message;
      continue;
    }
    ++plain;
    // Biases of experts, sinks and further norms are left out: less than a hundredth of any model.
    const auto total = static_cast<double>(count_params(model.shape).total);
    EXPECT_NEAR(static_cast<double>(count_params(*spec).total), total, 0.01 * total) << model.name;
    EXPECT_EQ(spec->num_layers(), model.shape.num_layers());
  }
  EXPECT_GE(plain, 25);
}

TEST(Lowerable, WhatIsNotPlainSaysWhy) {
  for (const auto& [name, reason] : {std::pair("deepseek-v3", "of latent attention"),
                                     std::pair("minimax-m1", "of linear attention"),
                                     std::pair("jamba-1.5-mini", "of state space layers"),
                                     std::pair("switch-base-8", "of cross attention")}) {
    const auto shape = load_shape(name);
    ASSERT_TRUE(shape.ok());
    const auto spec = lowerable(shape->model);
    ASSERT_FALSE(spec.ok()) << name;
    EXPECT_EQ(spec.error().message, reason);
  }
}

}  // namespace
}  // namespace pentafold
