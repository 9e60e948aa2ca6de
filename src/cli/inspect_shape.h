// inspect_shape: what is known of a model that the engine cannot run: a name of the catalog, a
// configuration of a wider family. Held by tests/e2e/plan_target_test.cc.
#pragma once

#include "cli/verbs.h"

namespace pentafold {

// Prints; returns the exit code.
int inspect_shape(const AnyModel& any, const InspectOptions& options);

}  // namespace pentafold
