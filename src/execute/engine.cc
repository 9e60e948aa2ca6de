#include "execute/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <numeric>
#include <set>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "base/hash.h"
#include "comm/local_world.h"
#include "execute/rope_table.h"

namespace pentafold {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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

// What ranks index with comes from outside: ids, tokens and lengths that no table has a row for.
Status check_requests(const std::vector<Request>& requests, std::int64_t vocab,
                      std::int64_t max_positions) {
  std::set<RequestId> ids;
  for (const Request& request : requests) {
    const auto fail = [&](const std::string& why) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("request {}: {}", request.id.value, why));
    };
    if (request.id.value < 0) return fail("ids count from 0");
    if (!ids.insert(request.id).second) return fail("its id was given twice");
    if (request.prompt.empty()) return fail("the prompt is empty; give it a token");
    if (request.max_tokens < 1) return fail("max_tokens is less than 1");
    const auto prompt = static_cast<std::int64_t>(request.prompt.size());
    // The last token is chosen, never fed.
    if (request.max_tokens > max_positions - prompt + 1) {
      return fail(fmt::format("{} prompt + {} new tokens exceed the engine's {} positions", prompt,
                              request.max_tokens, max_positions));
    }
    for (const std::int32_t token : request.prompt) {
      if (token < 0 || token >= vocab) {
        return fail(fmt::format("token id {} is outside the vocabulary of {}", token, vocab));
      }
    }
  }
  return ok_status();
}

// Everything about the generate() call at hand that rank threads touch.
struct Call {
  std::mutex mutex;  // callbacks, hash
  const GenerateCallbacks* callbacks = nullptr;
  SamplingOptions sampling;
  std::uint64_t hash = 0;
  std::int64_t rows = 0;
};

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

}  // namespace

struct Engine::State {
  Plan plan;
  ModelSpec model;
  EngineOptions options;
  std::unique_ptr<Device> device;
  std::optional<LoweringContext> lowering;
  std::unique_ptr<WeightStore> weights;
  std::vector<float> rope_table;
  std::optional<RunContext> context;
  std::unique_ptr<LocalWorld> world;
  SchedulerLimits limits;
  std::vector<std::unique_ptr<StepPost>> posts;   // by replica
  std::vector<std::unique_ptr<Sampled>> sampled;  // by replica
  std::vector<std::unique_ptr<Worker>> workers;   // by rank, made by its thread
  std::vector<std::jthread> threads;
  Call call;

  std::mutex ready_mutex;
  std::condition_variable ready_changed;
  std::int64_t prepared = 0;  // ranks past Worker::prepare()
  std::int64_t loaded = 0;    // ranks past Worker::load()
  Clock::time_point started;
  double start_s = 0;
  double load_s = 0;

  Status build(WeightSource source);
  Status launch();
  void rank_main(Rank rank);
  void serve_steps(Worker& worker, StepPost& post);
  void on_logits(std::int64_t replica, const LogitRow& row);
  Status drive(std::int64_t replica, std::vector<Request> requests, Clock::time_point from,
               std::vector<RequestReport>& reports, std::int64_t& steps);
  Status run_step(std::int64_t replica, StepBatch batch);
  void stop();
};

void Engine::State::rank_main(Rank rank) {
  std::unique_ptr<Communicator> comm = world->communicator(rank);
  if (options.hooks.wrap_communicator) comm = options.hooks.wrap_communicator(std::move(comm));
  RankProgram program = lower_rank(*lowering, rank);
  if (options.hooks.edit_program) options.hooks.edit_program(program);
  auto worker = std::make_unique<Worker>(*context, std::move(program), std::move(comm));
  Worker& mine = *worker;
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

void Engine::State::serve_steps(Worker& worker, StepPost& post) {
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
    const std::lock_guard lock(post.mutex);
    if (--post.busy == 0) post.finished.notify_all();
  }
}

void Engine::State::on_logits(std::int64_t replica, const LogitRow& row) {
  const auto request = static_cast<std::uint32_t>(row.request.value);
  const auto position = static_cast<std::uint32_t>(row.position);
  // Rows arrive in any order: a sum of keyed row hashes does not care.
  const std::uint64_t key = mix64((std::uint64_t{request} << 32) | position);
  const std::uint64_t hash = mix64(hash_floats(row.logits, kHashSeed ^ key));
  std::int32_t token = -1;
  if (row.samples) token = sample_token(row.logits, call.sampling, request, position + 1);
  if (row.samples) {
    Sampled& mine = *sampled[static_cast<std::size_t>(replica)];
    const std::lock_guard lock(mine.mutex);
    mine.tokens.emplace_back(row.request, token);
  }
  const std::lock_guard lock(call.mutex);
  call.hash += hash;
  ++call.rows;
  if (call.callbacks->on_logits) call.callbacks->on_logits(row);
}

Status Engine::State::run_step(std::int64_t replica, StepBatch batch) {
  StepPost& post = *posts[static_cast<std::size_t>(replica)];
  std::unique_lock lock(post.mutex);
  post.batch = std::make_shared<const StepBatch>(std::move(batch));
  post.busy = plan.ranks_per_replica();
  ++post.number;
  post.posted.notify_all();
  // Ranks always come back: every wait inside a step has a deadline.
  post.finished.wait(lock, [&] { return post.busy == 0; });
  return world->status();
}

