// Claims from strangers: an audit or a sentence, never a crash; every claim gets a verdict.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "verify/audit.h"
#include "verify/audit_launch.h"

namespace {

using namespace pentafold;

void check_refused(const Error& error) {
  CHECK(!error.message.empty());
  CHECK(error.line >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto line = parse_launch(text); line.ok()) CHECK(line->world >= 0);
  const auto file = parse_claims(text, "fuzz.yaml");
  if (!file.ok()) {
    check_refused(file.error());
    return 0;
  }
  const auto result = audit(*file);
  if (!result.ok()) {
    check_refused(result.error());
    return 0;
  }
  CHECK(result->claims.size() == file->claims.size());
  for (const JudgedClaim& claim : result->claims) CHECK(!claim.derivation.empty());
  CHECK(!format_audit(*result, *file).empty());
  CHECK(!audit_json(*result, *file).empty());
  return 0;
}
