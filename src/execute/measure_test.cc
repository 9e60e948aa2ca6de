#include "execute/measure.h"

#include <gtest/gtest.h>

#include "execute/probe.h"

namespace pentafold {
namespace {

TEST(Measure, FillsEveryTableWithTimesAboveNothing) {
  const MeasureOptions options{"cpu", true, 2};
  auto machine = measure_kernels(options);
  ASSERT_TRUE(machine.ok()) << machine.error().to_string();
  ASSERT_TRUE(measure_transport(options, *machine).ok());
  EXPECT_EQ(machine->cores, 2);
  for (const ProductTable* table : {&machine->product_alone, &machine->product_shared}) {
    ASSERT_EQ(table->seconds.size(), table->working_sets.size());
    for (const auto& row : table->seconds) {
      ASSERT_EQ(row.size(), table->rows.size());
      for (const double seconds : row) EXPECT_GT(seconds, 0);
    }
  }
  for (const MeasuredCurve* curve :
       {&machine->product_start, &machine->leaf, &machine->cache_byte, &machine->exchange_delay,
        &machine->exchange_wake, &machine->exchange_work}) {
    ASSERT_FALSE(curve->x.empty());
    ASSERT_EQ(curve->x.size(), curve->y.size());
    for (const double seconds : curve->y) EXPECT_GT(seconds, 0);
  }
  EXPECT_GT(machine->attend_one.call_s + machine->attend_one.unit_s, 0);
  EXPECT_GT(machine->message.call_s, 0);
}

TEST(Measure, AnUnknownDeviceIsRefused) {
  const auto machine = measure_kernels({"abacus", true, 1});
  ASSERT_FALSE(machine.ok());
  EXPECT_NE(machine.error().message.find("abacus"), std::string::npos);
}

TEST(Probe, TakesTurnsAndKeepsTheLowerQuartile) {
  std::vector<int> order;
  double a = 0;
  double b = 0;
  const std::vector<double> seen = {9, 1, 5, 3, 7};
  std::size_t round = 0;
  take_turns({{[&] {
                 order.push_back(0);
                 return seen[round];
               },
               &a},
              {[&] {
                 order.push_back(1);
                 return seen[round++];
               },
               &b}},
             5);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_DOUBLE_EQ(a, 3);
  EXPECT_DOUBLE_EQ(b, 3);
}

TEST(Probe, ThreadsRunTogetherAndTheMeanCounts) {
  EXPECT_DOUBLE_EQ(on_threads(4, [](std::int64_t t) { return static_cast<double>(t); }), 1.5);
}

}  // namespace
}  // namespace pentafold
