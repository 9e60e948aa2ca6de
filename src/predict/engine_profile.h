// EngineProfile: how a serving engine batches, and what it costs whatever the model.
//
// The same plan on the same GPUs takes different times under vLLM, SGLang, TensorRT-LLM and the
// engine here: kernels come from the device's operators (predict/operators.h), the rest is here.
// Profiles are specs/engines.yaml, built into the program, with what each value was fitted to; an
// engine may have other constants on some devices, where launches or kernels differ, and in earlier
// months: a release that brings a faster kernel moves a step by more than most layouts do.
// Cost: a plain value. Held by predict/engine_profile_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

// How the rows of a layer meet its experts.
enum class RowExchange {
  Routed,    // each row travels to its experts and back: dispatch and combine, all-to-all
  Gathered,  // every rank sees all rows and computes its experts' part: all-reduce where a tensor
             // group holds the rows already, all-gather and reduce-scatter over dp groups
};

struct EngineProfile {
  std::string name = "generic";
  // Batching, per attention dp group.
  bool mixed_steps = true;            // pieces of prompts ride in decode steps (chunked prefill);
                                      // else steps of prompts come first and decode waits
  std::int64_t step_tokens = 8192;    // rows of one step at most
  std::int64_t max_sequences = 1024;  // running at once at most
  RowExchange exchange = RowExchange::Routed;
  // A busy scheduler looks for arrivals before every so many decode steps (SGLang's
  // --scheduler-recv-interval), and always after a step of prompts; when few run, more often.
  std::int64_t poll_steps = 1;
  std::int64_t poll_steps_few = 1;  // with fewer than kFewSequences (predict/arrival_gate.h)
  // With several dp groups prompts start once every group has one, or after so many steps, so that
  // none idles while others compute (TensorRT-LLM's attention_dp_config.enable_balance). 0: at
  // once.
  std::int64_t balance_steps = 0;
  // Seconds.
  double step_s = 126e-6;     // of a step: scheduling, sampling, launch
  double layer_s = 20e-6;     // of a layer in a step: launches, norms, small kernels
  double request_s = 4.4e-6;  // of each sequence in a step
  double prompt_step_s = 0;   // of a step with prompts, beside: no captured graph runs it
  double prompt_layer_s = 0;  // of its layers, likewise
  double admission_s = 0;     // of a request before it can be scheduled: API, tokenizer, queue
  double prompt_token_s = 0;  // of each prompt token on the way there
  double expert_layer_s = 0;  // of a layer with experts, beside: routing, sorting
  // Factors on what the operators say: what a whole engine makes of kernels timed alone.
  double weights = 1;          // products of dense weights
  double experts = 1;          // products of experts
  double fp4 = 1;              // of these, those of 4-bit floats, beside
  double attention = 1;        //
  double links = 1;            // collectives
  double hidden_exchange = 0;  // part of dispatch and combine that overlaps with computing
};

// The numbers of a profile by name: how files spell them, reports print them and fits vary them.
struct ProfileConstant {
  std::string_view key;  // "layer"
  double EngineProfile::* value;
  bool seconds = true;  // else a plain number
  const char* what;     // "launches and small kernels of a layer"
};
std::span<const ProfileConstant> profile_constants();

// By name or alias ("vllm", "sglang", "tensorrt-llm", "trtllm", "generic"), as it is on `gpu` (a
// name of the catalog); "sglang@2025-11" as it was in that month. Unknown: the nearest name, and
// all of them.
Result<EngineProfile> find_engine(const std::string& name, const std::string& gpu);
std::vector<std::string> engine_names();
// docs/engines.md. The text is the program's own or an editor's.
Result<EngineProfile> parse_engine(const std::string& yaml_text, const std::string& file,
                                   const std::string& name, const std::string& gpu);

}  // namespace pentafold
