// NumberFormat: how weights, caches and messages are stored on a device, scales included.
//
// Wider than base/dtype.h, which lists what the engine itself computes with: a plan may be for any
// engine. bytes_per_value counts the scales a format cannot do without: one fp32 per 128 x 128
// block (fp8), one f16 per 128 values (int4), one byte per 32 (mxfp4, OCP MX v1.0) or 16 (nvfp4);
// int8's one per row and nvfp4's one per tensor are too few to count.
// Cost: a table. Held by spec/number_format_test.cc.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtype.h"
#include "base/kv_type.h"
#include "base/result.h"

namespace pentafold {

enum class NumberFormat { F32, BF16, F16, FP8, INT8, INT4, NVFP4, MXFP4 };

inline constexpr std::array<NumberFormat, 8> kNumberFormats = {
    NumberFormat::F32,  NumberFormat::BF16, NumberFormat::F16,   NumberFormat::FP8,
    NumberFormat::INT8, NumberFormat::INT4, NumberFormat::NVFP4, NumberFormat::MXFP4};

const char* to_string(NumberFormat format);  // "bf16", "mxfp4"
double bytes_per_value(NumberFormat format);
NumberFormat number_format_of(DType dtype);
// The engine's own; nothing where it has none.
std::optional<KvType> kv_type_of(NumberFormat format);
// The nearest known name is in the message.
Result<NumberFormat> parse_number_format(std::string_view text);

}  // namespace pentafold
