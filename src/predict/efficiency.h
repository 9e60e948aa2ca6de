// efficiency: compact named efficiency surfaces, monotone in time by construction.
//
// Utilisation is kept, not time: what part of a device's peak a shape reaches. It is a sum of
// curves in log2 space, each piecewise linear over the log2 of one property of the shape and held
// at its ends. Time is
//   floor + ((flops / (peak x ec))^p + (bytes / (bandwidth x eb))^p)^(1/p) + stream x rest,
// where rest is traffic beside the main one (activations) at full bandwidth. The p-norm blends
// computing with reading, so it is never below the slower of the two, and no sum of curves rises
// above 0, so it is never below the roofline. A curve's slope is at most the power with which its
// side's work grows along the axis: time never falls with any argument. Utilisation depends on the
// shape only, so no better peak slows anything.
// Source: utilisation interpolated in log space after ai-dynamo/aiconfigurator and
// alibaba/InferSim; fitted by scripts/fit_operators.py. Cost: three to four exp2 and log2 a call,
// about 30 ns. Held by predict/efficiency_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace pentafold {

// log2 of an efficiency (or of seconds) over a log2 axis, at equally spaced knots.
class Curve {
 public:
  static constexpr std::size_t kMostKnots = 12;

  Curve() = default;  // 0 everywhere: an efficiency of 1
  // 1 to kMostKnots finite values, a finite first knot, step > 0.
  Curve(double first, double step, std::span<const double> values);

  double operator()(double x) const {
    const double at = (x - first_) * inverse_step_;
    if (!(at > 0)) return values_[0];
    if (at >= last_) return values_[static_cast<std::size_t>(last_)];
    const auto i = static_cast<std::size_t>(at);
    return values_[i] + (values_[i + 1] - values_[i]) * (at - static_cast<double>(i));
  }
  double least_slope() const;     // 0 for one knot
  double greatest_slope() const;  // 0 for one knot, and never below 0: the ends are flat
  double greatest() const;

 private:
  std::array<double, kMostKnots> values_{};
  double first_ = 0;
  double inverse_step_ = 1;
  double last_ = 0;  // index of the last knot
};

inline constexpr std::size_t kAxes = 3;
inline constexpr double kNothing = -std::numeric_limits<double>::infinity();  // log2(0)

// The largest part of an operator's time.
enum class Binding { Floor, Compute, Memory };

struct Surface {
  Curve floor;                       // log2 seconds, over the first axis
  std::array<Curve, kAxes> compute;  // log2 efficiency by axis
  std::array<Curve, kAxes> memory;   // log2 efficiency by axis; of a link for collectives
  double p = 1;                      // 1 or more
  double stream = 0;                 // passes over `rest`
  std::array<double, kAxes> from{};  // log2 of the measured range
  std::array<double, kAxes> to{};    //
  double log_error = 0;              // half-width of the central 80 % of held-out errors, in ln

  struct Load {
    std::array<double, kAxes> axes{};  // log2
    double work = kNothing;            // log2 of flops / peak, in seconds
    double traffic = kNothing;         // log2 of bytes / bandwidth, in seconds
    double rest = 0;                   // seconds
    double slower = 1;                 // scales the floor
  };
  struct Time {
    double seconds = 0;
    Binding binding = Binding::Floor;
  };
  Time time(const Load& load) const;
  bool covers(const std::array<double, kAxes>& axes) const;  // within the measured range
};

}  // namespace pentafold
