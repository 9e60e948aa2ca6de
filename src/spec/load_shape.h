// load_shape: from what a person types to a ModelShape.
//
// A name of the catalog (specs/models/, built into the program; ./NAME is a directory), a
// checkpoint directory or a config.json of any known family, or a YAML shape: of the engine
// (spec/load_model.h) or of the wider kind that the catalog is written in (docs/model-format.md).
// Held by spec/load_shape_test.cc and tests/fuzz/shape_fuzz.cc.
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

// A name under which a model of the catalog is published ("Qwen/Qwen3-32B-FP8") finds it too, where
// no such path exists. An unknown name is refused with the nearest known one.
Result<ShapeInput> load_shape(const std::string& name_or_path);

// config.json of any known family; what is missing or unknown is named.
Result<ModelShape> parse_hf_shape(const std::string& json_text, const std::string& file);
// The catalog's YAML.
Result<ModelShape> parse_catalog_shape(const std::string& yaml_text, const std::string& file);

// Which of a model's parameters the author left out of the active count.
enum class ActiveExcludes { None, Embedding, EmbeddingAndHead };

// What the catalog says of a model beside its shape.
struct CatalogModel {
  std::string name;
  std::vector<std::string> aliases;  // published models of the same shape (spec/model_names.h)
  ModelShape shape;
  double official_total_params = 0;   // 0: not published
  double official_active_params = 0;  //
  std::string source;                 // of the official counts
  // Counted officially, but not in `shape`, whose not_counted says what they are.
  double official_also_counts = 0;
  double official_also_active = 0;
  ActiveExcludes active_excludes = ActiveExcludes::None;
  std::string official_note;  // why the counts differ where they do

  // The shape's counts by the official way of counting.
  double comparable_total() const;
  double comparable_active() const;
};
// Every model of the catalog, by name.
std::vector<CatalogModel> catalog_models();
Result<CatalogModel> parse_catalog_model(const std::string& yaml_text, const std::string& file);

}  // namespace pentafold
