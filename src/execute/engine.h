// Engine: a plan running for real, every rank a thread of this process.
//
// start() lowers the plan, spawns one thread a rank, loads weights and joins groups; generate()
// runs requests to completion. Each replica has a driver that asks policy/scheduler for the next
// step and posts it to its ranks; ranks run it through their Programs; the ranks that gather logits
// sample. The schedule is common knowledge, tokens are the only thing that comes back.
// A rank that fails ends the run: all ranks return, generate() reports the first error.
// Source: DESIGN section 1. Cost: threads blocked while they wait. Held by tests/equivalence.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "execute/worker.h"
#include "plan/plan_file.h"
#include "policy/sampler.h"
#include "policy/scheduler.h"
#include "report/report.h"
#include "spec/load_model.h"

namespace pentafold {

// Where tests plant faults: decorators and edits, identity when empty.
struct EngineHooks {
  std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator>)> wrap_communicator;
  std::function<std::unique_ptr<Device>(std::unique_ptr<Device>)> wrap_device;
  std::function<void(RankProgram&)> edit_program;
};

struct EngineOptions {
  std::string device = "cpu";
  std::int64_t threads_per_rank = 0;  // 0: threads_for the plan's ranks
  bool pin = false;                   // bind threads to cores (execute/pinning.h)
  bool all_logits = false;            // compute logits of prompt positions too
  bool time_operators = false;        // fill Report::operators; two clock readings a step
  std::int64_t max_positions = 0;     // longest prompt + answer that will be asked for
  std::int64_t blocks_per_group = 0;  // KV blocks of each dp group
  // Scheduling as under another plan (check against one rank); nothing: as this plan says.
  std::optional<SchedulerLimits> limits;
  std::chrono::milliseconds timeout{600'000};               // longest wait for a peer
  std::function<void(std::int64_t bytes_held)> on_loading;  // a few times a second
  EngineHooks hooks;
};

// Called from engine threads, one call at a time.
struct GenerateCallbacks {
  std::function<void(RequestId, std::int32_t token)> on_token;
  LogitSink on_logits;
};

class Engine {
 public:
  // `plan` and `model` are copied; layers resolved. `source` gives the weights.
  static Result<std::unique_ptr<Engine>> start(const Plan& plan, const ModelSpec& model,
                                               WeightSource source, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // How the next generate() schedules; groups and blocks must be those of start().
  void set_limits(const SchedulerLimits& limits);

  // Runs all requests to their end; reserves their working memory first. Ids must be distinct;
  // request i goes to replica i % replicas. One call at a time.
  Result<Report> generate(std::vector<Request> requests, const SamplingOptions& sampling,
                          const GenerateCallbacks& callbacks);

  // A rank at rest (between generate() calls), for looking at its cache.
  const RankWorker& worker(Rank rank) const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Threads of each of so many ranks: the cores dealt to them, at least one each.
std::int64_t threads_for(std::int64_t ranks);

// KV blocks that one dp group needs so that all these requests can run at once.
std::int64_t blocks_needed(const Plan& plan, const std::vector<Request>& requests);

}  // namespace pentafold
