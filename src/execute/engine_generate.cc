// How the engine runs requests: one driver a replica, the scheduler's steps, the tokens that come
// back.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/units.h"
#include "execute/engine_state.h"

namespace pentafold {
namespace {

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

// The same steps of all ranks together, by name.
void add_operator_times(const RankWorker& worker, Report& report) {
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    std::set<std::size_t> seen;
    for (const Step& step : worker.program().of(phase).steps) {
      if (!seen.insert(step.index()).second) continue;
      const OperatorReport& time = worker.operator_times(phase)[step.index()];
      if (time.calls == 0) continue;
      OperatorReport& sum = report.operators[static_cast<std::size_t>(phase)][step_name(step)];
      sum.calls += time.calls;
      sum.seconds += time.seconds;
      sum.flop += time.flop;
      sum.bytes += time.bytes;
    }
  }
}

void add_statistics(const RankWorker& worker, Report& report) {
  report.routing.add(worker.routing());
  for (const auto& [name, traffic] : worker.traffic()) {
    CollectiveReport& sum = report.collectives[name];
    sum.calls += traffic.calls;
    sum.bytes += traffic.bytes;
  }
  add_operator_times(worker, report);
}

}  // namespace

// What the steps of these requests stay within; `dealt` by replica.
RunBounds Engine::State::bounds_of(const std::vector<std::vector<Request>>& dealt) const {
  RunBounds run;
  run.groups = limits.groups;
  run.blocks_per_group = limits.blocks_per_group;
  run.max_batch = limits.max_batch;
  run.prefill_chunk = limits.prefill_chunk;
  run.microbatches = limits.microbatches;
  run.positions = options.max_positions;
  run.all_logits = options.all_logits;
  for (const std::vector<Request>& requests : dealt) {
    std::int64_t tokens = 0;
    for (const Request& request : requests) {
      tokens += std::ssize(request.prompt);
      run.longest_prompt = std::max<std::int64_t>(run.longest_prompt, std::ssize(request.prompt));
    }
    run.requests = std::max<std::int64_t>(run.requests, std::ssize(requests));
    run.prompt_tokens = std::max(run.prompt_tokens, tokens);
  }
  return run;
}

// Before the first step every rank takes what its largest step may need, and no more after that.
Status Engine::State::reserve(const RunBounds& run) {
  predicted_peak = 0;
  for (const auto& worker : workers) {
    const MemoryUse use = memory_use(*lowering, worker->program(), run);
    predicted_peak = std::max(predicted_peak, use.total());
    if (plan.device_memory_bytes > 0 && use.total() > plan.device_memory_bytes) {
      return make_error(
          ErrorCode::OutOfMemory,
          fmt::format("rank {} needs {} for these requests, a device has {}; lower prefill_chunk "
                      "or max_batch, or shorten the requests",
                      worker->program().rank.value, format_bytes(static_cast<double>(use.total())),
                      format_bytes(static_cast<double>(plan.device_memory_bytes))),
          plan.file);
    }
    PF_TRY(attempt([&] {
      worker->reserve(working_memory(*lowering, worker->program(), run));
      return ok_status();
    }));
  }
  return ok_status();
}

MemoryReport Engine::State::memory_report() const {
  MemoryReport report;
  const auto rope_bytes = static_cast<std::int64_t>(rope_table.size() * sizeof(float));
  report.process = weights->bytes_held() + rope_bytes;
  report.predicted_peak = predicted_peak;
  for (const auto& worker : workers) {
    const std::int64_t working = worker->work_memory().reserved();
    report.peak = std::max(report.peak, worker->memory().peak);
    report.peak_of_all += worker->memory().peak;
    report.process += working + worker->kv_cache().shape().bytes() + worker->device_memory();
    report.working = std::max(report.working, working);
    report.working_used = std::max(report.working_used, worker->work_memory().most_used());
  }
  return report;
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
  for (std::int64_t r = 0; r < post.busy; ++r) {
    workers[static_cast<std::size_t>(replica * post.busy + r)]->rest(false);
  }
  ++post.number;
  post.posted.notify_all();
  // Ranks always come back: every wait inside a step has a deadline.
  post.finished.wait(lock, [&] { return post.busy == 0; });
  return world->status();
}

Status Engine::State::drive(std::int64_t replica, std::vector<Request> requests,
                            Clock::time_point from, std::vector<RequestReport>& reports,
                            std::vector<StepReport>& steps) {
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
    const Clock::time_point begin = Clock::now();
    StepBatch batch = scheduler.next();
    StepReport& step = steps.emplace_back(
        StepReport{batch.phase == Phase::Prefill ? StepKind::Prefill : StepKind::Decode,
                   std::ssize(batch.segments), batch.tokens, batch.context(), 0});
    PF_TRY(run_step(replica, std::move(batch)));
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
    step.seconds = seconds_since(begin);
  }
  return ok_status();
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
  PF_TRY(state.world->status());  // after a failure nothing says that all ranks are at rest
  PF_TRY(state.reserve(state.bounds_of(dealt)));
  const Clock::time_point from = Clock::now();
  std::vector<Status> outcomes(replicas);
  std::vector<std::vector<RequestReport>> reports(replicas);
  std::vector<std::vector<StepReport>> steps(replicas);
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
  for (const std::vector<StepReport>& of_replica : steps) {
    report.step_reports.insert(report.step_reports.end(), of_replica.begin(), of_replica.end());
  }
  report.steps = std::ssize(report.step_reports);
  for (const auto& some : reports) {
    report.requests.insert(report.requests.end(), some.begin(), some.end());
  }
  std::sort(report.requests.begin(), report.requests.end(),
            [](const RequestReport& a, const RequestReport& b) { return a.id < b.id; });
  for (const auto& worker : state.workers) add_statistics(*worker, report);
  report.memory = state.memory_report();
  report.logits_hash = state.call.hash;
  report.logit_rows = state.call.rows;
  return report;
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
