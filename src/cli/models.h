// models: the verb that lists the catalog, or tells one model apart: `pentafold models [NAME]`.
// Held by tests/e2e.
#pragma once

#include <string>

namespace pentafold {

struct ModelsOptions {
  std::string name;  // empty: the whole catalog; else what load_shape accepts
  bool json = false;
};

// Prints; returns the exit code (cli/verbs.h).
int models_verb(const ModelsOptions& options);

}  // namespace pentafold
