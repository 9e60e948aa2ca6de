// CHECK: the line between a bug and an expected failure.
//
// Expected failures (bad input, a lost peer) are values: base/result.h. A CHECK states what the
// program itself guarantees; it stays on in release builds and ends the process with the place.
// Cost: one predictable branch. Held by base/base_test.cc.
#pragma once

#include <string_view>

namespace pentafold {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

}  // namespace pentafold

#define CHECK(condition, ...)                                                    \
  do {                                                                           \
    if (!(condition)) [[unlikely]]                                               \
      ::pentafold::check_failed(__FILE__, __LINE__, #condition, "" __VA_ARGS__); \
  } while (false)
