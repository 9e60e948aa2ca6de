// From what a person typed to requests: prompts, token ids, batch files, or seeded random ids.
//
// Held by tests/e2e.
#pragma once

#include <optional>
#include <vector>

#include "cli/verbs.h"
#include "policy/scheduler.h"
#include "serve/tokenizer.h"

namespace pentafold {

struct Prompts {
  std::vector<Request> requests;
  std::optional<Tokenizer> tokenizer;  // when the model's directory has one
};

// Fails when nothing was asked and the plan has no `requests` section; when a prompt is text and
// the model has no tokenizer; when an id is outside the vocabulary.
Result<Prompts> make_prompts(const RunOptions& options, const PlanAndModel& loaded);

}  // namespace pentafold
