#include "cli/clusters.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/quote.h"
#include "base/units.h"
#include "cli/verbs.h"
#include "spec/cluster.h"

namespace pentafold {
namespace {

// In TFLOPS; "-" where there is no such unit.
std::string peak(double flops) {
  return flops > 0 ? fmt::format("{:.6g}", flops / 1e12) : "-";
}

std::string bandwidth(double bytes_per_s) {
  return format_bytes(bytes_per_s) + "/s";
}

std::string link_text(const LinkLevel& link) {
  const std::string reach =
      link.domain == kEveryDevice ? "beyond" : fmt::format("of {}", link.domain);
  return fmt::format("{} {} {}", link.name, reach, bandwidth(link.bytes_per_s));
}

std::string links_text(const std::vector<LinkLevel>& links) {
  std::string out;
  for (const LinkLevel& link : links) out += (out.empty() ? "" : ", ") + link_text(link);
  return out;
}

nlohmann::json to_json(const GpuSpec& gpu) {
  return {{"name", gpu.name},
          {"memory_bytes", gpu.memory_bytes},
          {"memory_bytes_per_s", gpu.memory_bytes_per_s},
          {"bf16_flops", gpu.bf16_flops},
          {"f32_flops", gpu.flops(NumberFormat::F32)},
          {"fp8_flops", gpu.fp8_flops},
          {"int8_flops", gpu.int8_flops},
          {"fp4_flops", gpu.fp4_flops},
          {"power_w", gpu.power_w},
          {"dollars_per_hour", gpu.dollars_per_hour},
          {"source", gpu.source}};
}

nlohmann::json to_json(const std::vector<LinkLevel>& links) {
  nlohmann::json out = nlohmann::json::array();
  for (const LinkLevel& link : links) {
    nlohmann::json item = {
        {"name", link.name}, {"bytes_per_s", link.bytes_per_s}, {"latency_s", link.latency_s}};
    if (link.domain != kEveryDevice) item["domain"] = link.domain;
    out.push_back(std::move(item));
  }
  return out;
}

nlohmann::json to_json(const ClusterSpec& cluster) {
  return {{"name", cluster.name},
          {"gpu", to_json(cluster.gpu)},
          {"gpus", cluster.gpus},
          {"gpus_per_node", cluster.gpus_per_node},
          {"links", to_json(cluster.links)}};
}

void print_json(const nlohmann::json& out) {
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int print_all(bool json) {
  const auto gpus = catalog_gpus();
  const auto clusters = catalog_clusters();
  if (json) {
    nlohmann::json out = {{"gpus", nlohmann::json::array()}, {"clusters", nlohmann::json::array()}};
    for (const GpuSpec& gpu : gpus) {
      nlohmann::json item = to_json(gpu);
      item["gpus_per_node"] = gpu.gpus_per_node;
      item["links"] = to_json(gpu.links);
      out["gpus"].push_back(std::move(item));
    }
    for (const ClusterSpec& cluster : clusters) out["clusters"].push_back(to_json(cluster));
    print_json(out);
    return 0;
  }
  fmt::print("GPUs; dense peaks in TFLOPS, links one way and per device\n");
  constexpr const char* kRow = "  {:<14} {:>8} {:>10} {:>7} {:>7} {:>7} {:>7} {:>7}  {}\n";
  fmt::print(kRow, "", "memory", "bandwidth", "bf16", "fp8", "int8", "fp4", "power", "links");
  for (const GpuSpec& gpu : gpus) {
    fmt::print(kRow, gpu.name, format_bytes(gpu.memory_bytes), bandwidth(gpu.memory_bytes_per_s),
               peak(gpu.bf16_flops), peak(gpu.fp8_flops), peak(gpu.int8_flops), peak(gpu.fp4_flops),
               gpu.power_w > 0 ? fmt::format("{:.0f} W", gpu.power_w) : "-", links_text(gpu.links));
  }
  fmt::print("\nNode shapes\n");
  for (const ClusterSpec& cluster : clusters) {
    fmt::print("  {:<14} {:>3} x {:<13} {}\n", cluster.name, cluster.gpus_per_node,
               cluster.gpu.name, links_text(cluster.links));
  }
  fmt::print("\npentafold clusters NAME shows one in full\n");
  return 0;
}

void print_cluster(const ClusterSpec& cluster) {
  const GpuSpec& gpu = cluster.gpu;
  fmt::print("{}: {} a node, {}\n", cluster.name, cluster.gpus_per_node,
             cluster.gpus > 0 ? fmt::format("{} in all", cluster.gpus) : "as many as needed");
  fmt::print("  device        {}\n", gpu.name);
  fmt::print("  memory        {} at {}\n", format_bytes(gpu.memory_bytes),
             bandwidth(gpu.memory_bytes_per_s));
  fmt::print("  peaks         bf16 {}, f32 {}, fp8 {}, int8 {}, fp4 {} TFLOPS, dense\n",
             peak(gpu.bf16_flops), peak(gpu.flops(NumberFormat::F32)), peak(gpu.fp8_flops),
             peak(gpu.int8_flops), peak(gpu.fp4_flops));
  if (gpu.power_w > 0) fmt::print("  power         {:.0f} W\n", gpu.power_w);
  if (gpu.dollars_per_hour > 0) fmt::print("  price         {} $/h\n", gpu.dollars_per_hour);
  for (const LinkLevel& link : cluster.links) {
    fmt::print("  link          {}, {} a message\n", link_text(link),
               format_seconds(link.latency_s));
  }
  if (!gpu.source.empty()) fmt::print("  source        {}\n", quote_text(gpu.source));
}

// A node shape or file; else the usual node around a GPU of that name.
Result<ClusterSpec> find_cluster(const std::string& name) {
  auto cluster = load_cluster(name);
  // An error with a file is about that file.
  if (cluster.ok() || !cluster.error().file.empty()) return cluster;
  const auto gpu = find_gpu(name);
  if (gpu.ok()) return default_cluster(*gpu, 0);
  return make_error(
      ErrorCode::InvalidSpec,
      fmt::format("{}; and as a GPU: {}", cluster.error().message, gpu.error().message));
}

}  // namespace

int clusters_verb(const ClustersOptions& options) {
  if (options.name.empty()) return print_all(options.json);
  const auto cluster = find_cluster(options.name);
  if (!cluster.ok()) return report_error(cluster.error());
  if (options.json) {
    print_json(to_json(*cluster));
  } else {
    print_cluster(*cluster);
  }
  return 0;
}

}  // namespace pentafold
