// Cluster files (YAML) -> ClusterSpec, and the catalog of node shapes; docs/cluster-format.md.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/nearest.h"
#include "base/quote.h"
#include "base/text_file.h"
#include "spec/cluster.h"
#include "spec/cluster_parts.h"
#include "spec/embedded.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

constexpr std::string_view kFolder = "specs/clusters/";
constexpr std::size_t kMaxLinks = 8;
constexpr std::size_t kMaxAliases = 16;
constexpr std::size_t kLongestName = 64;
constexpr double kMaxDollars = 1e6;

using Parser = Result<double> (*)(const std::string&, const std::string&);

struct Bounds {
  double low;
  double high;
  const char* words;  // "1 MB to 1 EB"
};
constexpr Bounds kMemory = {1e6, 1e18, "1MB to 1000000TB"};
constexpr Bounds kBandwidth = {1e3, 1e18, "1kB/s to 1000000TB/s"};
constexpr Bounds kFlops = {1e9, 1e21, "1GFLOPS to 1000000PFLOPS"};
constexpr Bounds kPower = {0, 1e6, "0W to 1000kW"};
constexpr Bounds kLatency = {0, 10, "0s to 10s"};

// A quantity with its unit; nullopt as `otherwise` makes the key required.
Result<double> read(const YamlMap& map, std::string_view key, Parser parse, const Bounds& bounds,
                    std::optional<double> otherwise) {
  if (!map.has(key) && otherwise) return *otherwise;
  PF_ASSIGN(const std::string text, map.text(key, std::nullopt));
  const auto value = parse(text, std::string(key));
  if (!value.ok()) return map.error_at(key, value.error().message);
  if (*value < bounds.low || *value > bounds.high) {
    return map.error_at(key,
                        fmt::format("{} = {} is outside {}", key, quote_text(text), bounds.words));
  }
  return *value;
}

Status read_peaks(const YamlMap& map, GpuSpec& out) {
  PF_ASSIGN(out.bf16_flops, read(map, "bf16", parse_flops, kFlops, std::nullopt));
  PF_ASSIGN(out.f32_flops, read(map, "f32", parse_flops, kFlops, 0));
  PF_ASSIGN(out.fp8_flops, read(map, "fp8", parse_flops, kFlops, 0));
  PF_ASSIGN(out.int8_flops, read(map, "int8", parse_flops, kFlops, 0));
  PF_ASSIGN(out.fp4_flops, read(map, "fp4", parse_flops, kFlops, 0));
  return ok_status();
}

Result<LinkLevel> read_link(const YamlMap& map) {
  constexpr std::array<std::string_view, 4> kKeys = {"name", "domain", "bandwidth", "latency"};
  PF_TRY(map.refuse_unknown(kKeys));
  LinkLevel out;
  PF_ASSIGN(out.name, read_name(map, std::nullopt));
  PF_ASSIGN(out.domain, map.integer("domain", kEveryDevice, 1, kEveryDevice));
  PF_ASSIGN(out.bytes_per_s, read(map, "bandwidth", parse_bytes_per_s, kBandwidth, std::nullopt));
  PF_ASSIGN(out.latency_s, read(map, "latency", parse_seconds, kLatency, std::nullopt));
  return out;
}

Status read_cluster_gpu(const YamlMap& map, ClusterSpec& out) {
  if (!map.has("gpu")) {
    return map.error_at("gpu",
                        "key \"gpu\" is missing; add a name of the catalog (gpu: h200-sxm) or a "
                        "mapping with name, memory, bandwidth and bf16");
  }
  PF_ASSIGN(const YAML::Node node, map.node("gpu"));
  if (node.IsMap()) {
    PF_ASSIGN(const YamlMap gpu, map.map("gpu"));
    PF_ASSIGN(const CatalogGpu described, read_gpu(gpu, false));
    out.gpu = described.gpu;
  } else {
    PF_ASSIGN(const std::string name, map.text("gpu", std::nullopt));
    const auto known = find_gpu(name);
    if (!known.ok()) return map.error_at("gpu", known.error().message);
    out.gpu = *known;
  }
  PF_ASSIGN(out.gpu.dollars_per_hour,
            map.number("dollars_per_hour", out.gpu.dollars_per_hour, 0, kMaxDollars));
  return ok_status();
}

