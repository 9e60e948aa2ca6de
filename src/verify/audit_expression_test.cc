#include "verify/audit_expression.h"

#include <gtest/gtest.h>

#include <random>

namespace pentafold {
namespace {

Result<double> lookup(const std::string& name) {
  if (name == "pp") return 4.0;
  if (name == "m") return 8.0;
  return make_error(ErrorCode::InvalidSpec, "no " + name);
}

TEST(AuditExpression, Arithmetic) {
  EXPECT_DOUBLE_EQ(evaluate("(pp - 1) / (m + pp - 1)", lookup)->value, 3.0 / 11);
  EXPECT_DOUBLE_EQ(evaluate("1.25 + 2.5 + 24 * min(1, 2)", lookup)->value, 27.75);
  EXPECT_DOUBLE_EQ(evaluate("ceil(2.1) + floor(2.9) + 2^3 + 1e3", lookup)->value, 1013);
  EXPECT_EQ(names_in("pp * m + pp - sqrt(2) + 1e9"), (std::vector<std::string>{"pp", "m"}));
  EXPECT_EQ(evaluate("pp + m", lookup)->names.size(), 2U);
}

TEST(AuditExpression, RefusesWhatIsNot) {
  for (const std::string text : {"", "pp +", "1 / 0", "pp = 3", "unknown", "a;b", "\"x\"", "pp pp",
                                 "2 ** 3", "sin", "((", "1e999", "0/0"}) {
    EXPECT_FALSE(evaluate(text, lookup).ok()) << text;
  }
  EXPECT_FALSE(evaluate(std::string(5000, '1'), lookup).ok());
  EXPECT_FALSE(evaluate(std::string(100, '(') + "1" + std::string(100, ')'), lookup).ok());
}

// Sums and products of random numbers, against plain arithmetic.
TEST(AuditExpression, AgreesWithPlainArithmetic) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    const int a = static_cast<int>(random() % 1000);
    const int b = static_cast<int>(random() % 1000) + 1;
    const int c = static_cast<int>(random() % 1000);
    const std::string text =
        std::to_string(a) + " / " + std::to_string(b) + " - " + std::to_string(c) + " * pp";
    EXPECT_DOUBLE_EQ(evaluate(text, lookup)->value, static_cast<double>(a) / b - c * 4.0) << text;
  }
}

}  // namespace
}  // namespace pentafold
