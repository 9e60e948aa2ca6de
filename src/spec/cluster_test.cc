#include "spec/cluster.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pentafold {
namespace {

const std::string kLinks =
    "links: [{name: nvlink, domain: 8, bandwidth: 450GB/s, latency: 2us}, "
    "{name: infiniband, bandwidth: 400Gb/s, latency: 5us}]\n";
const std::string kOwn =
    "gpu: {name: x, memory: 64GB, bandwidth: 1.8TB/s, bf16: 400TFLOPS, fp8: 800TFLOPS, f32: "
    "20TFLOPS, int8: 700TOPS, fp4: 1.6PFLOPS, power: 700W, dollars_per_hour: 2.5}\n";

std::string refusal(const std::string& text) {
  const auto result = parse_cluster(text, "c.yaml");
  return result.ok() ? "" : result.error().to_string();
}

void expect_says(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "\"" << message << "\" lacks " << part;
  }
}

void expect_usable(const ClusterSpec& cluster) {
  EXPECT_FALSE(cluster.name.empty());
  EXPECT_GT(cluster.gpu.memory_bytes, 0);
  EXPECT_GT(cluster.gpu.memory_bytes_per_s, 0);
  for (const NumberFormat format : kNumberFormats) EXPECT_GT(cluster.gpu.flops(format), 0);
  EXPECT_GE(cluster.gpus_per_node, 1);
  ASSERT_FALSE(cluster.links.empty());
  for (std::size_t i = 0; i < cluster.links.size(); ++i) {
    EXPECT_GT(cluster.links[i].bytes_per_s, 0);
    EXPECT_GT(cluster.links[i].latency_s, 0);
    EXPECT_LE(cluster.links[i].latency_s, 1e-3);
    if (i > 0) {
      EXPECT_GT(cluster.links[i].domain, cluster.links[i - 1].domain);
    }
  }
}

