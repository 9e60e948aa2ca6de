// StepLoad: what one step of a serving engine computes, in counts: the coordinates of its price.
//
// A step serves some sequences one more token each (decode) and computes pieces of prompts
// (prefill); a mixed step does both. Attention is per data-parallel group, and the step waits for
// the busiest; experts see the rows of all groups together. No time, no tensors: the scheduler
// fills it, the pricer reads it.
// Cost: plain values. Held by predict/step_pricer_test.cc.
#pragma once

#include <cstdint>
#include <vector>

namespace pentafold {

// Consecutive tokens of one prompt.
struct PromptPiece {
  std::int64_t start = 0;   // tokens before it, in the cache
  std::int64_t tokens = 0;  // computed now
};

struct GroupLoad {
  std::int64_t decodes = 0;   // sequences that get one more token
  double decode_context = 0;  // sum of their tokens in the cache
  std::vector<PromptPiece> prompts;
  std::int64_t finished_prompts = 0;  // prompts whose last piece this is: they get a first token

  std::int64_t rows() const {
    std::int64_t n = decodes;
    for (const PromptPiece& piece : prompts) n += piece.tokens;
    return n;
  }
  std::int64_t sampled() const { return decodes + finished_prompts; }
};

struct StepLoad {
  std::vector<GroupLoad> groups;  // by attention dp group of the worker
};

}  // namespace pentafold
