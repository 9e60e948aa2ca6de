// AuditClaims: what a strategy document says, as data: its own inputs, and every claim it makes.
//
// The format is docs/claims-format.md. Inputs are kept by name (layers, gpu_flops, tp, ...), which
// is how claims' expressions speak of them; what the document leaves open and the author of the
// file assumed is kept as a range, so that no claim is called wrong for an assumption.
// Cost: a plain value. Held by verify/audit_claims_test.cc and tests/fuzz/claims_fuzz.cc.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "verify/audit_value.h"

namespace pentafold {

inline constexpr std::array<std::string_view, 18> kClaimKinds = {
    "input",       "setting", "gpus",     "degrees",       "memory",   "params",
    "throughput",  "latency", "hardware", "utilisation",   "balance",  "ratio",
    "requirement", "launch",  "count",    "communication", "training", "statement"};

struct Claim {
  std::string id;
  std::string text;   // as the document says it, short
  std::string place;  // heading, line
  std::string kind;   // one of kClaimKinds
  std::string of;     // what of that kind: "weights_per_gpu"; may be empty
  std::optional<StatedValue> value;
  std::vector<std::string> derive;           // the document's arithmetic; two for a range
  std::map<std::string, std::string> given;  // names that this claim's formula needs
  std::string quantity;                      // claims of one quantity must agree
  std::string phase;                         // "prefill", "decode" or nothing
  std::string requirement;                   // a name of AuditClaims::requirements, or "all"
  std::string subject;                       // id of the claim whose value is held against it
  std::string verdict;                       // as stated: "pass", "fail" or "near"
  std::string launch;                        // a command line
  std::string note;                          // for the reader
  std::optional<double> tolerance;           // relative; nothing: by kind
  int line = 0;
};

struct AssumedRange {
  std::string name;
  double low = 0;
  double high = 0;
};

struct AuditClaims {
  std::string file;
  std::string document;
  bool training = false;                 // the document plans a training run
  std::map<std::string, double> inputs;  // by name, in base units
  std::vector<AssumedRange> assumed;     // at most four
  std::map<std::string, StatedValue> requirements;
  std::vector<Claim> claims;

  const Claim* find(const std::string& id) const;
};

// At most 1 MB and 2000 claims. `file` names it in errors, and a model file is sought beside it.
Result<AuditClaims> parse_claims(const std::string& yaml_text, const std::string& file);
Result<AuditClaims> load_claims(const std::string& path);

// The names that inputs may have, and what they mean.
struct InputName {
  std::string_view name;
  std::string_view section;  // "model", "hardware", "workload" or "strategy"
};
std::vector<InputName> input_names();

}  // namespace pentafold
