#include "spec/csv_rows.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace pentafold {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(const std::string& text) {
  CsvRows rows(text, "t.csv");
  Rows out;
  std::vector<std::string> fields;
  while (true) {
    const auto more = rows.next(fields);
    EXPECT_TRUE(more.ok()) << more.error().to_string();
    if (!more.ok() || !*more) return out;
    out.push_back(fields);
  }
}

std::string refusal(const std::string& text) {
  CsvRows rows(text, "t.csv");
  std::vector<std::string> fields;
  while (true) {
    const auto more = rows.next(fields);
    if (!more.ok()) return more.error().to_string();
    if (!*more) return "";
  }
}

TEST(CsvRows, SplitsAndUnquotes) {
  EXPECT_EQ(rows_of("a,b\n1,2\n"), (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(rows_of("a,\"b,c\",\"say \"\"hi\"\"\",\r\n"), (Rows{{"a", "b,c", "say \"hi\"", ""}}));
  EXPECT_EQ(rows_of("\"two\nlines\",x\n\n\ny,z"), (Rows{{"two\nlines", "x"}, {"y", "z"}}));
  EXPECT_EQ(rows_of("a b\"c\n"), (Rows{{"a b\"c"}})) << "a quote inside a field stands for itself";
  EXPECT_EQ(rows_of(""), Rows{});
}

TEST(CsvRows, LinesAreWhereRowsBegin) {
  CsvRows rows("a\n\n\"b\nc\"\nd\n", "t.csv");
  std::vector<std::string> fields;
  for (const int line : {1, 3, 5}) {
    ASSERT_TRUE(*rows.next(fields));
    EXPECT_EQ(rows.line(), line);
  }
}

TEST(CsvRows, RefusalsNameTheLine) {
  EXPECT_NE(refusal("a\n\"b\n").find("t.csv:2"), std::string::npos);
  EXPECT_NE(refusal("a\n\"b\n").find("never closed"), std::string::npos);
  EXPECT_NE(refusal("\"a\"b,c\n").find("after its closing quote"), std::string::npos);
  EXPECT_NE(refusal(std::string(2000, ',')).find("more than 1024 fields"), std::string::npos);
  EXPECT_NE(refusal("a," + std::string((1 << 20) + 1, 'x')).find("field 2 is longer"),
            std::string::npos);
}

std::string written(const std::vector<std::string>& fields) {
  std::string out;
  for (const std::string& field : fields) {
    out += out.empty() ? "\"" : ",\"";
    for (const char c : field) out += c == '"' ? "\"\"" : std::string(1, c);
    out += '"';
  }
  return out + "\n";
}

TEST(CsvRows, WhatIsWrittenIsReadBack) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    Rows rows;
    std::string text;
    for (int r = 0; r < 5; ++r) {
      std::vector<std::string> fields(1 + random() % 6);
      for (std::string& field : fields) {
        for (std::size_t n = random() % 8; n > 0; --n) field += "a,\"\n 7"[random() % 6];
      }
      text += written(fields);
      rows.push_back(fields);
    }
    EXPECT_EQ(rows_of(text), rows);
  }
}

}  // namespace
}  // namespace pentafold
