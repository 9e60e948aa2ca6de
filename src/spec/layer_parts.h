// layer_parts: a layer being put together from its dimensions, one weight after another.
//
// Within spec only; spec/layer_dims.h is what others use. Products that would overflow stay at a
// bound above every accepted model, which build_shape then refuses. Held by
// spec/model_shape_test.cc.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "spec/layer_dims.h"

namespace pentafold {

// At most 4e18.
std::int64_t bounded_product(std::initializer_list<std::int64_t> factors);

struct LayerParts {
  std::int64_t d = 0;
  LayerShape layer;

  // A matrix (or several) that multiplies activations, of `dims` values; nothing when that is 0.
  void add(const char* name, std::initializer_list<std::int64_t> dims, Split split,
           WeightPart part);
  // A bias, a norm's scale, a table: no multiplication.
  void add_vector(const char* name, std::initializer_list<std::int64_t> dims, Split split,
                  WeightPart part);
};

void add_mixer(const MixerDims& mixer, LayerParts& parts);
std::optional<std::string> mixer_problem(const MixerDims& mixer);

}  // namespace pentafold
