#include "spec/synthetic_weights.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {
namespace {

constexpr double kNormHalfWidth = 0.1;
constexpr double kBiasHalfWidth = 0.02;

// value = center + (u - 32767.5) * step for a 16-bit u: symmetric about the center, never at it.
struct Uniform {
  float center = 0.0F;
  float step = 0.0F;
  float value(std::uint64_t bits) const {
    return center +
           (static_cast<float>(static_cast<std::int32_t>(bits & 0xFFFFU)) - 32767.5F) * step;
  }
};

Uniform distribution(const TensorInfo& tensor) {
  double center = 0.0;
  double half_width = 0.0;
  switch (tensor.id.role) {
    case TensorRole::InputNorm:
    case TensorRole::PostNorm:
    case TensorRole::QNorm:
    case TensorRole::KNorm:
    case TensorRole::FinalNorm:
      center = 1.0;
      half_width = kNormHalfWidth;
      break;
    case TensorRole::QBias:
    case TensorRole::KBias:
    case TensorRole::VBias:
    case TensorRole::OBias:
    case TensorRole::GateBias:
    case TensorRole::UpBias:
    case TensorRole::DownBias:
      half_width = kBiasHalfWidth;
      break;
    default:
      half_width = std::sqrt(3.0 / static_cast<double>(tensor.cols));  // std of a uniform
  }
  return {static_cast<float>(center), static_cast<float>(half_width / 32768.0)};
}

std::uint64_t tensor_key(std::uint64_t seed, TensorId id) {
  const auto word = [](std::int32_t v) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(v));
  };
  std::uint64_t key = mix64(seed);
  key = mix64(key ^ static_cast<std::uint64_t>(id.role));
  return mix64(key ^ (word(id.layer) << 32 | word(id.expert)));
}

struct ToF32 {
  using Stored = float;
  static Stored round(float v) { return v; }
};
struct ToBf16 {
  using Stored = std::uint16_t;
  // f32_to_bf16 without its NaN branch, so that the loop vectorises: values here are finite.
  static Stored round(float v) {
    const auto bits = std::bit_cast<std::uint32_t>(v);
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
  }
};
struct ToF16 {
  using Stored = std::uint16_t;
  static Stored round(float v) { return f32_to_f16(v); }
};

// Elements [begin, begin + n) of the tensor.
template <class To>
void draw_run(std::uint64_t key, Uniform uniform, std::uint64_t begin, std::size_t n,
              std::byte* out) {
  using Stored = typename To::Stored;
  const auto put = [&](std::size_t at, Stored value) {
    std::memcpy(out + at * sizeof(Stored), &value, sizeof value);
  };
  const auto element = [&](std::uint64_t i) {
    return To::round(uniform.value(mix64(key + (i >> 2)) >> (16 * (i & 3U))));
  };
  std::size_t at = 0;
  for (; at < n && ((begin + at) & 3U) != 0; ++at) put(at, element(begin + at));
  for (; at + 4 <= n; at += 4) {
    const std::uint64_t bits = mix64(key + ((begin + at) >> 2));
    const std::array<Stored, 4> four = {
        To::round(uniform.value(bits)), To::round(uniform.value(bits >> 16)),
        To::round(uniform.value(bits >> 32)), To::round(uniform.value(bits >> 48))};
    std::memcpy(out + at * sizeof(Stored), four.data(), sizeof four);
  }
  for (; at < n; ++at) put(at, element(begin + at));
}

template <class To>
void draw_slice(std::uint64_t key, const TensorInfo& tensor, Range rows, Range cols,
                std::byte* out) {
  const Uniform uniform = distribution(tensor);
  const auto width = static_cast<std::size_t>(cols.size());
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const auto begin = static_cast<std::uint64_t>(row * tensor.cols + cols.begin);
    draw_run<To>(key, uniform, begin, width, out);
    out += width * sizeof(typename To::Stored);
  }
}

}  // namespace

void draw_weights(std::uint64_t seed, const TensorInfo& tensor, DType dtype, Range rows, Range cols,
                  std::span<std::byte> out) {
  CHECK(rows.begin >= 0 && rows.begin <= rows.end && rows.end <= tensor.rows,
        "rows outside the tensor");
  CHECK(cols.begin >= 0 && cols.begin <= cols.end && cols.end <= tensor.cols,
        "cols outside the tensor");
  CHECK(out.size() == static_cast<std::size_t>(rows.size() * cols.size()) * size_of(dtype),
        "out is not the size of the slice");
  const std::uint64_t key = tensor_key(seed, tensor.id);
  if (cols.begin == 0 && cols.end == tensor.cols) {  // whole rows are one run
    cols = {rows.begin * tensor.cols, rows.end * tensor.cols};
    rows = {0, 1};
  }
  switch (dtype) {
    case DType::F32:
      return draw_slice<ToF32>(key, tensor, rows, cols, out.data());
    case DType::BF16:
      return draw_slice<ToBf16>(key, tensor, rows, cols, out.data());
    case DType::F16:
      return draw_slice<ToF16>(key, tensor, rows, cols, out.data());
  }
}

}  // namespace pentafold
