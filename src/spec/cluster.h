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
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/machine.h"
#include "spec/number_format.h"

namespace pentafold {

// A level that reaches every device there is has this domain.
inline constexpr std::int64_t kEveryDevice = std::int64_t{1} << 20;

struct LinkLevel {
  std::string name;         // "nvlink"
  std::int64_t domain = 0;  // devices that reach each other on this level or a nearer one
  double bytes_per_s = 0;   // one way, per device
  double latency_s = 0;     // of one message
};

struct GpuSpec {
  std::string name;               // "h200-sxm"
  double memory_bytes = 0;        // on the datasheet (GB are 1e9)
  double memory_bytes_per_s = 0;  //
  double bf16_flops = 0;          // dense
  double f32_flops = 0;           // 0: half of bf16, the ratio of tf32 to bf16 units
  double fp8_flops = 0;           // 0: computes in bf16 after widening
  double int8_flops = 0;          //
  double fp4_flops = 0;           //
  double power_w = 0;             // 0: not known
  double dollars_per_hour = 0;    // 0: not given
  std::string source;
  // The usual node around it, as in ClusterSpec; empty for a device described in a cluster file.
  std::int64_t gpus_per_node = 8;
  std::vector<LinkLevel> links;

  // Peak for a product whose weights are held as `weights`: the fastest unit that takes them. A
  // format without a unit of its own is widened to bf16.
  double flops(NumberFormat weights) const;
};

struct ClusterSpec {
  std::string name;
  GpuSpec gpu;
  std::int64_t gpus = 0;                // 0: as many as needed
  std::int64_t gpus_per_node = 8;       //
  std::vector<LinkLevel> links;         // innermost first; the last spans all devices
  std::optional<MachineSpec> measured;  // pentafold calibrate

  // The innermost level that a group of `ranks` consecutive devices fits in; 0 for one device. The
  // last level for any number above that.
  std::size_t level_of(std::int64_t ranks) const;
};

// "h200-sxm", an alias ("h100", "H200 SXM 141GB", "NVIDIA H200") or the beginning of one name only;
// case, spaces and punctuation do not count, nor does what is in parentheses or a memory at the end
// that agrees with the device's ("GB300 NVL72 (288GB/GPU)"). Unknown: the nearest known name, and
// all of them; ambiguous: the candidates. Any of the catalog has its links.
Result<GpuSpec> find_gpu(const std::string& name);
std::vector<GpuSpec> catalog_gpus();  // in the order of the file

// The usual node around a GPU of the catalog: its scale-up domain, and its NICs above. `gpus` 0: as
// many as needed.
ClusterSpec default_cluster(const GpuSpec& gpu, std::int64_t gpus);
// A catalog name ("dgx-h200"), or the path of a file.
Result<ClusterSpec> load_cluster(const std::string& name_or_path);
// docs/cluster-format.md. The devices are within the last level's domain, domains grow outwards,
// all numbers are finite and those that divide are above 0.
Result<ClusterSpec> parse_cluster(const std::string& yaml_text, const std::string& file);
std::vector<ClusterSpec> catalog_clusters();  // sorted by name

}  // namespace pentafold
