// How well a plan's arithmetic predicts the text that the shipped checkpoint was not trained on.
//
// 20 windows of 256 tokens of models/tiny-moe/training/valid.bin, each by itself; models/tiny-moe/
// README.md says what a float64 oracle gets. Cost: seconds, and 84 MB of logits a score. Held by
// the tests that use it.
#pragma once

#include <vector>

#include "plan/plan.h"
#include "spec/model.h"

namespace pentafold::testing {

struct ValidationScore {
  double nats = 0;            // a token: the logarithm of the perplexity
  std::vector<float> logits;  // (windows, window, vocab)
};

// models/tiny-moe.
ModelSpec shipped_model();
// `plan` is for the shipped model.
ValidationScore validation_score(const Plan& plan);

struct ScoreDistance {
  double nats = 0;   // a's less b's
  double worst = 0;  // largest difference of a logit
  double rms = 0;
};
ScoreDistance distance(const ValidationScore& a, const ValidationScore& b);

}  // namespace pentafold::testing
