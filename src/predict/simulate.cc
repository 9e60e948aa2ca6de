#include "predict/simulate.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <queue>
#include <tuple>

#include "base/check.h"
#include "predict/simulated_replica.h"

namespace pentafold {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Which request comes next, and when: at its time, or when one of the closed loop is done.
class RequestSource {
 public:
  explicit RequestSource(const Trace& trace) : trace_(trace) {}

  double next_s() const {
    if (next_ == trace_.requests.size()) return kNever;
    if (trace_.concurrency == 0) return trace_.requests[next_].arrival_s;
    return in_flight_ < trace_.concurrency ? released_s_ : kNever;
  }
  std::size_t take() {
    ++in_flight_;
    return next_++;
  }
  void release(double now) {
    --in_flight_;
    released_s_ = now;
  }

 private:
  const Trace& trace_;
  std::size_t next_ = 0;
  std::int64_t in_flight_ = 0;
  double released_s_ = 0;
};

// Of equal times the one planned first comes first. Steps begin when all of a time are over, so a
// request that arrives as a step ends is seen by the next one.
enum class EventKind { Ready, Transferred, StepEnd };
struct Event {
  double time_s = 0;
  EventKind kind = EventKind::Ready;
  std::int64_t order = 0;   // of being planned
  std::size_t subject = 0;  // request, or replica counted through both pools
  std::size_t replica = 0;  // where a request goes
  friend bool operator>(const Event& a, const Event& b) {
    return std::tie(a.time_s, a.order) > std::tie(b.time_s, b.order);
  }
};

struct Pool {
  Pool(const ReplicaPool& spec, double bucket_s)
      : spec(spec), series(bucket_s), router(spec.router, spec.replicas) {}
  ReplicaPool spec;
  LoadSeries series;
  Router router;
  std::size_t first = 0;  // its first replica
};

class Simulator {
 public:
  Simulator(const Trace& trace, const Service& service, const SimulationOptions& options)
      : trace_(trace), service_(service), options_(options), source_(trace) {
    outcomes_.resize(trace.requests.size());
    add_pool(service.serving);
    if (service.decode) add_pool(*service.decode);
    pending_.assign(replicas_.size(), -1);
  }
  Simulation run();

 private:
  void add_pool(const ReplicaPool& spec);
  void arrive();
  std::size_t route(Pool& pool, std::size_t request, std::int64_t tokens);
  void deliver(std::size_t replica, std::size_t request);
  void handle(const Event& event);
  void end_step(std::size_t replica);
  void prompt_done(std::size_t request);
  void finish(std::size_t request);
  void start_replicas();
  void plan(Event event);
  void plan_end(std::size_t replica);
  void drop_stale();
  std::span<const std::uint64_t> hashes_of(std::size_t request) const;
  bool fits(const RequestOutcome& outcome) const;
  bool split() const { return pools_.size() > 1; }
  Pool& pool_of(std::size_t replica) { return pools_[split() && replica >= pools_[1].first]; }

