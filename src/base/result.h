// Result<T> and Status: expected failures as values that say whose fault they are.
//
// An Error carries a code (who must act), one sentence (what, why, remedy) and, where there is an
// offending input, its file and line. Rooms return Result<T> across their borders; exceptions of
// libraries are caught where they arise. PF_TRY / PF_ASSIGN pass an error up.
// Source: the idea of leveldb's Status and C++23's std::expected. Cost: a variant.
// Held by base/base_test.cc.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace pentafold {

enum class ErrorCode {
  InvalidSpec,     // the input is malformed or contradicts itself: the author must edit it
  InfeasiblePlan,  // the plan cannot be built or run on this model: choose other degrees
  OutOfMemory,     // it does not fit
  Timeout,         // a wait passed its deadline
  PeerLost,        // another rank is gone
  Unsupported,     // well formed, but not something this program does
  Io,              // the operating system refused
};

const char* to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::InvalidSpec;
  std::string message;  // one sentence: what, why, what would fix it
  std::string file;     // the offending input; empty where there is none
  int line = 0;         // 1-based; 0 when the place is the whole file

  // "plan.yaml:12: tp = 3 does not divide 8 heads; use 1, 2, 4 or 8"
  std::string to_string() const;
};

inline Error make_error(ErrorCode code, std::string message, std::string file = {}, int line = 0) {
  return Error{code, std::move(message), std::move(file), line};
}

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  // NOLINTNEXTLINE(google-explicit-constructor): a value is a Result
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): so is an Error
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    check_ok();
    return std::get<0>(state_);
  }
  const T& value() const& {
    check_ok();
    return std::get<0>(state_);
  }
  T&& value() && {
    check_ok();
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  void check_ok() const {
    if (!ok()) check_failed(__FILE__, __LINE__, "result.ok()", std::get<1>(state_).to_string());
  }
  std::variant<T, Error> state_;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): an Error is a Status
  Status(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

inline Status ok_status() {
  return {};
}

}  // namespace pentafold

#define PF_CONCAT_INNER(a, b) a##b
#define PF_CONCAT(a, b) PF_CONCAT_INNER(a, b)

// Returns the error of `expression` (a Status or Result) from the enclosing function.
#define PF_TRY(expression)                                                        \
  do {                                                                            \
    if (auto pf_status = (expression); !pf_status.ok()) return pf_status.error(); \
  } while (false)

// PF_ASSIGN(auto plan, read_plan(path)): the value, or a return with the error.
#define PF_ASSIGN(declaration, expression) \
  PF_ASSIGN_INNER(PF_CONCAT(pf_result_, __LINE__), declaration, expression)
#define PF_ASSIGN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                            \
  if (!temporary.ok()) return temporary.error();            \
  declaration = std::move(temporary).value()
