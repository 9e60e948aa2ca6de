// plan_paths: what a plan file says about other files, and what that means to its reader.
//
// A plan names its model, and perhaps the plan of its prefill pool, relative to its own folder, so
// that the folder can be moved as a whole. A model may also be a name of the catalog
// (spec/load_shape.h): a word without a slash or a file's ending, where no such file exists.
// Cost: one look at the disk for such a word. Held by plan/plan_paths_test.cc.
#pragma once

#include <string>

namespace pentafold {

// "mixtral-8x7b": could be a name of the catalog. "models/tiny-moe", "a.yaml": paths.
bool could_be_catalog_name(const std::string& model);

// As written in `plan_file` -> as a reader in the current folder names it.
std::string resolve_model(const std::string& written, const std::string& plan_file);
std::string resolve_path(const std::string& written, const std::string& plan_file);

// The way back: what to write in `plan_file` (empty: a plan in the current folder).
std::string written_model(const std::string& model, const std::string& plan_file);
std::string written_path(const std::string& path, const std::string& plan_file);

}  // namespace pentafold