Status read_cluster_links(const YamlMap& map, ClusterSpec& out) {
  out.links = out.gpu.links;
  if (map.has("links")) {
    PF_ASSIGN(out.links, read_links(map));
  } else if (out.links.empty()) {
    return map.error_at(
        "links",
        "key \"links\" is missing, and a device described here brings none; add a list "
        "such as [{name: nvlink, domain: 8, bandwidth: 450GB/s, latency: 2.5us}, "
        "{name: infiniband, bandwidth: 50GB/s, latency: 5us}]");
  }
  const LinkLevel& last = out.links.back();
  if (last.domain == kEveryDevice || (out.gpus > 0 && out.gpus <= last.domain)) return ok_status();
  const std::string wish =
      out.gpus > 0 ? fmt::format("all {} devices", out.gpus) : "as many devices as needed";
  return map.error_at(
      "links", fmt::format("the last link, {}, has a domain of {}, but joins {}; leave its domain "
                           "out, add a level above it, or give gpus: {} or fewer",
                           quote_text(last.name), last.domain, wish, last.domain));
}

std::vector<std::string> catalog_names() {
  std::vector<std::string> out;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.path.starts_with(kFolder)) continue;
    out.push_back(std::filesystem::path(file.path).stem().string());
  }
  return out;
}

std::optional<EmbeddedFile> catalog_file(const std::string& name) {
  for (const EmbeddedFile& file : embedded_files()) {
    if (file.path == fmt::format("{}{}.yaml", kFolder, name)) return file;
  }
  return std::nullopt;
}

}  // namespace

std::string meant_or_known(const std::string& word, const std::vector<std::string>& known) {
  const std::vector<std::string_view> views(known.begin(), known.end());
  const std::string meant = nearest(word, views);
  return fmt::format("{}known are {}",
                     meant.empty() ? "" : fmt::format("did you mean \"{}\"? ", meant),
                     fmt::join(known, ", "));
}

Result<std::string> read_name(const YamlMap& map, std::optional<std::string> otherwise) {
  PF_ASSIGN(const std::string name, map.text("name", std::move(otherwise)));
  const bool printable = std::ranges::all_of(name, [](char c) { return c >= 0x20 && c < 0x7F; });
  if (name.empty() || name.size() > kLongestName || !printable) {
    return map.error_at("name", fmt::format("name {} must be 1 to {} printable ASCII characters",
                                            quote_text(name), kLongestName));
  }
  return name;
}

Result<std::vector<LinkLevel>> read_links(const YamlMap& map) {
  PF_ASSIGN(const auto nodes, map.sequence("links"));
  if (nodes.empty() || nodes.size() > kMaxLinks) {
    return map.error_at("links", fmt::format("links lists {} levels; give 1 to {}, innermost first",
                                             nodes.size(), kMaxLinks));
  }
  std::vector<LinkLevel> out;
  for (const YAML::Node& node : nodes) {
    PF_ASSIGN(const YamlMap entry, YamlMap::of(node, map.file()));
    PF_ASSIGN(LinkLevel link, read_link(entry));
    if (!entry.has("domain") && out.size() + 1 < nodes.size()) {
      return entry.error_at(
          "name", fmt::format("link {} has no domain, which only the last one may leave out; add "
                              "how many devices it joins",
                              quote_text(link.name)));
    }
    if (!out.empty() && link.domain <= out.back().domain) {
      return entry.error_at(
          "domain",
          fmt::format("link {} joins {} devices and {} inside it {}; list links innermost "
                      "first, each with a larger domain",
                      quote_text(link.name), link.domain, quote_text(out.back().name),
                      out.back().domain));
    }
    out.push_back(std::move(link));
  }
  return out;
}

