// `pentafold clusters [NAME]`: the devices and node shapes of the catalog, or one cluster in full.
// Held by tests/e2e.
#pragma once

#include <string>

namespace pentafold {

struct ClustersOptions {
  std::string name;  // a node shape, the path of a cluster file, or a GPU; empty: list all
  bool json = false;
};

int clusters_verb(const ClustersOptions& options);

}  // namespace pentafold
