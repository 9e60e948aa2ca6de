// Scheduler: which tokens of which requests make the next step. No clock, no device.
//
// The decisions are those of policy/batching.h, which the simulator makes too; here they get tokens
// and segments. A step is all prefill or all decode. Waiting requests are admitted in order while
// the batch and their dp group's KV blocks (reserved for prompt and answer, so nothing is ever
// preempted) allow; prefill goes first, each request by at most prefill_chunk tokens a step; when
// no prompt tokens are left, all running requests decode one token. Requests take dp groups round
// robin. The result depends on the limits alone, never on tp, pp, ep or sp, so two plans with equal
// limits make the same steps.
// Cost: O(running) a step. Held by policy/scheduler_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/split.h"
#include "plan/mesh.h"
#include "plan/plan.h"
#include "policy/batching.h"

namespace pentafold {

constexpr std::int64_t kBlockTokens = 16;  // tokens of one KV block

struct Request {
  RequestId id;
  std::vector<std::int32_t> prompt;
  std::int64_t max_tokens = 0;
  std::vector<std::int32_t> stop_ids;  // generation ends after one of these
};

// Consecutive tokens of one request in one step.
struct Segment {
  RequestId request;
  std::int64_t start = 0;  // position of tokens[0]
  std::vector<std::int32_t> tokens;
  std::int64_t group = 0;  // scheduling dp group
  bool samples = false;    // the last row's logits choose the next token
  std::shared_ptr<const std::vector<std::int32_t>> blocks;  // the request's, within its group
};

struct StepBatch {
  std::int64_t number = 0;
  Phase phase = Phase::Prefill;
  std::vector<Segment> segments;    // ascending (request, start)
  std::vector<Range> microbatches;  // of segments; every one non-empty
  std::int64_t tokens = 0;          // in all segments

  // Tokens in the cache when it is done, all requests.
  std::int64_t context() const;
};

struct SchedulerLimits {
  std::int64_t groups = 1;            // dp groups
  std::int64_t blocks_per_group = 0;  // KV blocks
  std::int64_t max_batch = 64;
  std::int64_t prefill_chunk = 512;
  std::int64_t microbatches = 1;
};

// Limits of one replica under this plan; groups is the least common multiple of the stages' dp.
SchedulerLimits scheduler_limits(const Plan& plan, std::int64_t blocks_per_group);
// The same for the batcher: how the engine here batches.
BatchLimits batch_limits(const SchedulerLimits& limits);

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // Fails when the request could never fit the KV blocks of one group.
  Status add(Request request);

  // Nothing left to run.
  bool done() const { return batcher_.idle(); }
  StepBatch next();

  // The token chosen for a request after its last step; true when that ends the request.
  bool accept(RequestId request, std::int32_t token);

 private:
  struct Entry {
    Request request;
    std::int32_t last_token = 0;
    std::shared_ptr<const std::vector<std::int32_t>> blocks;  // once it runs
  };
  void cut_microbatches(StepBatch& batch) const;

  SchedulerLimits limits_;
  Batcher batcher_;
  std::vector<Entry> entries_;                               // by slot of the batcher
  std::vector<std::pair<RequestId, std::int32_t>> running_;  // with slots, ascending
  std::int64_t steps_ = 0;
};

}  // namespace pentafold
