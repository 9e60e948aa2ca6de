// catalog_layers: the mixers and FFNs that a catalog file names (docs/model-format.md).
//
// Within spec only; parse_catalog_model (spec/load_shape.h) is what others use.
// Held by spec/load_shape_test.cc and tests/fuzz/shape_fuzz.cc.
#pragma once

#include "base/result.h"
#include "spec/layer_dims.h"
#include "spec/yaml_reader.h"

namespace pentafold {

Result<MixerDims> read_catalog_mixer(const YamlMap& map);
Result<FfnDims> read_catalog_ffn(const YamlMap& map);

}  // namespace pentafold