Result<CatalogGpu> read_gpu(const YamlMap& map, bool catalog) {
  constexpr std::array<std::string_view, 14> kKeys = {
      "name", "memory", "bandwidth",        "bf16",   "f32",     "fp8",           "int8",
      "fp4",  "power",  "dollars_per_hour", "source", "aliases", "gpus_per_node", "links"};
  PF_TRY(map.refuse_unknown(std::span(kKeys).first(catalog ? kKeys.size() : kKeys.size() - 3)));
  CatalogGpu out;
  GpuSpec& gpu = out.gpu;
  PF_ASSIGN(gpu.name, read_name(map, std::nullopt));
  PF_ASSIGN(gpu.memory_bytes, read(map, "memory", parse_bytes, kMemory, std::nullopt));
  PF_ASSIGN(gpu.memory_bytes_per_s,
            read(map, "bandwidth", parse_bytes_per_s, kBandwidth, std::nullopt));
  PF_TRY(read_peaks(map, gpu));
  PF_ASSIGN(gpu.power_w, read(map, "power", parse_watts, kPower, 0));
  PF_ASSIGN(gpu.dollars_per_hour, map.number("dollars_per_hour", 0, 0, kMaxDollars));
  PF_ASSIGN(gpu.source, map.text("source", ""));
  if (!catalog) return out;
  PF_ASSIGN(gpu.gpus_per_node, map.integer("gpus_per_node", 8, 1, kMaxGpusPerNode));
  PF_ASSIGN(gpu.links, read_links(map));
  if (!map.has("aliases")) return out;
  PF_ASSIGN(const auto aliases, map.sequence("aliases"));
  for (const YAML::Node& alias : aliases) {
    if (!alias.IsScalar() || out.aliases.size() == kMaxAliases) {
      return map.error_at("aliases", fmt::format("aliases must be up to {} words", kMaxAliases));
    }
    out.aliases.push_back(alias.Scalar());
  }
  return out;
}

Result<ClusterSpec> parse_cluster(const std::string& yaml_text, const std::string& file) {
  PF_ASSIGN(const YAML::Node root, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(root, file));
  constexpr std::array<std::string_view, 7> kKeys = {
      "name", "gpu", "gpus", "gpus_per_node", "links", "dollars_per_hour", "measured"};
  PF_TRY(map.refuse_unknown(kKeys));
  ClusterSpec out;
  PF_ASSIGN(out.name, read_name(map, std::filesystem::path(file).stem().string()));
  PF_TRY(read_cluster_gpu(map, out));
  PF_ASSIGN(out.gpus, map.integer("gpus", 0, 0, kEveryDevice));
  PF_ASSIGN(out.gpus_per_node,
            map.integer("gpus_per_node", out.gpu.gpus_per_node, 1, kMaxGpusPerNode));
  PF_TRY(read_cluster_links(map, out));
  if (!map.has("measured")) return out;
  PF_ASSIGN(const YamlMap measured, map.map("measured"));
  PF_ASSIGN(out.measured, read_machine(measured));
  return out;
}

Result<ClusterSpec> load_cluster(const std::string& name_or_path) {
  if (const auto file = catalog_file(name_or_path)) {
    return parse_cluster(std::string(file->text), std::string(file->path));
  }
  const bool path = name_or_path.ends_with(".yaml") || name_or_path.ends_with(".yml") ||
                    name_or_path.find('/') != std::string::npos;
  std::error_code ignored;
  if (!path && !std::filesystem::exists(name_or_path, ignored)) {
    return make_error(
        ErrorCode::InvalidSpec,
        fmt::format("unknown cluster {}; {}, or the path of a file", quote_text(name_or_path),
                    meant_or_known(name_or_path, catalog_names())));
  }
  PF_ASSIGN(const std::string text, read_text_file(name_or_path, kMaxYamlBytes));
  return parse_cluster(text, name_or_path);
}

std::vector<ClusterSpec> catalog_clusters() {
  std::vector<ClusterSpec> out;
  for (const std::string& name : catalog_names()) out.push_back(load_cluster(name).value());
  return out;
}

}  // namespace pentafold
