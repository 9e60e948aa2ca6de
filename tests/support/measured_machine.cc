#include "support/measured_machine.h"

namespace pentafold::testing {

MachineSpec round_machine() {
  constexpr double kNothing = 1e-18;
  MachineSpec machine;
  machine.device = "cpu";
  machine.cores = 2;
  machine.product_alone = {{1e6, 1e8}, {1, 64}, {{1e-9, 1e-9}, {2e-9, 2e-9}}};
  machine.product_shared = machine.product_alone;
  machine.product_start = {{1e6}, {kNothing}};
  machine.leaf = {{1}, {kNothing}};
  machine.cache_byte = {{1e6}, {kNothing}};
  machine.exchange_delay = {{2, 8}, {10e-6, 10e-6}};
  machine.exchange_wake = machine.exchange_delay;
  machine.exchange_work = {{2, 8}, {5e-6, 5e-6}};
  return machine;
}

}  // namespace pentafold::testing
