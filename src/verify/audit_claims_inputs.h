// The head of a claims file: model, hardware, workload, strategy, requirements.
// Held by verify/audit_claims_test.cc.
#pragma once

#include "base/result.h"
#include "spec/yaml_reader.h"
#include "verify/audit_claims.h"

namespace pentafold {

Status read_inputs(const YamlMap& map, AuditClaims& out);

}  // namespace pentafold
