#include "spec/quantity.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace pentafold {
namespace {

std::string refusal(const Result<double>& result) {
  return result.ok() ? "" : result.error().message;
}

TEST(Quantity, UnitsScale) {
  EXPECT_DOUBLE_EQ(*parse_seconds("20ms", "tpot"), 0.02);
  EXPECT_DOUBLE_EQ(*parse_seconds("1.5 s", "ttft"), 1.5);
  EXPECT_DOUBLE_EQ(*parse_seconds("2.5us", "latency"), 2.5e-6);
  EXPECT_DOUBLE_EQ(*parse_seconds("7\xC2\xB5s", "latency"), 7e-6);
  EXPECT_DOUBLE_EQ(*parse_bytes("64GB", "memory"), 64e9);
  EXPECT_DOUBLE_EQ(*parse_bytes("64GiB", "memory"), 64.0 * (1 << 30));
  EXPECT_DOUBLE_EQ(*parse_bytes_per_s("1.8TB/s", "bandwidth"), 1.8e12);
  EXPECT_DOUBLE_EQ(*parse_bytes_per_s("1.8TBps", "bandwidth"), 1.8e12);
  EXPECT_DOUBLE_EQ(*parse_flops("1e3TFLOPS", "bf16"), 1e15);
  EXPECT_DOUBLE_EQ(*parse_watts("1.2kW", "power"), 1200);
  EXPECT_DOUBLE_EQ(*parse_rate("90/min", "rate"), 1.5);
}

TEST(Quantity, ASmallBIsBits) {
  for (const char* prefix : {"M", "G", "T"}) {
    const double bits = *parse_bytes_per_s(fmt::format("8{}b/s", prefix), "bandwidth");
    EXPECT_DOUBLE_EQ(bits, *parse_bytes_per_s(fmt::format("1{}B/s", prefix), "bandwidth"));
    EXPECT_DOUBLE_EQ(bits, *parse_bytes_per_s(fmt::format("8{}bps", prefix), "bandwidth"));
  }
}

TEST(Quantity, SaysWhatIsWrongAndWhatWouldDo) {
  const std::string bare = refusal(parse_seconds("20", "tpot"));
  EXPECT_EQ(bare,
            "tpot = \"20\" has no unit; write a time such as 20ms (units: ns, us, ms, s, min)");
  EXPECT_NE(refusal(parse_seconds("-1s", "ttft")).find("is negative"), std::string::npos);
  EXPECT_NE(refusal(parse_seconds("-0s", "ttft")).find("is negative"), std::string::npos);
  EXPECT_NE(refusal(parse_bytes("64Gb", "memory")).find("did you mean \"GB\"?"), std::string::npos);
  EXPECT_NE(refusal(parse_bytes_per_s("450GB", "bandwidth")).find("unit \"GB\""),
            std::string::npos);
}

TEST(Quantity, IsRefusedUnlessItIsAFiniteNumberWithAUnit) {
  for (const char* text : {"", " ", "s", "nan", "nans", "nan s", "inf", "infs", "1e999s", "1e31s",
                           "0x10s", "1,5s", "1s s", "1 2s", "--1s", "+1s", "1s\n", "."}) {
    EXPECT_FALSE(parse_seconds(text, "ttft").ok()) << text;
    EXPECT_FALSE(to_bytes(text).has_value()) << text;
  }
}

TEST(Quantity, HostileTextIsQuotedSafely) {
  const std::string message = refusal(parse_seconds("1\x1b[2J" + std::string(5000, 'x'), "ttft"));
  EXPECT_LT(message.size(), 400U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Quantity, NumbersAlone) {
  EXPECT_DOUBLE_EQ(to_number("1.5").value_or(0), 1.5);
  EXPECT_DOUBLE_EQ(to_number("-2e3").value_or(0), -2000);
  for (const char* text : {"", "1x", "nan", "inf", "1e999", "0.5.5", "1 GB"}) {
    EXPECT_FALSE(to_number(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace pentafold
