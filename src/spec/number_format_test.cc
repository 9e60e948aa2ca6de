#include "spec/number_format.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace pentafold {
namespace {

TEST(NumberFormat, EveryNameReadsBackAndIsItsOwn) {
  std::set<std::string> names;
  for (const NumberFormat format : kNumberFormats) {
    const auto read = parse_number_format(to_string(format));
    ASSERT_TRUE(read.ok()) << to_string(format);
    EXPECT_EQ(*read, format);
    names.insert(to_string(format));
  }
  EXPECT_EQ(names.size(), kNumberFormats.size());
}

TEST(NumberFormat, AnUnknownNameIsRefusedWithTheNearest) {
  const auto near = parse_number_format("bf61");
  ASSERT_FALSE(near.ok());
  EXPECT_NE(near.error().message.find("did you mean \"bf16\"?"), std::string::npos);
  const auto far = parse_number_format("quaternion");
  ASSERT_FALSE(far.ok());
  EXPECT_NE(far.error().message.find("known are f32, bf16"), std::string::npos);
}

// A block's values and its scales, over the number of values.
TEST(NumberFormat, ScalesAreCounted) {
  EXPECT_EQ(bytes_per_value(NumberFormat::FP8) * 128 * 128, 128 * 128 + 4);
  EXPECT_EQ(bytes_per_value(NumberFormat::INT4) * 128, 64 + 2);
  EXPECT_EQ(bytes_per_value(NumberFormat::MXFP4) * 32, 16 + 1);
  EXPECT_EQ(bytes_per_value(NumberFormat::NVFP4) * 16, 8 + 1);
}

TEST(NumberFormat, TheEnginesTypesKeepTheirSize) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    EXPECT_EQ(bytes_per_value(number_format_of(dtype)), static_cast<double>(size_of(dtype)));
  }
}

}  // namespace
}  // namespace pentafold