Status Engine::State::drive(std::int64_t replica, std::vector<Request> requests,
                            Clock::time_point from, std::vector<RequestReport>& reports,
                            std::int64_t& steps) {
  Scheduler scheduler(limits);
  std::map<RequestId, RequestReport*> by_id;
  reports.reserve(requests.size());
  for (Request& request : requests) {
    RequestReport& report = reports.emplace_back();
    report.id = request.id.value;
    report.prompt_tokens = static_cast<std::int64_t>(request.prompt.size());
    by_id[request.id] = &report;
    PF_TRY(scheduler.add(std::move(request)));
  }
  Sampled& mine = *sampled[static_cast<std::size_t>(replica)];
  while (!scheduler.done()) {
    PF_TRY(run_step(replica, scheduler.next()));
    ++steps;
    std::vector<std::pair<RequestId, std::int32_t>> tokens;
    {
      const std::lock_guard lock(mine.mutex);
      tokens.swap(mine.tokens);
    }
    std::sort(tokens.begin(), tokens.end());
    for (const auto& [id, token] : tokens) {
      RequestReport& report = *by_id.at(id);
      report.last_s = seconds_since(from);
      if (report.tokens.empty()) report.ttft_s = report.last_s;
      report.tokens.push_back(token);
      scheduler.accept(id, token);
      const std::lock_guard lock(call.mutex);
      if (call.callbacks->on_token) call.callbacks->on_token(id, token);
    }
  }
  return ok_status();
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
  if (options.hooks.wrap_device) device = options.hooks.wrap_device(std::move(device));
  PF_ASSIGN(auto lowered, LoweringContext::make(plan, model));
  lowering.emplace(std::move(lowered));
  weights = std::make_unique<WeightStore>(std::move(source), *device, plan.weight_dtype);
  rope_table = make_rope_table(model.rope, model.head_dim, options.max_positions);
  world = std::make_unique<LocalWorld>(plan.world(), LocalWorldOptions{options.timeout});
  limits = options.limits.value_or(scheduler_limits(plan, options.blocks_per_group));
  context.emplace(RunContext{plan,
                             model,
                             lowering->mesh,
                             *device,
                             *weights,
                             rope_table,
                             limits.blocks_per_group,
                             limits.groups,
                             options.all_logits,
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
  return world->status();
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

Result<Report> Engine::generate(std::vector<Request> requests, const SamplingOptions& sampling,
                                const GenerateCallbacks& callbacks) {
  State& state = *state_;
  PF_TRY(check_requests(requests, state.model.vocab, state.options.max_positions));
  state.call.callbacks = &callbacks;
  state.call.sampling = sampling;
  state.call.hash = 0;
  state.call.rows = 0;
  for (const auto& worker : state.workers) worker->clear_statistics();
  const auto replicas = static_cast<std::size_t>(state.plan.replicas);
  std::vector<std::vector<Request>> dealt(replicas);
  for (Request& request : requests) {
    dealt[request.id.index() % replicas].push_back(std::move(request));
  }
  const Clock::time_point from = Clock::now();
  std::vector<Status> outcomes(replicas);
  std::vector<std::vector<RequestReport>> reports(replicas);
  std::vector<std::int64_t> steps(replicas, 0);
  {
    std::vector<std::jthread> drivers;
    for (std::size_t r = 0; r < replicas; ++r) {
      const auto drive = [&, r] {
        outcomes[r] = state.drive(static_cast<std::int64_t>(r), std::move(dealt[r]), from,
                                  reports[r], steps[r]);
      };
      try {
        drivers.emplace_back(drive);
      } catch (const std::system_error&) {
        drive();  // replicas do not wait for each other, so this one may run here
      }
    }
  }
  for (const Status& outcome : outcomes) PF_TRY(outcome);

  Report report;
  report.plan = describe(state.plan);
  report.ranks = state.plan.world();
  report.start_s = state.start_s;
  report.load_s = state.load_s;
  report.run_s = seconds_since(from);
  report.weight_bytes = state.weights->bytes_held();
  report.steps = std::accumulate(steps.begin(), steps.end(), std::int64_t{0});
  for (const auto& some : reports) {
    report.requests.insert(report.requests.end(), some.begin(), some.end());
  }
  std::sort(report.requests.begin(), report.requests.end(),
            [](const RequestReport& a, const RequestReport& b) { return a.id < b.id; });
  for (const auto& worker : state.workers) {
    report.routing.add(worker->routing());
    for (const auto& [name, traffic] : worker->traffic()) {
      CollectiveReport& sum = report.collectives[name];
      sum.calls += traffic.calls;
      sum.bytes += traffic.bytes;
    }
  }
  report.logits_hash = state.call.hash;
  report.logit_rows = state.call.rows;
  return report;
}

const Worker& Engine::worker(Rank rank) const {
  return *state_->workers.at(rank.index());
}

void Engine::set_limits(const SchedulerLimits& limits) {
  CHECK(limits.groups == state_->limits.groups &&
        limits.blocks_per_group == state_->limits.blocks_per_group);
  state_->limits = limits;
}

std::int64_t blocks_needed(const Plan& plan, const std::vector<Request>& requests) {
  const std::int64_t groups = scheduler_limits(plan, 0).groups;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> by_group;  // (replica, group)
  std::map<std::int64_t, std::int64_t> dealt;                              // by replica
  std::int64_t most = 1;
  for (const Request& request : requests) {
    const std::int64_t replica = request.id.value % plan.replicas;
    const std::int64_t group = dealt[replica]++ % groups;
    const auto tokens = static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens;
    std::int64_t& sum = by_group[{replica, group}];
    sum += (tokens + kBlockTokens - 1) / kBlockTokens;
    most = std::max(most, sum);
  }
  return most;
}

}  // namespace pentafold
