#include "predict/operator_tables.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <string>

#include "spec/cluster.h"

namespace pentafold {
namespace {

std::string table(const std::string& surface) {
  return "gpu: h100-sxm\nlink_latency: 2.5us\nsurfaces:\n" + surface;
}

std::string gemm(const std::string& compute, const std::string& memory) {
  return table(
      "  - {op: gemm-bf16, kernels: any, points: 10, log_error: 0.1, p: 2, stream: 0.5,\n"
      "     from: [0, 7, 7], to: [14, 14, 14],\n"
      "     floor: {axis: 0, from: 0, step: 1, log2: [-18]},\n"
      "     compute: [" +
      compute + "],\n     memory: [" + memory + "]}\n");
}

std::string refusal(const std::string& text) {
  const auto tables = parse_operator_tables(text, "x.yaml");
  return tables.ok() ? "" : tables.error().to_string();
}

constexpr const char* kGood = "{axis: 0, from: 0, step: 2, log2: [-2, 0]}";
constexpr const char* kFlat = "{axis: 1, from: 7, step: 1, log2: [-0.5]}";

TEST(OperatorTables, ReadsWhatIsThere) {
  const auto tables = parse_operator_tables(gemm(kGood, kFlat), "x.yaml");
  ASSERT_TRUE(tables.ok()) << tables.error().to_string();
  EXPECT_EQ(tables->gpu, "h100-sxm");
  EXPECT_DOUBLE_EQ(tables->link_latency_s, 2.5e-6);
  const Surface* surface =
      tables->find(with_format(Op::Gemm, KernelFormat::Bf16), KernelSource::Any);
  ASSERT_NE(surface, nullptr);
  EXPECT_DOUBLE_EQ(surface->compute[0](1), -1);
  EXPECT_DOUBLE_EQ(surface->memory[1](9), -0.5);
  EXPECT_EQ(tables->find(Op::Send, KernelSource::Any), nullptr);
}

TEST(OperatorTables, RefusesWhatWouldLetTimeFall) {
  EXPECT_NE(refusal(gemm("{axis: 0, from: 0, step: 1, log2: [-2, 0]}", kFlat)).find("x.yaml:"),
            std::string::npos);
  EXPECT_NE(refusal(gemm("{axis: 0, from: 0, step: 1, log2: [-2, 0]}", kFlat)).find("slope"),
            std::string::npos);
  // Rows add nothing to the weights read: reading may not get better with them at all.
  EXPECT_NE(refusal(gemm(kGood, kGood)).find("slope"), std::string::npos);
}

TEST(OperatorTables, RefusesWhatBeatsTheRoofline) {
  EXPECT_NE(refusal(gemm("{axis: 0, from: 0, step: 2, log2: [-1, 0.5]}", kFlat)).find("above 1"),
            std::string::npos);
}

TEST(OperatorTables, RefusesMalformedInput) {
  for (const std::string& text :
       {std::string("gpu: h100-sxm\n"), table("  - {op: gemm-bf17}\n"), table("  - 3\n"),
        gemm("{axis: 3, from: 0, step: 2, log2: [0]}", kFlat),
        gemm("{axis: 0, from: 0, step: 0, log2: [0]}", kFlat),
        gemm("{axis: 0, from: 0, step: 2, log2: []}", kFlat),
        gemm("{axis: 0, from: 0, step: 2, log2: [nan]}", kFlat),
        gemm("{axis: 0, from: 0, step: 9, log2: [0,0,0,0,0,0,0,0,0,0,0,0,0]}", kFlat),
        gemm(std::string(kGood) + ", " + kGood, kFlat), gemm("3", kFlat)}) {
    EXPECT_FALSE(refusal(text).empty()) << text;
  }
}

TEST(OperatorTables, NamesEveryOperatorOnce) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < kOps; ++i) names.insert(op_name(static_cast<Op>(i)));
  EXPECT_EQ(names.size(), kOps);
  EXPECT_EQ(op_name(Op::CombineLowLatency), "combine-low-latency");
  EXPECT_EQ(op_name(with_format(Op::Experts, KernelFormat::Nvfp4)), "experts-nvfp4");
}

TEST(OperatorTables, CatalogIsOfKnownDevicesAndHasHopperWhole) {
  ASSERT_FALSE(catalog_operator_tables().empty());
  for (const OperatorTables& tables : catalog_operator_tables()) {
    const auto gpu = find_gpu(tables.gpu);
    ASSERT_TRUE(gpu.ok()) << tables.gpu;
    EXPECT_EQ(gpu->name, tables.gpu);
    EXPECT_FALSE(tables.surfaces.empty());
    if (tables.gpu != "h100-sxm" && tables.gpu != "h200-sxm") continue;
    for (std::size_t i = index_of(Op::Prefill); i < kOps; ++i) {
      const Op op = static_cast<Op>(i);
      EXPECT_NE(tables.find(op, KernelSource::Any), nullptr) << tables.gpu << " " << op_name(op);
    }
  }
}

}  // namespace
}  // namespace pentafold