  const Trace& trace_;
  const Service& service_;
  const SimulationOptions& options_;
  RequestSource source_;
  GapHistogram gaps_;
  std::vector<RequestOutcome> outcomes_;
  std::deque<Pool> pools_;  // stable addresses
  std::deque<SimulatedReplica> replicas_;
  std::vector<std::int64_t> pending_;  // by replica: order of its StepEnd that counts
  std::vector<std::size_t> to_start_;  // replicas that may begin a step now
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<std::int64_t> done_;
  std::int64_t planned_ = 0;
  double now_ = 0;
};

void Simulator::add_pool(const ReplicaPool& spec) {
  CHECK(spec.replicas >= 1 && spec.price.step && spec.price.decode_steps);
  Pool& pool = pools_.emplace_back(spec, options_.bucket_s);
  if (trace_.block_tokens > 0) pool.spec.limits.hash_tokens = trace_.block_tokens;
  pool.first = replicas_.size();
  for (std::int64_t i = 0; i < spec.replicas; ++i) {
    replicas_.emplace_back(pool.spec, SimulationNotes{outcomes_, gaps_, pool.series});
  }
}

void Simulator::plan(Event event) {
  event.order = planned_++;
  events_.push(event);
}

void Simulator::plan_end(std::size_t replica) {
  pending_[replica] = planned_;
  plan({replicas_[replica].end_s(), EventKind::StepEnd, 0, replica, 0});
}

// A run that was cut short has left its old end behind.
void Simulator::drop_stale() {
  while (!events_.empty() && events_.top().kind == EventKind::StepEnd &&
         pending_[events_.top().subject] != events_.top().order) {
    events_.pop();
  }
}

Simulation Simulator::run() {
  while (true) {
    drop_stale();
    const double event_s = events_.empty() ? kNever : events_.top().time_s;
    const double next_s = std::min(source_.next_s(), event_s);
    if (!to_start_.empty() && next_s > now_) {
      start_replicas();
      continue;
    }
    if (next_s == kNever) break;
    now_ = std::max(now_, next_s);
    if (source_.next_s() <= event_s) {
      arrive();
    } else {
      const Event event = events_.top();
      events_.pop();
      handle(event);
    }
  }
  Simulation result;
  std::int64_t gpus = 0;
  for (const Pool& pool : pools_) gpus += pool.spec.replicas * pool.spec.gpus;
  result.summary = summarize(outcomes_, gaps_, options_.targets, gpus);
  for (Pool& pool : pools_) {
    const BatchLimits& limits = pool.spec.limits;
    const std::int64_t blocks = limits.groups * limits.blocks_per_group;
    PoolUse use{pool.spec.replicas, blocks * pool.spec.replicas, 0, 0, 0, std::move(pool.series)};
    for (std::int64_t i = 0; i < pool.spec.replicas; ++i) {
      const SimulatedReplica& replica = replicas_[pool.first + static_cast<std::size_t>(i)];
      use.steps += replica.all_steps();
      use.busy_share += replica.busy_s();
      const double peak = static_cast<double>(replica.peak_blocks());
      if (blocks > 0)
        use.peak_kv_share = std::max(use.peak_kv_share, peak / static_cast<double>(blocks));
    }
    const double time = result.summary.duration_s * static_cast<double>(pool.spec.replicas);
    use.busy_share = time > 0 ? use.busy_share / time : 0;
    result.pools.push_back(std::move(use));
  }
  result.requests = std::move(outcomes_);
  return result;
}

void Simulator::start_replicas() {
  std::sort(to_start_.begin(), to_start_.end());
  for (const std::size_t replica : to_start_) {
    if (!replicas_[replica].can_start()) continue;  // named twice
    replicas_[replica].start(now_, options_.jump);
    plan_end(replica);
  }
  to_start_.clear();
}

// Those of whole blocks of the prompt.
std::span<const std::uint64_t> Simulator::hashes_of(std::size_t request) const {
  if (trace_.block_tokens <= 0) return {};
  const auto whole = static_cast<std::size_t>(outcomes_[request].prompt / trace_.block_tokens);
  const auto given = trace_.hashes_of(trace_.requests[request]);
  return given.first(std::min(given.size(), whole));
}

bool Simulator::fits(const RequestOutcome& outcome) const {
  const std::int64_t here = split() ? 1 : outcome.output;
  if (!replicas_.front().fits(outcome.prompt, here)) return false;
  return !split() || replicas_.back().fits(outcome.prompt, outcome.output);
}

void Simulator::arrive() {
  const std::size_t request = source_.take();
  const TraceRequest& asked = trace_.requests[request];
  RequestOutcome& outcome = outcomes_[request];
  outcome.arrival_s = now_;
  outcome.prompt =
      static_cast<std::int32_t>(std::clamp<std::int64_t>(asked.prompt_tokens, 1, kMaxTraceTokens));
  outcome.output =
      static_cast<std::int32_t>(std::clamp<std::int64_t>(asked.output_tokens, 1, kMaxTraceTokens));
  if (!fits(outcome)) {
    outcome.rejected = true;
    source_.release(now_);
    return;
  }
  const std::size_t replica = route(pools_.front(), request, outcome.prompt);
  outcome.replica = static_cast<std::int32_t>(replica);
  const ReplicaPool& spec = pools_.front().spec;
  const double delay = spec.admission_s + spec.prompt_token_s * outcome.prompt;
  if (delay > 0) {
    plan({now_ + delay, EventKind::Ready, 0, request, replica});
  } else {
    deliver(replica, request);
  }
}

std::size_t Simulator::route(Pool& pool, std::size_t request, std::int64_t tokens) {
  std::vector<std::int64_t> cached;
  if (pool.spec.router == RouterPolicy::PrefixAware) {
    const auto hashes = hashes_of(request);
    for (std::int64_t i = 0; i < pool.spec.replicas; ++i) {
      cached.push_back(replicas_[pool.first + static_cast<std::size_t>(i)].cached_tokens(hashes));
    }
  }
  return pool.first + static_cast<std::size_t>(pool.router.choose(tokens, cached));
}

void Simulator::deliver(std::size_t replica, std::size_t request) {
  const RequestOutcome& outcome = outcomes_[request];
  const BatchLimits& limits = pool_of(replica).spec.limits;
  const bool decodes = split() && replica >= pools_[1].first;
  NewSequence sequence;
  sequence.id = static_cast<std::int64_t>(request);
  sequence.prompt = outcome.prompt;
  sequence.max_output = split() && !decodes ? 1 : outcome.output;
  sequence.priority = trace_.requests[request].priority;
  sequence.generated = decodes ? 1 : 0;
  if (limits.share_prefixes) {
    const auto hashes = hashes_of(request);
    sequence.hashes.assign(hashes.begin(), hashes.end());
  }
  SimulatedReplica& mine = replicas_[replica];
  mine.add(std::move(sequence), now_);
  if (!mine.in_step()) {
    to_start_.push_back(replica);
  } else if (mine.cut(now_)) {
    plan_end(replica);
  }
}

void Simulator::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::Ready:
      deliver(event.replica, event.subject);
      return;
    case EventKind::Transferred: {
      RequestOutcome& outcome = outcomes_[event.subject];
      outcome.first_token_s = now_;
      const std::size_t replica = route(pools_[1], event.subject, outcome.prompt);
      outcome.decode_replica = static_cast<std::int32_t>(replica - pools_[1].first);
      deliver(replica, event.subject);
      return;
    }
    case EventKind::StepEnd:
      end_step(event.subject);
      return;
  }
}

