#include "execute/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pentafold {
namespace {

void scale_llama3(const RopeSpec& rope, std::vector<double>& frequencies) {
  const auto original = static_cast<double>(rope.original_max_position);
  const double longest = original / rope.low_freq_factor;
  const double shortest = original / rope.high_freq_factor;
  for (double& f : frequencies) {
    const double wavelength = 2.0 * std::numbers::pi / f;
    if (wavelength < shortest) continue;
    if (wavelength > longest) {
      f /= rope.factor;
      continue;
    }
    const double smooth = (original / wavelength - rope.low_freq_factor) /
                          (rope.high_freq_factor - rope.low_freq_factor);
    f = (1.0 - smooth) * f / rope.factor + smooth * f;
  }
}

void scale_yarn(const RopeSpec& rope, std::int64_t head_dim, std::vector<double>& frequencies) {
  const auto dim = static_cast<double>(head_dim);
  // The pair whose wavelength turns `rotations` times within the original context.
  const auto pair_of = [&](double rotations) {
    const auto original = static_cast<double>(rope.original_max_position);
    return dim * std::log(original / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = pair_of(rope.beta_fast);
  double high = pair_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = frequencies[i];
    frequencies[i] = f / rope.factor * ramp + f * (1.0 - ramp);
  }
}

}  // namespace

std::vector<double> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim) {
  std::vector<double> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    frequencies[i] = 1.0 / std::pow(rope.theta, exponent);
  }
  switch (rope.scaling) {
    case RopeScaling::None:
      break;
    case RopeScaling::Linear:
      for (double& f : frequencies) f /= rope.factor;
      break;
    case RopeScaling::Llama3:
      scale_llama3(rope, frequencies);
      break;
    case RopeScaling::Yarn:
      scale_yarn(rope, head_dim, frequencies);
      break;
  }
  return frequencies;
}

std::vector<float> make_rope_table(const RopeSpec& rope, std::int64_t head_dim,
                                   std::int64_t positions) {
  const std::vector<double> frequencies = rope_frequencies(rope, head_dim);
  const double gain = rope.scaling == RopeScaling::Yarn ? rope.attention_factor : 1.0;
  const std::size_t half = frequencies.size();
  std::vector<float> table(static_cast<std::size_t>(positions) * 2 * half);
  for (std::int64_t p = 0; p < positions; ++p) {
    float* row = table.data() + static_cast<std::size_t>(p) * 2 * half;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle) * gain);
      row[half + i] = static_cast<float>(std::sin(angle) * gain);
    }
  }
  return table;
}

}  // namespace pentafold
