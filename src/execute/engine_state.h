// What the parts of the engine share: engine.cc starts and ends ranks, engine_generate.cc drives
// them. Internal to execute/engine*.cc. Held by tests/equivalence and tests/fault.
#pragma once

#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>

#include "comm/local_world.h"
#include "execute/engine.h"
#include "execute/pinning.h"

namespace pentafold {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A rank's work; memory that the system refuses is an answer, not the end of the process.
template <class Work>
Status attempt(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::OutOfMemory,
                      "the system refused memory; use a smaller model, shorter requests, or a "
                      "plan that holds fewer copies of the weights");
  }
}

// How a driver hands steps to its replica's ranks: a numbered slot that all of them wait on.
struct StepPost {
  std::mutex mutex;
  std::condition_variable posted;
  std::condition_variable finished;
  std::shared_ptr<const StepBatch> batch;
  std::uint64_t number = 0;
  std::int64_t busy = 0;  // ranks that have not finished the posted step
  bool stop = false;
};

// Tokens sampled in the step at hand, by the ranks that gather logits.
struct Sampled {
  std::mutex mutex;
  std::vector<std::pair<RequestId, std::int32_t>> tokens;
};

// Everything about the generate() call at hand that rank threads touch.
struct Call {
  std::mutex mutex;  // callbacks, hash
  const GenerateCallbacks* callbacks = nullptr;
  SamplingOptions sampling;
  std::uint64_t hash = 0;
  std::int64_t rows = 0;
};

struct Engine::State {
  Plan plan;
  ModelSpec model;
  EngineOptions options;
  std::unique_ptr<Device> device;
  std::optional<LoweringContext> lowering;
  std::unique_ptr<WeightStore> weights;
  std::vector<float> rope_table;
  std::optional<Pinning> pinning;
  std::optional<RunContext> context;
  std::unique_ptr<LocalWorld> world;
  SchedulerLimits limits;
  std::vector<std::unique_ptr<StepPost>> posts;      // by replica
  std::vector<std::unique_ptr<Sampled>> sampled;     // by replica
  std::vector<std::unique_ptr<RankWorker>> workers;  // by rank, made by its thread
  std::vector<std::jthread> threads;
  Call call;

  std::mutex ready_mutex;
  std::condition_variable ready_changed;
  std::int64_t prepared = 0;  // ranks past RankWorker::prepare()
  std::int64_t loaded = 0;    // ranks past RankWorker::load()
  Clock::time_point started;
  double start_s = 0;
  double load_s = 0;
  std::int64_t predicted_peak = 0;  // of the rank that needs most, for the call at hand

  Status build(WeightSource source);
  Status launch();
  void rank_main(Rank rank);
  void serve_steps(RankWorker& worker, StepPost& post);
  void on_logits(std::int64_t replica, const LogitRow& row);
  Status drive(std::int64_t replica, std::vector<Request> requests, Clock::time_point from,
               std::vector<RequestReport>& reports, std::vector<StepReport>& steps);
  Status run_step(std::int64_t replica, StepBatch batch);
  RunBounds bounds_of(const std::vector<std::vector<Request>>& dealt) const;
  Status reserve(const RunBounds& run);
  MemoryReport memory_report() const;
  void rest(bool at_rest);  // all ranks; between steps
  void stop();
};

}  // namespace pentafold