void Simulator::end_step(std::size_t replica) {
  SimulatedReplica& mine = replicas_[replica];
  const Pool& pool = pool_of(replica);
  if (options_.on_run) {
    const std::int64_t which = &pool == &pools_.front() ? 0 : 1;
    options_.on_run({which, static_cast<std::int64_t>(replica - pool.first), mine.start_s(),
                     mine.end_s(), mine.steps(), &mine.load()});
  }
  done_.clear();
  mine.end(done_);
  for (const std::int64_t id : done_) {
    const auto request = static_cast<std::size_t>(id);
    pool_of(replica).router.finished(static_cast<std::int64_t>(replica - pool.first),
                                     outcomes_[request].prompt);
    if (split() && replica < pools_[1].first && outcomes_[request].output > 1) {
      prompt_done(request);
    } else {
      finish(request);
    }
  }
  if (mine.can_start()) to_start_.push_back(replica);
}

void Simulator::prompt_done(std::size_t request) {
  const double travel = service_.transfer_s ? service_.transfer_s(outcomes_[request].prompt) : 0;
  plan({now_ + travel, EventKind::Transferred, 0, request, 0});
}

void Simulator::finish(std::size_t request) {
  outcomes_[request].finish_s = now_;
  source_.release(now_);
}

}  // namespace

BatchLimits batch_limits(const EngineProfile& engine, std::int64_t groups,
                         std::int64_t blocks_per_group) {
  BatchLimits limits;
  limits.groups = groups;
  limits.blocks_per_group = blocks_per_group;
  limits.max_group_sequences = engine.max_sequences;
  limits.step_tokens = engine.step_tokens;
  limits.mixed_steps = engine.mixed_steps;
  return limits;
}

Simulation simulate(const Trace& trace, const Service& service, const SimulationOptions& options) {
  return Simulator(trace, service, options).run();
}

}  // namespace pentafold
