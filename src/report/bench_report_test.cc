#include "report/bench_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pentafold {
namespace {

BenchReport sample() {
  BenchReport report;
  report.model = "m: 1 M parameters";
  report.rounds = 3;
  report.limits = {{2, 4e9, 1e9}};
  BenchRow row;
  row.plan = "tp2";
  row.ranks = 2;
  row.threads_per_rank = 1;
  row.job = {StepKind::Decode, 8, 128, 16};
  row.seconds = 0.5;
  row.samples = {0.4, 0.5, 0.6};
  row.tokens = 8;
  row.flop = 1e9;
  row.bytes = 2e8;
  row.limits = report.limits.front();
  row.operators["gemm"] = {10, 1.0, 3e9, 0};
  row.operators["norm"] = {10, 3.0, 0, 0};
  report.rows.push_back(row);
  return report;
}

TEST(BenchReport, PartsOfTheLimitsFollowFromTimes) {
  const BenchRow row = sample().rows.front();
  EXPECT_DOUBLE_EQ(row.tokens_per_s(), 16);
  EXPECT_DOUBLE_EQ(row.of_flops(), 0.5);
  EXPECT_DOUBLE_EQ(row.of_memory(), 0.4);
}

TEST(BenchReport, TheTableSaysWhatTheRowsHold) {
  const std::string table = format_bench(sample(), false);
  for (const char* part : {"2 threads: 4.0 GFLOP/s", "decode 8 @ 128", "2 x 1", "16.0", "500.00",
                           "50.0 %", "40.0 %"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << " in\n" << table;
  }
  EXPECT_EQ(table.find("norm"), std::string::npos);
}

TEST(BenchReport, TheProfileIsSortedByTimeAndSharesAreOfTheWhole) {
  const std::string table = format_bench(sample(), true);
  const std::size_t norm = table.find("norm");
  const std::size_t gemm = table.find("gemm");
  ASSERT_NE(norm, std::string::npos);
  ASSERT_NE(gemm, std::string::npos);
  EXPECT_LT(norm, gemm);
  EXPECT_NE(table.find("75.0 %", norm), std::string::npos);
  EXPECT_NE(table.find("25.0 %", gemm), std::string::npos);
  EXPECT_NE(table.find("3.0", gemm), std::string::npos);  // GFLOP/s
}

TEST(BenchReport, JsonHoldsRowsAndLimits) {
  const auto json = nlohmann::json::parse(bench_json(sample()));
  EXPECT_EQ(json["rounds"], 3);
  EXPECT_EQ(json["limits"][0]["flops"], 4e9);
  const auto& row = json["rows"][0];
  EXPECT_EQ(row["kind"], "decode");
  EXPECT_EQ(row["size"], 8);
  EXPECT_EQ(row["tokens_per_s"], 16.0);
  EXPECT_EQ(row["of_fma_peak"], 0.5);
  EXPECT_EQ(row["of_memory_bandwidth"], 0.4);
  EXPECT_EQ(row["operators"]["norm"]["share"], 0.75);
}

}  // namespace
}  // namespace pentafold
