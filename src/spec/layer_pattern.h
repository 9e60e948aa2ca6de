// layer_pattern: the layers of a model in a line: "3 mla+dense, 58 mla+moe".
//
// A layer names a mixer, an FFN or both joined by +; a number before it, or before a group in
// parentheses, repeats it: "12 (3 delta+moe, full+moe)". Groups may nest.
// Cost: O(layers). Held by spec/load_shape_test.cc and tests/fuzz/shape_fuzz.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pentafold {

struct LayerPattern {
  std::vector<std::string> layers;  // "mla+dense" each, in order
  std::string problem;              // empty: none
};
// At most `max_layers` layers, and groups nested at most 8 deep.
LayerPattern parse_layer_pattern(std::string_view text, std::size_t max_layers);

}  // namespace pentafold