TEST(GpuCatalog, HoldsTheDevicesPeopleHave) {
  const auto gpus = catalog_gpus();
  std::set<std::string> names;
  for (const GpuSpec& gpu : gpus) {
    names.insert(gpu.name);
    EXPECT_FALSE(gpu.source.empty()) << gpu.name;
    EXPECT_EQ(gpu.dollars_per_hour, 0) << gpu.name;  // no source states a price
    expect_usable(default_cluster(gpu, 0));
    EXPECT_EQ(gpu.links.back().domain, kEveryDevice) << gpu.name;
  }
  EXPECT_EQ(names.size(), gpus.size()) << "a name twice";
  for (const char* name : {"a100-sxm", "h100-sxm", "h200-sxm", "h800-sxm", "h20", "b200-sxm",
                           "b300-sxm", "gb200", "gb300", "mi300x", "mi325x", "mi355x", "l40s",
                           "rtx-pro-6000", "rtx-4090", "gh200", "ascend-910b", "ascend-910c"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

// Facts that datasheets tie together, whoever copied them: quantised peaks are multiples of bf16,
// and a sweep over the memory of a GPU takes 15 to 100 ms.
TEST(GpuCatalog, FiguresAreConsistent) {
  for (const GpuSpec& gpu : catalog_gpus()) {
    if (gpu.fp8_flops > 0) {
      EXPECT_NEAR(gpu.fp8_flops / gpu.bf16_flops, 2.0, 0.05) << gpu.name;
    }
    if (gpu.fp4_flops > 0) {
      EXPECT_GE(gpu.fp4_flops / gpu.bf16_flops, 3.9) << gpu.name;
    }
    const double sweep = gpu.memory_bytes / gpu.memory_bytes_per_s;
    EXPECT_GT(sweep, 0.015) << gpu.name;
    EXPECT_LT(sweep, gpu.name == "cpu-host" ? 2.0 : 0.1) << gpu.name;
    EXPECT_LE(gpu.links.front().bytes_per_s, gpu.memory_bytes_per_s) << gpu.name;
  }
}

TEST(FindGpu, ForgivesSpelling) {
  for (const char* name : {"h200-sxm", "H200", "h200", "H200 SXM 141GB", "NVIDIA H200", "h200_sxm",
                           " h200 ", "NVIDIA-H200 SXM (141GB)"}) {
    const auto gpu = find_gpu(name);
    ASSERT_TRUE(gpu.ok()) << gpu.error().to_string();
    EXPECT_EQ(gpu->name, "h200-sxm") << name;
  }
  EXPECT_EQ(find_gpu("AMD Instinct MI300X")->name, "mi300x");
  EXPECT_EQ(find_gpu("GeForce RTX 4090")->name, "rtx-4090");
  EXPECT_EQ(find_gpu("GB200 NVL72 (per GPU)")->name, "gb200");
  EXPECT_EQ(find_gpu("h20")->name, "h20") << "a name, though h200 begins like it";
}

TEST(FindGpu, ReadsTheNamesOfReports) {
  const std::pair<const char*, const char*> names[] = {
      {"B200 SXM 180GB", "b200-sxm"},
      {"B300 SXM 288GB", "b300-sxm"},
      {"GB300 NVL72 (288GB/GPU)", "gb300"},
      {"GB200 NVL72 (186GB/GPU)", "gb200"},
      {"MI355X 288GB", "mi355x"},
      {"A100-SXM4-80GB", "a100-sxm"},
      {"A100-SXM4-40GB", "a100-sxm-40gb"},
      {"H200 NVL 141GB", "h200-nvl"},
      {"H20 96GB", "h20"},
      {"H20 (141GB?)", "h20-141gb"},
      {"GH200 480GB (96GB HBM3)", "gh200-96gb"},
      {"RTX PRO 6000 Blackwell 96GB", "rtx-pro-6000"},
      {"RTX 5090 32GB", "rtx-5090"},
      {"Ascend 910C (dual die, 128GB)", "ascend-910c"},
  };
  for (const auto& [written, meant] : names) {
    const auto gpu = find_gpu(written);
    ASSERT_TRUE(gpu.ok()) << gpu.error().to_string();
    EXPECT_EQ(gpu->name, meant) << written;
  }
  // Another memory is another device.
  EXPECT_FALSE(find_gpu("H200 (96GB)").ok());
  EXPECT_FALSE(find_gpu("B200 96GB").ok());
  EXPECT_FALSE(find_gpu("80GB class (79.22 GiB)").ok());
}

TEST(FindGpu, ANameFindsItselfHoweverItIsWritten) {
  for (const GpuSpec& gpu : catalog_gpus()) {
    std::string shouted = gpu.name;
    std::ranges::transform(shouted, shouted.begin(), [](unsigned char c) {
      return c == '-' ? ' ' : static_cast<char>(std::toupper(c));
    });
    EXPECT_EQ(find_gpu(gpu.name)->name, gpu.name);
    EXPECT_EQ(find_gpu(shouted)->name, gpu.name);
  }
}

TEST(FindGpu, UnknownNamesTheNearestAndAll) {
  const auto result = find_gpu("h202");
  ASSERT_FALSE(result.ok());
  expect_says(result.error().to_string(), {"\"h202\"", "did you mean \"h20", "a100-sxm", "gh200"});
  for (const GpuSpec& gpu : catalog_gpus()) {
    EXPECT_NE(find_gpu("warp drive").error().message.find(gpu.name), std::string::npos);
  }
  // Another card than the one whose name begins alike.
  EXPECT_FALSE(find_gpu("h100-cnx").ok());
  EXPECT_FALSE(find_gpu("a1000").ok());
  EXPECT_FALSE(find_gpu("").ok());
  EXPECT_FALSE(find_gpu("nvidia").ok());
  EXPECT_FALSE(find_gpu(std::string(1'000'000, 'h')).ok());
}

TEST(FindGpu, AmbiguousListsTheCandidates) {
  const auto result = find_gpu("RTX");
  ASSERT_FALSE(result.ok());
  expect_says(result.error().to_string(), {"\"RTX\"", "rtx-pro-6000 or rtx-4090 or"});
}

TEST(Flops, TheFastestUnitThatTakesTheWeights) {
  GpuSpec gpu;
  gpu.bf16_flops = 100;
  EXPECT_EQ(gpu.flops(NumberFormat::F32), 50);
  for (const NumberFormat format : kNumberFormats) {
    if (format != NumberFormat::F32) {
      EXPECT_EQ(gpu.flops(format), 100);
    }
  }
  gpu.f32_flops = 7;
  gpu.fp8_flops = 200;
  gpu.int8_flops = 150;
  gpu.fp4_flops = 400;
  EXPECT_EQ(gpu.flops(NumberFormat::F32), 7);
  EXPECT_EQ(gpu.flops(NumberFormat::F16), 100);
  EXPECT_EQ(gpu.flops(NumberFormat::FP8), 200);
  EXPECT_EQ(gpu.flops(NumberFormat::INT8), 150);
  EXPECT_EQ(gpu.flops(NumberFormat::INT4), 100);
  EXPECT_EQ(gpu.flops(NumberFormat::NVFP4), 400);
  EXPECT_EQ(gpu.flops(NumberFormat::MXFP4), 400);
}

TEST(LevelOf, IsTheInnermostThatHoldsTheGroup) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    ClusterSpec cluster;
    std::int64_t domain = 0;
    const int levels = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < levels; ++i) {
      domain += 1 + static_cast<std::int64_t>(random() % 16);
      cluster.links.push_back({fmt::format("l{}", i), domain, 1, 1});
    }
    for (std::int64_t ranks = 1; ranks <= domain + 3; ++ranks) {
      const std::size_t level = cluster.level_of(ranks);
      ASSERT_LT(level, cluster.links.size());
      if (ranks <= domain) {
        EXPECT_GE(cluster.links[level].domain, ranks);
      }
      if (level > 0) {
        EXPECT_LT(cluster.links[level - 1].domain, ranks);
      }
    }
  }
}

