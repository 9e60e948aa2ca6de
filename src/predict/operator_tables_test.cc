#include "predict/operator_tables.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <string>

#include "spec/cluster.h"

namespace pentafold {
namespace {

constexpr const char* kHead = "gpu h100-sxm\nlink_latency_us 2.5\n";

// A whole file with one surface; `more` is appended to it.
std::string gemm(const std::string& more) {
  return std::string("# measured\n") + kHead +
         "surface gemm-bf16 any\n  points 10\n  error 0.1\n  blend 2\n  stream 0.5\n"
         "  from 0 7 7\n  to 14 14 14\n  floor 0 1 -18\n" +
         more;
}

std::string refusal(const std::string& text) {
  const auto tables = parse_operator_tables(text, "x.txt");
  return tables.ok() ? "" : tables.error().to_string();
}

TEST(OperatorTables, ReadsWhatIsThere) {
  const auto tables =
      parse_operator_tables(gemm("  compute 0 0 2 -2 0\n\n  memory 1 7 1 -0.5"), "x.txt");
  ASSERT_TRUE(tables.ok()) << tables.error().to_string();
  EXPECT_EQ(tables->gpu, "h100-sxm");
  EXPECT_DOUBLE_EQ(tables->link_latency_s, 2.5e-6);
  const Surface* surface =
      tables->find(with_format(Op::Gemm, KernelFormat::Bf16), KernelSource::Any);
  ASSERT_NE(surface, nullptr);
  EXPECT_DOUBLE_EQ(surface->compute[0](1), -1);
  EXPECT_DOUBLE_EQ(surface->memory[1](9), -0.5);
  EXPECT_DOUBLE_EQ(surface->floor(0), -18);
  EXPECT_DOUBLE_EQ(surface->to[2], 14);
  EXPECT_DOUBLE_EQ(surface->stream, 0.5);
  EXPECT_EQ(tables->find(Op::Send, KernelSource::Any), nullptr);
  EXPECT_FALSE(tables->has_sources(with_format(Op::Gemm, KernelFormat::Bf16)));
}

TEST(OperatorTables, RefusesWhatWouldLetTimeFall) {
  EXPECT_EQ(refusal(gemm("  compute 0 0 1 -2 0\n")),
            "x.txt:12: a slope of 2.000 is above 1: time would fall along axis 0");
  // Rows add nothing to the weights read: reading may not get better with them at all.
  EXPECT_NE(refusal(gemm("  memory 0 0 2 -2 0\n")).find("slope"), std::string::npos);
  EXPECT_NE(refusal(gemm("  floor 0 1 -16 -17\n")).find("never fall"), std::string::npos);
}

TEST(OperatorTables, RefusesWhatBeatsTheRoofline) {
  EXPECT_NE(refusal(gemm("  compute 0 0 2 -1 0.5\n")).find("above 1"), std::string::npos);
}

TEST(OperatorTables, RefusesMalformedInput) {
  const std::string many = "  compute 0 0 2 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
  for (const std::string& text :
       {std::string(), std::string(kHead), std::string(kHead) + "surface gemm-bf17 any\n",
        std::string(kHead) + "surface gemm-bf16 nobody\n",
        std::string(kHead) + "surface gemm-bf16 any\n", std::string(kHead) + "points 3\n",
        gemm("  compute 3 0 2 0\n"), gemm("  compute 0 0 0 0\n"), gemm("  compute 0 0 2\n"),
        gemm("  compute 0 0 2 nan\n"), gemm("  compute 0 0 2 1e9\n"), gemm(many),
        gemm("  compute 0 0 2 0\n  compute 0 0 2 0\n"), gemm("  blend 0.5\n"), gemm("  error\n"),
        gemm("  colour 3\n"), gemm("surface gemm-bf16 any\n")}) {
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
