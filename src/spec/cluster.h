// ClusterSpec: the devices that a plan may use and the links between them.
//
// A device is what its datasheet says (peaks; efficiencies belong to predict/). Links are a list of
// nested domains, innermost first: 8 GPUs on NVLink, all of them on InfiniBand. A rank's place
// decides which level a message crosses. catalog: specs/gpus.yaml and specs/clusters/, built into
// the program. Bandwidths are one way, per device.
// Source: vendors' datasheets, named in the files. Cost: a plain value. Held by
// spec/cluster_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/number_format.h"

namespace pentafold {

struct GpuSpec {
  std::string name;               // "h200-sxm"
  double memory_bytes = 0;        // on the datasheet (GB are 1e9)
  double memory_bytes_per_s = 0;  //
  double bf16_flops = 0;          // dense
  double fp8_flops = 0;           // 0: computes in bf16 after widening
  double int8_flops = 0;          //
  double fp4_flops = 0;           //
  double power_w = 0;             // 0: not known
  double dollars_per_hour = 0;    // 0: not given
  std::string source;

  // Peak for a product whose weights are held as `weights`: the fastest unit that takes them.
  double flops(NumberFormat weights) const;
};

struct LinkLevel {
  std::string name;         // "nvlink"
  std::int64_t domain = 0;  // devices that reach each other on this level or a nearer one
  double bytes_per_s = 0;   // one way, per device
  double latency_s = 0;     // of one message
};

struct ClusterSpec {
  std::string name;
  GpuSpec gpu;
  std::int64_t gpus = 0;           // 0: as many as needed
  std::int64_t gpus_per_node = 8;  //
  std::vector<LinkLevel> links;    // innermost first; the last spans all devices

  // The level that a group of `ranks` consecutive devices needs; 0 for one device.
  std::size_t level_of(std::int64_t ranks) const;
};

// "h200-sxm", "h100" (unique prefix or alias); unknown: the nearest known name.
Result<GpuSpec> find_gpu(const std::string& name);
std::vector<GpuSpec> catalog_gpus();

// The usual node around a GPU: its scale-up domain, and its NICs above.
ClusterSpec default_cluster(const GpuSpec& gpu, std::int64_t gpus);
// A catalog name, or a file.
Result<ClusterSpec> load_cluster(const std::string& name_or_path);
Result<ClusterSpec> parse_cluster(const std::string& yaml_text, const std::string& file);
std::vector<ClusterSpec> catalog_clusters();

}  // namespace pentafold
