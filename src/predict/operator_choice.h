// operator_choice: whose measurements an operator on a device takes.
//
// In order: the operator itself from the nearest device that has it, a near format or plainer
// variant of it likewise (before a device that is far away), a plain roofline. Near is by doublings
// of what the operator leans on: peak and memory bandwidth, or a link's bandwidth and latency. Own
// tables are always nearest. Source: none: a design. Cost: O(tables) an operator, once per
// Operators. Held by predict/operators_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "predict/operator_tables.h"
#include "spec/cluster.h"

namespace pentafold {

enum class Provenance : std::uint8_t {
  Measured,      // this device, these kernels, within the measured range
  Interpolated,  // this device, but other kernels or the nearest format
  Extrapolated,  // this device, outside the measured range, where utilisation is held
  Transferred,   // another device's utilisation on this device's peaks
  Analytic,      // a roofline with assumed utilisation
};
const char* to_string(Provenance provenance);

// Independent errors together.
double combined_error(double a, double b);

// What kernels of another engine, or shapes outside the measured range, may be off by, in ln.
inline constexpr double kForeignError = 0.2;

struct OperatorChoice {
  Surface surface;
  Provenance provenance = Provenance::Analytic;
  double link_latency_s = 0;  // of the link measured on; 0: no collective, or nobody's
  std::string gpu;            // whose measurements; empty: nobody's
};

// A table with the device it was measured on.
struct MeasuredDevice {
  const OperatorTables* tables = nullptr;
  GpuSpec gpu;
};
std::vector<MeasuredDevice> measured_devices(std::span<const OperatorTables> tables);

// `gpu` with the links it is used with.
OperatorChoice choose_operator(Op op, KernelSource kernels, const GpuSpec& gpu,
                               std::span<const MeasuredDevice> devices);

}  // namespace pentafold
