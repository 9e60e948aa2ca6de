#include "verify/audit_value.h"

#include <gtest/gtest.h>

namespace pentafold {
namespace {

StatedValue stated(const std::string& text) {
  const auto value = parse_stated(text);
  EXPECT_TRUE(value.ok()) << text << ": " << value.error().message;
  return value.ok() ? *value : StatedValue{};
}

TEST(AuditValue, UnitsScaleToBaseUnits) {
  EXPECT_DOUBLE_EQ(stated("64 GB").low, 64e9);
  EXPECT_DOUBLE_EQ(stated("64GiB").low, 64.0 * 1024 * 1024 * 1024);
  EXPECT_DOUBLE_EQ(stated("10 B").low, 10e9);
  EXPECT_DOUBLE_EQ(stated("10 B params").low, 10e9);
  EXPECT_DOUBLE_EQ(stated("13 %").low, 0.13);
  EXPECT_DOUBLE_EQ(stated("120 tokens/ms per GPU").low, 120e3);
  EXPECT_DOUBLE_EQ(stated("200 Gbps").low, 25e9);
  EXPECT_DOUBLE_EQ(stated("122,880 tokens/ms").low, 122880e3);
  EXPECT_DOUBLE_EQ(stated("15.36 PFlops").low, 15.36e15);
  EXPECT_EQ(stated("120 tokens/ms/GPU").dimension,
            (UnitDimension{.second = -1, .token = 1, .gpu = -1}));
  EXPECT_EQ(stated("8 GFLOP/token").dimension, (UnitDimension{.operation = 1, .token = -1}));
  EXPECT_EQ(stated("16 GPUs").dimension, UnitDimension{});
}

TEST(AuditValue, LimitsRangesAndApproximations) {
  EXPECT_EQ(stated("<= 10 s").comparison, Comparison::LessEqual);
  EXPECT_EQ(stated("450,000+ tokens/s").comparison, Comparison::GreaterEqual);
  EXPECT_TRUE(stated("~120 tokens/ms").approximate);
  EXPECT_DOUBLE_EQ(stated("85-95 %").low, 0.85);
  EXPECT_DOUBLE_EQ(stated("85..95 %").high, 0.95);
  EXPECT_TRUE(stated("4×").factor);
  EXPECT_EQ(in_unit_of(0.0512, stated("35 ms")), "51.2 ms");
  EXPECT_EQ(in_unit_of(0.27272727, stated("18 %")), "27.27%");
}

TEST(AuditValue, RefusesWhatIsNoValue) {
  for (const char* text :
       {"", "many", "GB", "12 parsecs", "9-3 %", "1..", "--4", "1 tokens/m", "nan s", "1e999"}) {
    EXPECT_FALSE(parse_stated(text).ok()) << text;
  }
  EXPECT_FALSE(parse_stated(std::string(1000, '1')).ok());
  EXPECT_NE(parse_stated("3 sedonds").error().message.find("\"seconds\""), std::string::npos);
}

TEST(AuditValue, RoundingIsAllowedForAndNoMore) {
  constexpr double kTolerance = 0.02;
  const auto same = [](const char* text, double right) {
    return agrees(stated(text), right, right, kTolerance);
  };
  EXPECT_TRUE(same("13 %", 0.1266));
  EXPECT_FALSE(same("13 %", 0.14));
  EXPECT_TRUE(same("0.02 %", 0.000225));
  EXPECT_FALSE(same("1", 0.5));
  EXPECT_TRUE(same("8.1 GB", 8.098e9));
  EXPECT_FALSE(same("32.0 GB", 31e9));
  EXPECT_TRUE(same("~30 GB", 31.4e9));
  // A gain may be rounded down, not up.
  EXPECT_FALSE(same("4x", 3.75));
  EXPECT_TRUE(same("3x", 3.17));
  EXPECT_TRUE(same("8x", 7.94));
  EXPECT_TRUE(same("> 4x", 4.15));
  EXPECT_FALSE(same("> 4x", 3.0));
  EXPECT_TRUE(same("< 0.2 %", 0.0011));
  // Counts are exact.
  EXPECT_FALSE(agrees(stated("8 GPUs"), 8.1, 8.1, 0));
  EXPECT_TRUE(agrees(stated("8 GPUs"), 8, 8, 0));
  EXPECT_TRUE(agrees(stated("8 GPUs"), 4, 9, 0));
}

TEST(AuditValue, LimitsAreKeptOrNot) {
  EXPECT_TRUE(satisfies(10, stated("<= 10 s")));
  EXPECT_FALSE(satisfies(10, stated("< 10 s")));
  EXPECT_TRUE(satisfies(0.91, stated("> 90 %")));
  EXPECT_FALSE(satisfies(0.88, stated("> 90 %")));
}

}  // namespace
}  // namespace pentafold
