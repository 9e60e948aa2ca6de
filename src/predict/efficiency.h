// efficiency: compact named efficiency surfaces, monotone in time by construction.
//
// Utilisation is kept, not time: what part of a device's peak a shape reaches. It is a sum of
// curves in log2 space, each piecewise linear over the log2 of one property of the shape and held
// at its ends. Time is floor + ((flops / (peak x ec))^p + (bytes / (bandwidth x eb))^p)^(1/p): the
// p-norm blends computing with reading, so it is never below the slower of the two, and no curve
// rises above 1, so it is never below the roofline. A curve's slope lies within [0, 1] (curves that
// share an argument: their sum does): work grows at least as fast as utilisation, and time never
// falls with any argument. Utilisation depends on the shape only, so no better peak slows anything.
// Source: interpolation of utilisation in log space after ai-dynamo/aiconfigurator and
// alibaba/InferSim; fitted by scripts/fit_operators.py. Cost: a log2 an argument, one log2 and two
// exp2 a call. Held by predict/efficiency_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <limits>

namespace pentafold {

// log2 of an efficiency over a log2 axis, at equally spaced knots.
class Curve {
 public:
  static constexpr std::size_t kMostKnots = 12;

  Curve() = default;  // 0 everywhere: an efficiency of 1
  // `count` values within [1, kMostKnots], step > 0.
  Curve(double first, double step, const double* values, std::size_t count);

  double operator()(double x) const {
    const double at = (x - first_) * inverse_step_;
    if (!(at > 0)) return values_[0];
    if (at >= last_) return values_[count_ - 1];
    const auto i = static_cast<std::size_t>(at);
    return values_[i] + (values_[i + 1] - values_[i]) * (at - static_cast<double>(i));
  }
  double least_slope() const;
  double greatest_slope() const;  // 0 for one knot
  double greatest() const;

 private:
  std::array<double, kMostKnots> values_{};
  std::size_t count_ = 1;
  double first_ = 0;
  double inverse_step_ = 1;
  double last_ = 0;  // index of the last knot
};

inline constexpr std::size_t kAxes = 3;
inline constexpr double kNothing = -std::numeric_limits<double>::infinity();  // log2(0)

// What an operator's time is made of, largest first where they are told apart.
enum class Binding { Floor, Compute, Memory };

struct Surface {
  Curve floor;                       // log2 seconds, over the first axis
  std::array<Curve, kAxes> compute;  // log2 efficiency by axis
  std::array<Curve, kAxes> memory;   // log2 efficiency by axis; of a link for collectives
  double p = 1;                      // within [1, 64]
  std::array<double, kAxes> from{};  // log2 of the measured range
  std::array<double, kAxes> to{};    //
  double log_error = 0;              // half-width of the central 80 % of held-out errors, in ln

  struct Time {
    double seconds = 0;
    Binding binding = Binding::Floor;
  };
  // `axes`, `work` and `traffic` are log2: of the arguments, of flops / peak and of
  // bytes / bandwidth. kNothing for work or traffic leaves it out. `slower` scales the floor.
  Time time(const std::array<double, kAxes>& axes, double work, double traffic,
            double slower = 1) const;
  bool covers(const std::array<double, kAxes>& axes) const;
};

}  // namespace pentafold
