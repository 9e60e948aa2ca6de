// StatedValue: a number as a document states it, with its unit and how exactly it was meant.
//
// "~120 tokens/ms per GPU" is 120000 tokens/s/GPU, approximate, rounded to units of 1000. Units are
// scaled to bytes, seconds, operations and tokens; other words (GPUs, experts, layers) count things
// and only say so. A billion is "B", a byte is "byte" or "bytes", with a prefix "kB" to "TiB".
// Cost: a scan of the text. Held by verify/audit_value_test.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pentafold {

// Exponents of what a unit is made of; a count is all zeros.
struct UnitDimension {
  int byte = 0;
  int second = 0;
  int operation = 0;
  int token = 0;
  int gpu = 0;  // -1: for each GPU
  friend bool operator==(const UnitDimension&, const UnitDimension&) = default;
};

enum class Comparison { Equal, Less, LessEqual, Greater, GreaterEqual };

struct StatedValue {
  std::string text;  // as written
  double low = 0;    // in base units; the value itself unless it is a range
  double high = 0;
  double half_digit = 0;  // half a unit of the last digit written, in base units
  Comparison comparison = Comparison::Equal;
  bool approximate = false;  // "~"
  bool factor = false;       // "4x": a gain of so many times
  bool percent = false;
  double scale = 1;  // base units in one of the written unit
  std::string unit;  // as written
  UnitDimension dimension;

  bool is_range() const { return low != high; }
};

// At most 120 characters. Unknown units are refused with the nearest known one.
Result<StatedValue> parse_stated(std::string_view text);

// A result in the unit of `like`: "51.2 ms".
std::string in_unit_of(double value, const StatedValue& like);

// May the document have written `stated` where `low` to `high` is right? Rounding to the digits
// written is allowed, and so is `tolerance`; a gain ("4x") may not be rounded up beyond it. An
// exact value (a count of devices) has tolerance 0 and only rounding of an approximate one.
bool agrees(const StatedValue& stated, double low, double high, double tolerance);

// Does `value` keep the limit? Limits are written "<= 10 s".
bool satisfies(double value, const StatedValue& limit);

}  // namespace pentafold
