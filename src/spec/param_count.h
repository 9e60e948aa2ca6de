// param_count: a number of parameters as people write it: 417000000, 4.17e8, "417M", "10B",
// "1.04T". Held by spec/shape_spec_test.cc and spec/load_shape_test.cc.
#pragma once

#include <string_view>

#include "base/result.h"
#include "spec/yaml_reader.h"

namespace pentafold {

// The key must be there (ask has()); between 1 and 1e18.
Result<double> read_param_count(const YamlMap& map, std::string_view key);

}  // namespace pentafold
