#include "cli/audit.h"

#include <fmt/format.h>

#include "cli/verbs.h"
#include "verify/audit.h"

namespace pentafold {

int audit_verb(const AuditOptions& options) {
  const auto file = load_claims(options.claims_file);
  if (!file.ok()) return report_error(file.error());
  const auto result = audit(*file);
  if (!result.ok()) return report_error(result.error());
  fmt::print("{}", options.json ? audit_json(*result, *file) : format_audit(*result, *file));
  return result->ok() ? 0 : 1;
}

}  // namespace pentafold
