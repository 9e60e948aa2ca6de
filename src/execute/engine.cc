#include "execute/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/check.h"
#include "execute/engine_state.h"
#include "execute/rope_table.h"

namespace pentafold {
void Engine::State::rank_main(Rank rank) {
  std::unique_ptr<Communicator> comm = world->communicator(rank);
  if (options.hooks.wrap_communicator) comm = options.hooks.wrap_communicator(std::move(comm));
  RankProgram program = lower_rank(*lowering, rank);
  if (options.hooks.edit_program) options.hooks.edit_program(program);
  auto worker = std::make_unique<RankWorker>(*context, std::move(program), std::move(comm));
  RankWorker& mine = *worker;
  workers[rank.index()] = std::move(worker);
  const auto pass = [&](const Status& outcome, std::int64_t& count) {
    if (!outcome.ok()) world->abort(outcome.error());
    const std::lock_guard lock(ready_mutex);
    ++count;
    ready_changed.notify_all();
  };
  pass(attempt([&] { return mine.prepare(); }), prepared);
  pass(attempt([&] { return mine.load(); }), loaded);
  serve_steps(mine, *posts[static_cast<std::size_t>(lowering->mesh.place(rank).replica)]);
}

void Engine::State::serve_steps(RankWorker& worker, StepPost& post) {
  std::uint64_t seen = 0;
  while (true) {
    std::shared_ptr<const StepBatch> batch;
    {
      std::unique_lock lock(post.mutex);
      post.posted.wait(lock, [&] { return post.stop || post.number != seen; });
      if (post.stop) return;
      seen = post.number;
      batch = post.batch;
    }
    const Status done = attempt([&] { return worker.run(*batch); });
    if (!done.ok()) world->abort(done.error());
    worker.rest(true);  // until the next step: later stages still compute
    const std::lock_guard lock(post.mutex);
    if (--post.busy == 0) post.finished.notify_all();
  }
}

void Engine::State::stop() {
  for (const auto& post : posts) {
    const std::lock_guard lock(post->mutex);
    post->stop = true;
    post->posted.notify_all();
  }
  threads.clear();  // joins
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}

Engine::~Engine() {
  if (state_) state_->stop();
}

// Everything that ranks share, before there are any.
Status Engine::State::build(WeightSource source) {
  PF_TRY(resolve_layers(plan, model.num_layers()));
  device = make_device(options.device);
  if (!device) {
    return make_error(ErrorCode::Unsupported,
                      fmt::format("no device '{}'; choose cpu or reference", options.device));
  }
  PF_ASSIGN(auto lowered, LoweringContext::make(plan, model));
  lowering.emplace(std::move(lowered));
  weights = std::make_unique<WeightStore>(std::move(source), *device, model, plan.weights);
  rope_table = make_rope_table(model.rope, model.head_dim, options.max_positions);
  world = std::make_unique<LocalWorld>(plan.world(), LocalWorldOptions{options.timeout});
  limits = options.limits.value_or(scheduler_limits(plan, options.blocks_per_group));
  const std::int64_t threads_per_rank =
      options.threads_per_rank > 0 ? options.threads_per_rank : threads_for(plan.world());
  if (options.pin) {
    usable_cores();  // counted before a thread is bound to one of them
    PF_ASSIGN(auto dealt, Pinning::make(plan.world(), threads_per_rank));
    pinning.emplace(std::move(dealt));
  }
  context.emplace(RunContext{plan,
                             model,
                             lowering->mesh,
                             [this](Team& team) {
                               auto made = make_device(options.device, &team);
                               const auto& wrap = options.hooks.wrap_device;
                               return wrap ? wrap(std::move(made)) : std::move(made);
                             },
                             threads_per_rank,
                             pinning ? &*pinning : nullptr,
                             *weights,
                             rope_table,
                             limits.blocks_per_group,
                             limits.groups,
                             options.all_logits,
                             options.time_operators,
                             {}});
  // Requests are dealt to replicas by id, so a row knows its replica.
  context->on_logits = [this](const LogitRow& row) {
    on_logits(row.request.value % plan.replicas, row);
  };
  for (std::int64_t r = 0; r < plan.replicas; ++r) {
    posts.push_back(std::make_unique<StepPost>());
    sampled.push_back(std::make_unique<Sampled>());
  }
  workers.resize(static_cast<std::size_t>(plan.world()));
  return ok_status();
}

// Starts the ranks and waits until all have their caches, then their weights.
Status Engine::State::launch() {
  const std::int64_t all = plan.world();
  try {
    for (std::int64_t r = 0; r < all; ++r) {
      threads.emplace_back([this, r] { rank_main(Rank(r)); });
    }
  } catch (const std::system_error& error) {
    const Error refused =
        make_error(ErrorCode::OutOfMemory,
                   fmt::format("the system refused thread {} of {} ({}); run a plan with fewer "
                               "ranks or raise the limit on threads",
                               threads.size() + 1, all, error.what()));
    world->abort(refused);  // those that run wait for those that never will
    return refused;
  }
  std::unique_lock lock(ready_mutex);
  ready_changed.wait(lock, [&] { return prepared == all; });
  start_s = seconds_since(started);
  while (!ready_changed.wait_for(lock, std::chrono::milliseconds(200),
                                 [&] { return loaded == all; })) {
    if (options.on_loading) options.on_loading(weights->bytes_held());
  }
  load_s = seconds_since(started) - start_s;
  PF_TRY(world->status());
  rest(true);
  return ok_status();
}

void Engine::State::rest(bool at_rest) {
  for (const auto& worker : workers) worker->rest(at_rest);
}

Result<std::unique_ptr<Engine>> Engine::start(const Plan& plan, const ModelSpec& model,
                                              WeightSource source, const EngineOptions& options) {
  auto state = std::make_unique<State>();
  state->started = Clock::now();
  state->plan = plan;
  state->model = model;
  state->options = options;
  PF_TRY(state->build(std::move(source)));
  std::unique_ptr<Engine> engine(new Engine(std::move(state)));  // from here on it stops its ranks
  PF_TRY(engine->state_->launch());
  return engine;
}

std::int64_t threads_for(std::int64_t ranks) {
  return std::max<std::int64_t>(1, usable_cores() / ranks);
}

const RankWorker& Engine::worker(Rank rank) const {
  return *state_->workers.at(rank.index());
}

void Engine::set_limits(const SchedulerLimits& limits) {
  CHECK(limits.groups == state_->limits.groups &&
        limits.blocks_per_group == state_->limits.blocks_per_group);
  state_->limits = limits;
}

}  // namespace pentafold
