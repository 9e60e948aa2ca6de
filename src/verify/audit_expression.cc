#include "verify/audit_expression.h"

#include <fmt/format.h>
#include <muParser.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestExpression = 400;
constexpr int kDeepest = 32;
constexpr std::array<std::string_view, 9> kFunctions = {"min", "max",   "sum",  "avg", "sqrt",
                                                        "abs", "floor", "ceil", "log2"};

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool continues_name(char c) {
  return starts_name(c) || (c >= '0' && c <= '9');
}

Status check_text(const std::string& text) {
  if (text.size() > kLongestExpression) {
    return refused(fmt::format("the expression {} is longer than {} characters; split the claim",
                               quote_text(text), kLongestExpression));
  }
  int depth = 0;
  for (const char c : text) {
    const bool known =
        continues_name(c) || std::string_view("+-*/^()., ").find(c) != std::string_view::npos;
    if (!known) {
      return refused(
          fmt::format("the expression {} holds a character that arithmetic does not; "
                      "use numbers, names, + - * / ^ ( ) and min, max, sqrt, ...",
                      quote_text(text)));
    }
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (depth > kDeepest) {
      return refused(
          fmt::format("the expression {} is nested more than {} deep", quote_text(text), kDeepest));
    }
  }
  return ok_status();
}

double floor_of(double x) {
  return std::floor(x);
}
double ceil_of(double x) {
  return std::ceil(x);
}

}  // namespace

std::vector<std::string> names_in(const std::string& expression) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < expression.size();) {
    if (!continues_name(expression[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    // A number takes its exponent with it: "1e9" is not the name "e9".
    while (end < expression.size() && continues_name(expression[end])) ++end;
    const std::string word = expression.substr(i, end - i);
    const bool fresh = std::ranges::find(out, word) == out.end();
    const bool function = std::ranges::find(kFunctions, word) != kFunctions.end();
    if (starts_name(word.front()) && fresh && !function) out.push_back(word);
    i = end;
  }
  return out;
}

Result<Evaluation> evaluate(const std::string& expression, const NameLookup& lookup) {
  PF_TRY(check_text(expression));
  Evaluation out;
  for (const std::string& name : names_in(expression)) {
    PF_ASSIGN(const double value, lookup(name));
    out.names.emplace_back(name, value);
  }
  try {
    mu::Parser parser;
    parser.DefineFun("floor", floor_of);
    parser.DefineFun("ceil", ceil_of);
    for (const auto& [name, value] : out.names) parser.DefineConst(name, value);
    parser.SetExpr(expression);
    out.value = parser.Eval();
  } catch (const mu::Parser::exception_type& e) {
    return refused(fmt::format("{} is not arithmetic ({})", quote_text(expression), e.GetMsg()));
  }
  if (!std::isfinite(out.value)) {
    return refused(fmt::format("{} has no finite value", quote_text(expression)));
  }
  return out;
}

}  // namespace pentafold
