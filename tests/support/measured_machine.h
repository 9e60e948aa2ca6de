// A machine of round numbers, for tests of what is priced with one.
#pragma once

#include "spec/machine.h"

namespace pentafold::testing {

// Two cores; a product takes 1 ns for each row and weight when near, 2 ns from afar; exchanges cost
// 10 us and 5 us a member; nothing else costs anything.
MachineSpec round_machine();

}  // namespace pentafold::testing
