// pentafold audit CLAIMS.yaml: does a strategy document say what follows from its own inputs?
//
// Exit codes: 0 all claims hold, 1 some do not, 2 the file cannot be read.
// Held by verify/audit_test.cc.
#pragma once

#include <string>

namespace pentafold {

struct AuditOptions {
  std::string claims_file;
  bool json = false;
};

int audit_verb(const AuditOptions& options);

}  // namespace pentafold
