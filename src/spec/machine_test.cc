#include "spec/machine.h"

#include <gtest/gtest.h>

#include "spec/cluster.h"
#include "support/measured_machine.h"

namespace pentafold {
namespace {

using testing::round_machine;

constexpr const char* kHead =
    "gpu: {name: core, memory: 8GB, bandwidth: 10GB/s, bf16: 100GFLOPS}\n"
    "links: [{name: memory, bandwidth: 10GB/s, latency: 5us}]\n"
    "measured:\n";

TEST(MachineSpec, CurvesAreInterpolatedOnALogScaleAndHeldAtTheEdges) {
  const MeasuredCurve curve{{1, 100}, {1, 4}};
  EXPECT_DOUBLE_EQ(curve.at(0.5), 1);
  EXPECT_DOUBLE_EQ(curve.at(1000), 4);
  EXPECT_NEAR(curve.at(10), 2, 1e-12);
  EXPECT_DOUBLE_EQ((MeasuredCurve{{3}, {7}}.at(5)), 7);
}

TEST(MachineSpec, ProductsAreInterpolatedInBothDirections) {
  const ProductTable table{{1, 100}, {1, 100}, {{1, 4}, {16, 64}}};
  EXPECT_DOUBLE_EQ(table.at(1, 1), 1);
  EXPECT_DOUBLE_EQ(table.at(100, 1e9), 64);
  EXPECT_NEAR(table.at(10, 1), 2, 1e-12);
  EXPECT_NEAR(table.at(10, 10), 8, 1e-12);
}

TEST(MachineSpec, IsReadAsItWasWritten) {
  MachineSpec machine = round_machine();
  machine.step = {1e-5, 2e-6};
  machine.message = {5e-6, 3e-11};
  machine.host = {{"norm", {1e-7, 4e-10}}, {"route", {0, 2e-9}}};
  const auto read = parse_cluster(kHead + write_machine(machine), "here.yaml");
  ASSERT_TRUE(read.ok()) << read.error().to_string();
  ASSERT_TRUE(read->measured);
  EXPECT_EQ(write_machine(*read->measured), write_machine(machine));
  EXPECT_EQ(read->measured->product_shared.seconds, machine.product_shared.seconds);
  EXPECT_DOUBLE_EQ(read->measured->host.at("norm").unit_s, 4e-10);
}

// What the fuzzer starts from is read, so that it starts inside the section.
TEST(MachineSpec, TheFuzzersSeedIsAMeasuredMachine) {
  const auto read =
      load_cluster(PENTAFOLD_SOURCE_DIR "/tests/fuzz/seeds/cluster_fuzz/measured.yaml");
  ASSERT_TRUE(read.ok()) << read.error().to_string();
  EXPECT_TRUE(read->measured);
}

TEST(MachineSpec, AClusterNeedNotBeMeasured) {
  const auto read = parse_cluster(std::string(kHead).substr(0, std::string(kHead).find("measured")),
                                  "there.yaml");
  ASSERT_TRUE(read.ok()) << read.error().to_string();
  EXPECT_FALSE(read->measured);
}

// Writes `from` as `to` in a good file; what is said about it.
std::string complaint(const std::string& from, const std::string& to) {
  std::string text = kHead + write_machine(round_machine());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const auto read = parse_cluster(text, "here.yaml");
  return read.ok() ? "" : read.error().to_string();
}

TEST(MachineSpec, WhatIsWrongIsSaidWithItsLine) {
  const auto says = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos && text.find("here.yaml:") != std::string::npos;
  };
  EXPECT_TRUE(says(complaint("cores: 2", "cores: 0"), "cores"));
  EXPECT_TRUE(says(complaint("cores: 2\n", "\n"), "cores"));
  EXPECT_TRUE(says(complaint("cores: 2", "corse: 2"), "did you mean"));
  EXPECT_TRUE(says(complaint("leaf: {at: [1]", "leaf: {at: [1, 2]"), "each place has one"));
  EXPECT_TRUE(says(complaint("leaf: {at: [1]", "leaf: {at: [-1]"), "numbers from"));
  EXPECT_TRUE(says(complaint("leaf: {at: [1]", "leaf: {at: [.nan]"), "numbers from"));
  EXPECT_TRUE(says(complaint("leaf: {at: [1]", "leaf: {at: []"), "1 to"));
  EXPECT_TRUE(says(complaint("exchange_work: {at: [2, 8]", "exchange_work: {at: [8, 2]"), "grow"));
  EXPECT_TRUE(says(complaint("rows: [1, 64]", "rows: [1, 2, 64]"), "4 times for 2 working sets"));
  EXPECT_TRUE(says(complaint("step: [0, 0]", "step: [0, 0, 0]"), "two numbers"));
  EXPECT_TRUE(says(complaint("step: [0, 0]", "step: 3"), "step"));
  EXPECT_TRUE(says(complaint("leaf: {", "laef: {"), "did you mean"));
}

}  // namespace
}  // namespace pentafold