TEST(DefaultCluster, IsTheUsualNode) {
  const ClusterSpec h100 = default_cluster(*find_gpu("h100"), 32);
  EXPECT_EQ(h100.gpus, 32);
  EXPECT_EQ(h100.gpus_per_node, 8);
  EXPECT_EQ(h100.level_of(8), 0U);
  EXPECT_EQ(h100.level_of(9), 1U);
  const ClusterSpec rack = default_cluster(*find_gpu("gb200"), 0);
  EXPECT_EQ(rack.gpus_per_node, 4);
  EXPECT_EQ(rack.level_of(72), 0U);
  EXPECT_EQ(rack.level_of(73), 1U);
}

TEST(ClusterCatalog, EveryShapeIsUsable) {
  const auto clusters = catalog_clusters();
  EXPECT_GE(clusters.size(), 10U);
  for (const ClusterSpec& cluster : clusters) {
    expect_usable(cluster);
    EXPECT_EQ(load_cluster(cluster.name)->gpu.name, cluster.gpu.name);
    EXPECT_FALSE(find_gpu(cluster.name).ok() && find_gpu(cluster.name)->name == cluster.name)
        << "a node shape and a GPU are both called " << cluster.name;
  }
}

// A shape that writes its links out says the same as the catalog of devices does.
TEST(ClusterCatalog, LinksWrittenOutAgreeWithTheDevice) {
  for (const ClusterSpec& cluster : catalog_clusters()) {
    if (cluster.gpu.links.empty()) continue;
    ASSERT_EQ(cluster.links.size(), cluster.gpu.links.size()) << cluster.name;
    for (std::size_t i = 0; i < cluster.links.size(); ++i) {
      EXPECT_EQ(cluster.links[i].name, cluster.gpu.links[i].name);
      EXPECT_EQ(cluster.links[i].domain, cluster.gpu.links[i].domain);
      EXPECT_DOUBLE_EQ(cluster.links[i].bytes_per_s, cluster.gpu.links[i].bytes_per_s);
      EXPECT_DOUBLE_EQ(cluster.links[i].latency_s, cluster.gpu.links[i].latency_s);
    }
  }
}

TEST(ClusterFile, EveryKeyOfADeviceOfOnesOwnArrives) {
  const auto c = parse_cluster(kOwn + kLinks + "gpus: 32\ngpus_per_node: 4\n", "dir/mine.yaml");
  ASSERT_TRUE(c.ok()) << c.error().to_string();
  expect_usable(*c);
  EXPECT_EQ(c->name, "mine");
  EXPECT_EQ(c->gpus, 32);
  EXPECT_EQ(c->gpus_per_node, 4);
  EXPECT_EQ(c->gpu.name, "x");
  EXPECT_DOUBLE_EQ(c->gpu.memory_bytes, 64e9);
  EXPECT_DOUBLE_EQ(c->gpu.memory_bytes_per_s, 1.8e12);
  EXPECT_DOUBLE_EQ(c->gpu.bf16_flops, 4e14);
  EXPECT_DOUBLE_EQ(c->gpu.fp8_flops, 8e14);
  EXPECT_DOUBLE_EQ(c->gpu.f32_flops, 2e13);
  EXPECT_DOUBLE_EQ(c->gpu.int8_flops, 7e14);
  EXPECT_DOUBLE_EQ(c->gpu.fp4_flops, 1.6e15);
  EXPECT_DOUBLE_EQ(c->gpu.power_w, 700);
  EXPECT_DOUBLE_EQ(c->gpu.dollars_per_hour, 2.5);
  EXPECT_EQ(c->links[0].name, "nvlink");
  EXPECT_EQ(c->links[0].domain, 8);
  EXPECT_DOUBLE_EQ(c->links[1].bytes_per_s, 50e9);
  EXPECT_DOUBLE_EQ(c->links[1].latency_s, 5e-6);
}

