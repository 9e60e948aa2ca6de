// Cluster, workload and target text from strangers: something usable or a sentence, never a crash.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "spec/cluster.h"
#include "spec/workload.h"

namespace {

using namespace pentafold;

void check_cluster(const ClusterSpec& cluster) {
  CHECK(cluster.gpu.memory_bytes > 0 && cluster.gpu.memory_bytes_per_s > 0);
  for (const NumberFormat format : kNumberFormats) {
    CHECK(cluster.gpu.flops(format) > 0 && std::isfinite(cluster.gpu.flops(format)));
  }
  CHECK(cluster.gpus >= 0 && cluster.gpus_per_node >= 1 && !cluster.links.empty());
  std::int64_t domain = 0;
  for (const LinkLevel& link : cluster.links) {
    CHECK(link.domain > domain && link.bytes_per_s > 0 && std::isfinite(link.bytes_per_s));
    CHECK(link.latency_s >= 0 && std::isfinite(link.latency_s));
    domain = link.domain;
  }
  CHECK(cluster.gpus <= domain);
  if (!cluster.measured) return;
  const MachineSpec& machine = *cluster.measured;
  CHECK(machine.cores >= 1);
  for (const double where : {0.5, 3.0, 1e12}) {
    for (const double seconds :
         {machine.product_alone.at(where, where), machine.product_shared.at(where, where),
          machine.leaf.at(where), machine.exchange_work.at(where)}) {
      CHECK(std::isfinite(seconds) && seconds >= 0);
    }
  }
}

void check_targets(const Targets& targets) {
  for (const auto& limit : {targets.ttft_s, targets.tpot_s, targets.tokens_per_s_per_gpu,
                            targets.prefill_tokens_per_s_per_gpu, targets.tokens_per_s,
                            targets.dollars_per_mtok, targets.goodput_per_s}) {
    CHECK(!limit || (*limit > 0 && std::isfinite(*limit)));
  }
  for (const ServedLimit& limit : targets.served) {
    CHECK(limit.seconds > 0 && std::isfinite(limit.seconds) && !limit.name().empty());
  }
  CHECK(validate({.isl = 1, .osl = 2, .batch = {}, .rate_per_s = {}, .skew = 0}, targets).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto cluster = parse_cluster(text, "fuzz.yaml");
  const auto workload = parse_workload(text, "fuzz.yaml");
  const auto targets = parse_targets(text);
  const auto gpu = find_gpu(text);
  if (cluster.ok()) check_cluster(*cluster);
  if (workload.ok()) CHECK(validate(*workload, {}).ok());
  if (targets.ok()) check_targets(*targets);
  CHECK(cluster.ok() || (!cluster.error().message.empty() && !cluster.error().file.empty()));
  CHECK(workload.ok() || (!workload.error().message.empty() && !workload.error().file.empty()));
  CHECK(targets.ok() || !targets.error().message.empty());
  CHECK(gpu.ok() ? !gpu->links.empty() : !gpu.error().message.empty());
  return 0;
}
