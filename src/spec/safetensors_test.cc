#include "spec/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace pentafold {
namespace {

std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, 'd');
}

Result<std::vector<SafetensorsEntry>> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file.data(), file.size())), "w.safetensors");
}

std::string refusal(const std::string& file) {
  const auto result = parse(file);
  if (result.ok()) return "";
  EXPECT_EQ(result.error().code, ErrorCode::InvalidSpec);
  EXPECT_EQ(result.error().file, "w.safetensors");
  return result.error().message;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(Safetensors, ReadsTheIndexInTheOrderOfTheData) {
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + tensor("b", "F32", "[3]", "[8,20]") + "," +
      tensor("a", "BF16", "[2,2]", "[0,8]") + "," + tensor("s", "I64", "[]", "[20,28]") + "," +
      tensor("odd", "F4", "[3]", "[28,30]") + "}";
  const auto entries = parse(file_of(header, 30)).value();
  ASSERT_EQ(entries.size(), 4U);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].begin, 8 + header.size());
  EXPECT_EQ(entries[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(entries[1].name, "b");
  EXPECT_EQ(entries[1].end, 8 + header.size() + 20);
  EXPECT_EQ(entries[2].dtype, "I64");
  EXPECT_EQ(entries[3].dtype, "F4");
  EXPECT_TRUE(parse(file_of("{}", 0)).value().empty());
}

TEST(Safetensors, EveryPrefixOfAFileIsRefused) {
  const std::string file = file_of("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", 8);
  ASSERT_EQ(refusal(file), "");
  for (std::size_t n = 0; n < file.size(); ++n) EXPECT_NE(refusal(file.substr(0, n)), "") << n;
}

TEST(Safetensors, MalformedFilesGetASentence) {
  const auto with = [](const std::string& body) { return refusal(file_of("{" + body + "}", 100)); };
  EXPECT_EQ(refusal(""), "is empty; download it again");
  EXPECT_NE(refusal("abc").find("too short"), std::string::npos);
  std::string huge(16, '\0');
  huge[7] = 0x10;  // 2^60
  EXPECT_NE(refusal(huge).find("declares a header of 1152921504606846976 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(std::string(8, '\xff')).find("above the limit"), std::string::npos);
  EXPECT_NE(refusal(file_of("{\"a\":}", 8)).find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal(file_of("[1]", 8)).find("not a JSON object"), std::string::npos);
  EXPECT_EQ(with(tensor("a", "F32", "[2]", "[0,8]") + "," + tensor("b", "F32", "[2]", "[4,12]")),
            "tensors \"a\" and \"b\" overlap; the file is damaged: download it again");
  EXPECT_NE(with(tensor("a", "F32", "[2]", "[8,0]")).find("reverse order"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[50]", "[0,200]")).find("the file holds 100 bytes"),
            std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[3]", "[0,8]")).find("type F32 need 12"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[4294967296,4294967296]", "[0,8]")).find("overflows"),
            std::string::npos);
  EXPECT_EQ(with(tensor("a", "F32", "[2]", "[0,8]") + "," + tensor("a", "F32", "[2]", "[8,16]")),
            "names tensor \"a\" twice; write the checkpoint again");
}

TEST(Safetensors, FieldsOfTheWrongKindAreRefused) {
  const auto with = [](const std::string& body) { return refusal(file_of("{" + body + "}", 100)); };
  EXPECT_NE(with(tensor("a", "F32", "[-2]", "[0,8]")).find("negative"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[2.5]", "[0,8]")).find("not whole"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[[2]]", "[0,8]")).find("a list where none"),
            std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "2", "[0,8]")).find("a number where none"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[2]", "[0]")).find("no two data_offsets"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[2]", "[0,8,9]")).find("more than two"), std::string::npos);
  EXPECT_NE(with(tensor("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]")).find("8 dimensions"),
            std::string::npos);
  EXPECT_NE(with("\"a\":{\"dtype\":\"F32\"}").find("does not have"), std::string::npos);
  EXPECT_NE(with("\"a\":{\"dtipe\":\"F32\"}").find("unknown key \"dtipe\""), std::string::npos);
  EXPECT_NE(with("\"a\":{\"dtype\":{}}").find("nested too deep"), std::string::npos);
  EXPECT_NE(with("\"a\":5").find("a number where none"), std::string::npos);
  EXPECT_NE(with("\"a\":\"x\"").find("text where none"), std::string::npos);
  EXPECT_NE(with("\"__metadata__\":{\"k\":{}}").find("__metadata__ is nested"), std::string::npos);
  EXPECT_NE(with("\"__metadata__\":{\"k\":[]}").find("__metadata__ holds a list"),
            std::string::npos);
}

}  // namespace
}  // namespace pentafold
