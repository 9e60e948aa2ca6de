// load_shape: from what a person types to a ModelShape.
//
// A name of the catalog (specs/models/, built into the program), a checkpoint directory or a
// config.json of any known family, or a YAML shape: of the engine (spec/load_model.h) or of the
// wider kind that the catalog is written in (docs/model-format.md).
// Held by spec/load_shape_test.cc and tests/fuzz/config_fuzz.cc.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/model_shape.h"

namespace pentafold {

struct ShapeInput {
  ModelShape model;
  std::string path;       // as given; a catalog name stays a name
  bool runnable = false;  // load_model(path) would succeed: the engine can execute it
};

// An unknown name is refused with the nearest known one.
Result<ShapeInput> load_shape(const std::string& name_or_path);

// config.json of any known family; what is missing or unknown is named.
Result<ModelShape> parse_hf_shape(const std::string& json_text, const std::string& file);
// The catalog's YAML.
Result<ModelShape> parse_catalog_shape(const std::string& yaml_text, const std::string& file);

struct CatalogModel {
  std::string name;
  ModelShape shape;
  double official_total_params = 0;   // 0: not published
  double official_active_params = 0;  //
  std::string source;                 // of the official counts
};
// Every model of the catalog, by name.
std::vector<CatalogModel> catalog_models();

}  // namespace pentafold
