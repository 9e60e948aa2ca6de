// load_model: from a path a person types to a model and its weights.
//
// A directory is a Hugging Face checkpoint (config.json inside); a .yaml file is a shape spec with
// synthetic weights; a config.json alone is a shape without weights (enough to plan and inspect).
// Held by spec/load_model_test.cc.
#pragma once

#include <string>

#include "base/result.h"
#include "spec/model.h"

namespace pentafold {

struct ModelInput {
  ModelSpec model;
  std::string path;            // as given
  std::string checkpoint_dir;  // empty: no checkpoint (synthetic, or config only)
};

Result<ModelInput> load_model(const std::string& path);

// Hugging Face config.json. What is not supported is refused by name with the list of what is.
Result<ModelSpec> parse_hf_config(const std::string& json_text, const std::string& file);

// Shape spec (YAML): dimensions and a seed, for synthetic weights. Unknown keys are refused, with
// the nearest known one.
Result<ModelSpec> parse_shape_spec(const std::string& yaml_text, const std::string& file);

}  // namespace pentafold
