// What the catalog of devices (cluster.cc) and cluster files (cluster_file.cc) read alike: a device
// and a list of links. Held by spec/cluster_test.cc.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/cluster.h"
#include "spec/yaml_reader.h"

namespace pentafold {

inline constexpr std::int64_t kMaxGpusPerNode = 4096;

// A device of the catalog, and what else it is called.
struct CatalogGpu {
  GpuSpec gpu;
  std::vector<std::string> aliases;
};

// One entry of specs/gpus.yaml, or the mapping under `gpu` of a cluster file: `aliases`, `links`
// and `gpus_per_node` are for the catalog only.
Result<CatalogGpu> read_gpu(const YamlMap& map, bool catalog);

// The list under `links`.
Result<std::vector<LinkLevel>> read_links(const YamlMap& map);

// A name that may be printed: 1 to 64 printable ASCII characters.
Result<std::string> read_name(const YamlMap& map, std::optional<std::string> otherwise);

// "did you mean ...? known are ...": the end of a refusal.
std::string meant_or_known(const std::string& word, const std::vector<std::string>& known);

}  // namespace pentafold
