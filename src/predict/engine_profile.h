// EngineProfile: how a serving engine batches, and what it costs whatever the model.
//
// The same plan on the same GPUs takes different times under vLLM, SGLang, TensorRT-LLM and the
// engine here: kernels come from the device's operators (predict/operators.h), the rest is here.
// Profiles are specs/engines.yaml, built into the program; values fitted to published measurements
// are marked there with what they were fitted to.
// Cost: a plain value. Held by predict/engine_profile_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace pentafold {

struct EngineProfile {
  std::string name;  // "vllm"
  // Batching, per attention dp group.
  bool mixed_steps = true;            // pieces of prompts ride in decode steps (chunked prefill);
                                      // else steps of prompts come first and decode waits
  std::int64_t step_tokens = 8192;    // rows of one step at most
  std::int64_t max_sequences = 1024;  // running at once at most
  // Fixed costs.
  double step_s = 0;          // of a step: scheduling, sampling, launch
  double layer_s = 0;         // of a layer in a step: launches, norms, small kernels
  double request_s = 0;       // of each sequence in a step
  double admission_s = 0;     // of a request before it can be scheduled: API, tokenizer, queue
  double prompt_token_s = 0;  // of each prompt token on the way there
};

// By name or alias ("vllm", "sglang", "tensorrt-llm", "trtllm", "pentafold"). Unknown: the nearest
// name, and all of them.
Result<EngineProfile> find_engine(const std::string& name);
std::vector<EngineProfile> catalog_engines();

}  // namespace pentafold
