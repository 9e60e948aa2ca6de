// The reference device: every kernel as the plainest loop that follows the canonical order.
//
// It keeps weights row-major and calls std::fma element by element, so it can be checked by reading
// it beside kernels/device.h; every other device must give its bits.
// Cost: one scalar fma at a time, so 10 to 100 times slower than cpu. Held by
// kernels/{gemm,attention,elementwise}_test.cc (within derived bounds of double-precision oracles).
#pragma once

#include <memory>

#include "kernels/device.h"

namespace pentafold {

std::unique_ptr<Device> make_reference_device();

}  // namespace pentafold