TEST(ClusterFile, ANamedDeviceBringsItsLinksAndTakesAPrice) {
  const auto c = parse_cluster("gpu: H200\ndollars_per_hour: 3.5\n", "c.yaml");
  ASSERT_TRUE(c.ok()) << c.error().to_string();
  EXPECT_EQ(c->gpu.name, "h200-sxm");
  EXPECT_EQ(c->links.size(), 2U);
  EXPECT_EQ(c->gpus, 0);
  EXPECT_DOUBLE_EQ(c->gpu.dollars_per_hour, 3.5);
}

TEST(ClusterFile, RefusalsNameLineAndRemedy) {
  expect_says(refusal("gpu: h202\n"), {"c.yaml:1", "did you mean"});
  expect_says(refusal("gpus: 3\n"), {"\"gpu\" is missing", "h200-sxm"});
  expect_says(refusal(kOwn), {"\"links\" is missing", "brings none"});
  expect_says(refusal("gpu: h200\ngpuss: 3\n"), {"c.yaml:2", "gpus"});
  expect_says(refusal("gpu: h200\ngpus: -3\n"), {"c.yaml:2", "gpus = -3"});
  expect_says(refusal("gpu: {name: x, memory: 64, bandwidth: 1TB/s, bf16: 1TFLOPS}\n"),
              {"c.yaml:1", "memory = \"64\" has no unit", "GiB"});
  expect_says(refusal("gpu: {name: x, memory: 0GB, bandwidth: 1TB/s, bf16: 1TFLOPS}\n"),
              {"outside 1MB"});
  expect_says(refusal("gpu: {name: x, memory: 1GB, bandwidth: 1TB/s}\n"), {"bf16", "missing"});
  expect_says(refusal("gpu: {name: x, aliases: [y], memory: 1GB}\n"), {"aliases"});
  expect_says(refusal("gpu: {name: \"a\\eb\", memory: 1GB}\n"), {"printable"});
  expect_says(refusal("gpu: h200\nlinks: []\n"), {"c.yaml:2", "0 levels"});
  expect_says(refusal("gpu: h200\nlinks: [{name: a, domain: 8, bandwidth: 1GB/s, latency: 1us}]\n"),
              {"c.yaml:2", "domain of 8", "as many devices as needed"});
  expect_says(
      refusal("gpu: h200\ngpus: 16\nlinks: [{name: a, domain: 8, bandwidth: 1GB/s, latency: "
              "1us}]\n"),
      {"c.yaml:3", "all 16 devices"});
  expect_says(
      refusal("gpu: h200\nlinks:\n  - {name: a, bandwidth: 1GB/s, latency: 1us}\n  - {name: "
              "b, bandwidth: 1GB/s, latency: 1us}\n"),
      {"c.yaml:3", "\"a\" has no domain"});
  expect_says(
      refusal("gpu: h200\nlinks:\n  - {name: a, domain: 8, bandwidth: 1GB/s, latency: 1us}\n"
              "  - {name: b, domain: 8, bandwidth: 1GB/s, latency: 1us}\n"),
      {"c.yaml:4", "innermost first"});
  expect_says(refusal("gpu: h200\nlinks: [{name: a, bandwidth: 1GB/s, latency: 5}]\n"),
              {"latency = \"5\" has no unit"});
}

TEST(ClusterFile, ADomainThatHoldsAllDevicesNeedsNoLevelAbove) {
  const auto c = parse_cluster(
      "gpu: h200\ngpus: 8\nlinks: [{name: a, domain: 8, bandwidth: 1GB/s, latency: 1us}]\n",
      "c.yaml");
  ASSERT_TRUE(c.ok()) << c.error().to_string();
  EXPECT_EQ(c->level_of(8), 0U);
}

TEST(LoadCluster, TakesANameOrAPath) {
  EXPECT_EQ(load_cluster("dgx-h200")->gpu.name, "h200-sxm");
  const auto path = std::filesystem::path(testing::TempDir()) / "own_cluster.yaml";
  std::ofstream(path) << "gpu: l40s\n";
  EXPECT_EQ(load_cluster(path.string())->gpu.name, "l40s");
  std::filesystem::remove(path);
  EXPECT_EQ(load_cluster(path.string()).error().code, ErrorCode::Io);
  const auto unknown = load_cluster("dgx-h300");
  ASSERT_FALSE(unknown.ok());
  expect_says(unknown.error().to_string(),
              {"\"dgx-h300\"", "did you mean \"dgx-h", "gb200-nvl72", "path of a file"});
}

}  // namespace
}  // namespace pentafold
