#include "spec/cluster.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/nearest.h"
#include "base/quote.h"
#include "spec/cluster_parts.h"
#include "spec/embedded.h"

namespace pentafold {
namespace {

constexpr std::string_view kGpuFile = "specs/gpus.yaml";

Result<std::vector<CatalogGpu>> read_catalog(std::string_view text) {
  PF_ASSIGN(const YAML::Node root, load_yaml(std::string(text), std::string(kGpuFile)));
  PF_ASSIGN(const YamlMap map, YamlMap::of(root, std::string(kGpuFile)));
  PF_TRY(map.refuse_unknown(std::array<std::string_view, 1>{"gpus"}));
  PF_ASSIGN(const auto entries, map.sequence("gpus"));
  std::vector<CatalogGpu> out;
  for (const YAML::Node& entry : entries) {
    PF_ASSIGN(const YamlMap gpu, YamlMap::of(entry, std::string(kGpuFile)));
    PF_ASSIGN(out.emplace_back(), read_gpu(gpu, true));
  }
  return out;
}

// Read once; a catalog that cannot be read is a bug of this program.
const std::vector<CatalogGpu>& catalog() {
  static const std::vector<CatalogGpu> kCatalog = [] {
    const auto files = embedded_files();
    const auto file = std::ranges::find(files, kGpuFile, &EmbeddedFile::path);
    CHECK(file != files.end());
    return read_catalog(file->text).value();
  }();
  return kCatalog;
}

// "NVIDIA H200-SXM (141 GB)" -> "h200sxm141gb".
std::string spelled(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) out += static_cast<char>(std::tolower(byte));
  }
  constexpr std::array<std::string_view, 7> kMakers = {"nvidia", "geforce",  "tesla", "amd",
                                                       "radeon", "instinct", "huawei"};
  for (const std::string_view maker : kMakers) {
    if (out.starts_with(maker)) out.erase(0, maker.size());
  }
  return out;
}

std::vector<std::string> spellings(const CatalogGpu& entry) {
  std::vector<std::string> out = {spelled(entry.gpu.name)};
  for (const std::string& alias : entry.aliases) out.push_back(spelled(alias));
  return out;
}

Error unknown_gpu(const std::string& name, const std::string& spelling) {
  std::vector<std::string> words;
  std::vector<std::string> owners;
  std::vector<std::string> names;
  for (const CatalogGpu& entry : catalog()) {
    names.push_back(entry.gpu.name);
    for (std::string& word : spellings(entry)) {
      words.push_back(std::move(word));
      owners.push_back(entry.gpu.name);
    }
  }
  const std::vector<std::string_view> views(words.begin(), words.end());
  const std::string meant = nearest(spelling, views);
  const auto place = static_cast<std::size_t>(std::ranges::find(words, meant) - words.begin());
  return make_error(
      ErrorCode::InvalidSpec,
      fmt::format("unknown GPU {}; {}known are {}, and any that a cluster file describes",
                  quote_text(name),
                  meant.empty() ? "" : fmt::format("did you mean \"{}\"? ", owners[place]),
                  fmt::join(names, ", ")));
}

const GpuSpec* spelled_exactly(const std::string& wanted) {
  for (const CatalogGpu& entry : catalog()) {
    const auto words = spellings(entry);
    if (std::ranges::find(words, wanted) != words.end()) return &entry.gpu;
  }
  return nullptr;
}

// Sizes of memory in a name differ by what the driver takes for itself ("288GB" of 268).
constexpr double kMemoryTolerance = 0.08;

// Whether every "<n>gb" of a spelling is the device's memory.
bool memory_agrees(std::string_view spelling, const GpuSpec& gpu) {
  for (std::size_t at = spelling.find("gb"); at != std::string_view::npos;
       at = spelling.find("gb", at + 1)) {
    std::size_t begin = at;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(spelling[begin - 1])) != 0) --begin;
    if (begin == at || at - begin > 4) continue;
    const double stated = 1e9 * std::stod(std::string(spelling.substr(begin, at - begin)));
    if (std::abs(stated - gpu.memory_bytes) > kMemoryTolerance * gpu.memory_bytes) return false;
  }
  return true;
}

// "GB300 NVL72 (288GB/GPU)", "H20 96GB": what a report adds to the name is left out, unless it is
// another memory than the device has.
const GpuSpec* find_reported(const std::string& name) {
  const std::string bare = spelled(std::string_view(name).substr(0, name.find('(')));
  std::string shorter = bare;
  if (shorter.ends_with("gb")) {
    shorter.resize(shorter.size() - 2);
    while (!shorter.empty() && std::isdigit(static_cast<unsigned char>(shorter.back())) != 0) {
      shorter.pop_back();
    }
  }
  const GpuSpec* exact = spelled_exactly(bare);
  if (exact != nullptr) {
    const std::string rest = spelled(name).substr(std::min(bare.size(), spelled(name).size()));
    return memory_agrees(rest, *exact) ? exact : nullptr;
  }
  const GpuSpec* found = spelled_exactly(shorter);
  return found != nullptr && memory_agrees(spelled(name), *found) ? found : nullptr;
}

}  // namespace

double GpuSpec::flops(NumberFormat weights) const {
  const auto or_bf16 = [this](double peak) { return peak > 0 ? peak : bf16_flops; };
  switch (weights) {
    case NumberFormat::F32:
      return f32_flops > 0 ? f32_flops : bf16_flops / 2;
    case NumberFormat::BF16:
    case NumberFormat::F16:
    case NumberFormat::INT4:  // weights only: widened, multiplied as bf16
      return bf16_flops;
    case NumberFormat::FP8:
      return or_bf16(fp8_flops);
    case NumberFormat::INT8:
      return or_bf16(int8_flops);
    case NumberFormat::NVFP4:
    case NumberFormat::MXFP4:
      return or_bf16(fp4_flops);
  }
  return bf16_flops;
}

std::size_t ClusterSpec::level_of(std::int64_t ranks) const {
  std::size_t level = 0;
  while (level + 1 < links.size() && links[level].domain < ranks) ++level;
  return level;
}

Result<GpuSpec> find_gpu(const std::string& name) {
  const std::string wanted = spelled(std::string_view(name).substr(0, 256));
  std::vector<const CatalogGpu*> begun;
  for (const CatalogGpu& entry : catalog()) {
    bool begins = false;
    for (const std::string& word : spellings(entry)) {
      if (word == wanted) return entry.gpu;
      begins = begins || word.starts_with(wanted);
    }
    if (begins) begun.push_back(&entry);
  }
  if (const GpuSpec* reported = find_reported(name.substr(0, 256))) return *reported;
  if (wanted.empty() || begun.empty()) return unknown_gpu(name, wanted);
  if (begun.size() == 1) return begun.front()->gpu;
  std::vector<std::string> candidates;
  for (const CatalogGpu* entry : begun) candidates.push_back(entry->gpu.name);
  return make_error(ErrorCode::InvalidSpec,
                    fmt::format("GPU {} may be {}; write one of them", quote_text(name),
                                fmt::join(candidates, " or ")));
}

std::vector<GpuSpec> catalog_gpus() {
  std::vector<GpuSpec> out;
  for (const CatalogGpu& entry : catalog()) out.push_back(entry.gpu);
  return out;
}

ClusterSpec default_cluster(const GpuSpec& gpu, std::int64_t gpus) {
  CHECK(!gpu.links.empty());
  return {gpu.name, gpu, gpus, gpu.gpus_per_node, gpu.links, std::nullopt};
}

}  // namespace pentafold
