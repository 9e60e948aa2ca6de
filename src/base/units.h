// Numbers a person reads: bytes, counts, times. "12.9 GB", "3.41 B", "1.73 ms".
// Held by base/base_test.cc.
#pragma once

#include <cstdint>
#include <string>

namespace pentafold {

std::string format_bytes(double bytes);      // powers of 1000: B kB MB GB TB
std::string format_count(double count);      // 950, 16.3 M, 46.7 B
std::string format_seconds(double seconds);  // us, ms, s

}  // namespace pentafold
