// quantity: a number with its unit, as people write it: "20ms", "64GiB", "450GB/s", "989TFLOPS".
//
// A bare number where a unit belongs is refused, and so is a negative one, nan or infinity: the
// sentence names what was read, what it said and which units there are. GB are powers of 1000, GiB
// of 1024; a small b is bits ("200Gb/s" is 25 GB/s).
// Cost: a table of a dozen units, searched linearly. Held by spec/quantity_test.cc and
// tests/fuzz/cluster_fuzz.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pentafold {

// `what` is what the number is for ("ttft"); the caller adds file and line. 0 is let through.
Result<double> parse_seconds(const std::string& text, const std::string& what);
Result<double> parse_bytes(const std::string& text, const std::string& what);
Result<double> parse_bytes_per_s(const std::string& text, const std::string& what);
Result<double> parse_flops(const std::string& text, const std::string& what);  // and TOPS
Result<double> parse_watts(const std::string& text, const std::string& what);
Result<double> parse_rate(const std::string& text, const std::string& what);  // "12/s" -> per s

// The whole of `text` as a finite number; "nan", "1x" and "" are none.
std::optional<double> to_number(std::string_view text);
// "64GB" -> bytes; nullopt when it is no size with a unit. For callers with a sentence of their
// own.
std::optional<double> to_bytes(std::string_view text);

}  // namespace pentafold
