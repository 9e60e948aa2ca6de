#include "spec/number_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"

namespace pentafold {

const char* to_string(NumberFormat format) {
  switch (format) {
    case NumberFormat::F32:
      return "f32";
    case NumberFormat::BF16:
      return "bf16";
    case NumberFormat::F16:
      return "f16";
    case NumberFormat::FP8:
      return "fp8";
    case NumberFormat::INT8:
      return "int8";
    case NumberFormat::INT4:
      return "int4";
    case NumberFormat::NVFP4:
      return "nvfp4";
    case NumberFormat::MXFP4:
      return "mxfp4";
  }
  return "?";
}

double bytes_per_value(NumberFormat format) {
  switch (format) {
    case NumberFormat::F32:
      return 4.0;
    case NumberFormat::BF16:
    case NumberFormat::F16:
      return 2.0;
    case NumberFormat::FP8:
      return 1.0 + 4.0 / (128.0 * 128.0);
    case NumberFormat::INT8:
      return 1.0;
    case NumberFormat::INT4:
      return 0.5 + 2.0 / 128.0;
    case NumberFormat::NVFP4:
      return 0.5 + 1.0 / 16.0;
    case NumberFormat::MXFP4:
      return 0.5 + 1.0 / 32.0;
  }
  return 0.0;
}

NumberFormat number_format_of(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return NumberFormat::F32;
    case DType::BF16:
      return NumberFormat::BF16;
    case DType::F16:
      return NumberFormat::F16;
  }
  return NumberFormat::F32;
}

std::optional<KvType> kv_type_of(NumberFormat format) {
  switch (format) {
    case NumberFormat::F32:
      return KvType::F32;
    case NumberFormat::BF16:
      return KvType::BF16;
    case NumberFormat::F16:
      return KvType::F16;
    case NumberFormat::INT8:
      return KvType::I8;
    default:
      return std::nullopt;
  }
}

Result<NumberFormat> parse_number_format(std::string_view text) {
  std::vector<std::string_view> names;
  for (const NumberFormat format : kNumberFormats) {
    if (text == to_string(format)) return format;
    names.emplace_back(to_string(format));
  }
  const std::string meant = nearest(text, names);
  return make_error(ErrorCode::InvalidSpec,
                    meant.empty() ? fmt::format("{} is not a number format; known are {}",
                                                quote_text(text), fmt::join(names, ", "))
                                  : fmt::format("{} is not a number format; did you mean \"{}\"?",
                                                quote_text(text), meant));
}

}  // namespace pentafold
