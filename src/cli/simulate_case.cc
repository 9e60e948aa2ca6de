// The options of `pentafold simulate` -> a trace, a service and what is asked of it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "cli/contender.h"
#include "cli/simulate.h"
#include "cli/verbs.h"
#include "plan/capacity.h"
#include "predict/served_pool.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

constexpr std::int64_t kDefaultRequests = 1000;
// A device's link to its host: PCIe 5.0 x16 moves about this much of its 63 GB/s.
constexpr double kHostBytesPerS = 50e9;

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

// Which of several words; '-' stands for '_'.
Result<std::size_t> choice(std::string word, const char* option,
                           std::span<const std::string_view> known) {
  const std::string asked = word;
  std::ranges::replace(word, '-', '_');
  const auto found = std::ranges::find(known, word);
  if (found != known.end()) return static_cast<std::size_t>(found - known.begin());
  const std::string meant = nearest(word, known);
  if (!meant.empty()) {
    return refused(
        fmt::format("unknown {} {}; did you mean \"{}\"?", option, quote_text(asked), meant));
  }
  std::string all;
  for (const std::string_view name : known) {
    all += all.empty() ? "" : ", ";
    all += name;
  }
  return refused(fmt::format("unknown {} {}; known are {}", option, quote_text(asked), all));
}

Result<Trace> generated_trace(const SimulateOptions& o) {
  if (o.rate.empty() && !o.concurrency) {
    return refused(
        "no workload: give --trace FILE, or --rate 12/s or --concurrency 64 with --isl and --osl");
  }
  if (!o.rate.empty() && o.concurrency) {
    return refused("give --rate or --concurrency, not both: one follows from the other");
  }
  if (o.isl.empty() || o.osl.empty()) {
    return refused("no lengths: give --isl and --osl, such as --isl 4000 --osl [100,500]");
  }
  ArrivalSpec spec;
  if (o.concurrency) {
    if (!o.arrivals.empty()) return refused("--arrivals goes with --rate, not with --concurrency");
    spec.process = ArrivalProcess::Closed;
    spec.concurrency = *o.concurrency;
  } else {
    if (!o.arrivals.empty()) {
      PF_ASSIGN(spec.process, parse_arrival_process(o.arrivals));
    }
    if (spec.process == ArrivalProcess::Closed) {
      return refused("closed arrivals are asked for with --concurrency");
    }
    PF_ASSIGN(spec.rate_per_s, parse_rate(o.rate, "--rate"));
  }
  if (o.cv) {
    if (spec.process != ArrivalProcess::Gamma) return refused("--cv goes with --arrivals gamma");
    spec.cv = *o.cv;
  }
  PF_ASSIGN(spec.prompt, parse_token_range(o.isl, "--isl"));
  PF_ASSIGN(spec.output, parse_token_range(o.osl, "--osl"));
  spec.requests = o.requests.value_or(kDefaultRequests);
  spec.seed = o.seed;
  return generate_trace(spec);
}

Result<Trace> read_trace(const SimulateOptions& o) {
  if (!(o.time_scale > 0 && o.time_scale <= 1e6)) {
    return refused(fmt::format("--time-scale must be above 0, not {}", o.time_scale));
  }
  if (o.requests && *o.requests < 1) return refused("--requests must be 1 or more");
  if (o.trace.empty()) {
    PF_ASSIGN(Trace trace, generated_trace(o));
    scale_time(trace, o.time_scale);
    return trace;
  }
  struct Given {
    const char* name;
    bool given;
  };
  for (const Given& option :
       {Given{"--rate", !o.rate.empty()}, Given{"--arrivals", !o.arrivals.empty()},
        Given{"--cv", o.cv.has_value()}, Given{"--isl", !o.isl.empty()},
        Given{"--osl", !o.osl.empty()}}) {
    if (option.given) {
      return refused(fmt::format(
          "{} is for generated workloads; with --trace, the file says when requests come and how "
          "long they are (--time-scale changes the rate, --concurrency closes the loop)",
          option.name));
    }
  }
  PF_ASSIGN(Trace trace, load_trace(o.trace));
  if (o.requests) keep_first(trace, *o.requests);
  scale_time(trace, o.time_scale);
  if (o.concurrency) {
    if (*o.concurrency < 1) return refused("--concurrency must be 1 or more");
    trace.concurrency = *o.concurrency;
  }
  return trace;
}

// The workload at which windows are spread over blocks and caches travel: the trace's means.
void set_lengths(const Trace& trace, PlanVerbOptions& asked) {
  double prompt = 0;
  double output = 0;
  for (const TraceRequest& request : trace.requests) {
    prompt += static_cast<double>(request.prompt_tokens);
    output += static_cast<double>(request.output_tokens);
  }
  const auto n = static_cast<double>(trace.requests.size());
  asked.isl = std::max<std::int64_t>(std::llround(prompt / n), 1);
  asked.osl = std::max<std::int64_t>(std::llround(output / n), 1);
}

// Of the fullest rank.
double kv_block_bytes(const ModelShape& model, const Worker& worker, std::int64_t block_tokens) {
  double most = 0;
  std::int64_t layer = 0;
  for (const std::int64_t layers : worker.stage_layers) {
    double bytes = 0;
    for (const std::int64_t end = layer + layers; layer < end; ++layer) {
      bytes += layer_kv_bytes(model.layer(layer), worker, block_tokens);
    }
    most = std::max(most, bytes);
  }
  return most;
}

Status set_limits(const SimulateOptions& o, const Plan& plan, const Worker& worker,
                  ReplicaPool& pool) {
  constexpr std::array<std::string_view, 3> kPreemptions = {"never", "recompute", "swap"};
  constexpr std::array<std::string_view, 4> kRouters = {"round_robin", "least_requests",
                                                        "least_tokens", "prefix_aware"};
  PF_ASSIGN(const std::size_t preemption, choice(o.preempt, "--preempt", kPreemptions));
  PF_ASSIGN(const std::size_t router, choice(o.router, "--router", kRouters));
  pool.router = static_cast<RouterPolicy>(router);
  BatchLimits& limits = pool.limits;
  limits.preemption = static_cast<Preemption>(preemption);
  limits.share_prefixes = !o.no_prefix_cache;
  limits.max_sequences = std::min(limits.max_sequences, o.max_sequences.value_or(plan.max_batch));
  limits.piece_tokens = std::min(limits.piece_tokens, plan.prefill_chunk);
  if (plan.kv_blocks > 0) limits.blocks_per_group = plan.kv_blocks;
  if (o.kv_tokens) limits.blocks_per_group = *o.kv_tokens / limits.block_tokens / worker.dp;
  if (o.max_context) limits.max_context = *o.max_context;
  if (limits.blocks_per_group >= 1) return ok_status();
  return refused(
      fmt::format("--kv-tokens must be at least a block of {} tokens for each of {} dp "
                  "groups",
                  limits.block_tokens, worker.dp));
}

Result<ReplicaPool> make_pool(const SimulateOptions& o, const SimulationCase& asked,
                              const Plan& plan, const Pool& pool) {
  const Problem& problem = asked.request.problem;
  const ServedWorker served{pool.worker, pool.replicas, pool.role, problem.targets.memory_fraction};
  PF_ASSIGN(ReplicaPool out, served_pool(*asked.costs, served));
  PF_TRY(set_limits(o, plan, pool.worker, out));
  out.price.swap_block_s =
      kv_block_bytes(problem.model, pool.worker, out.limits.block_tokens) / kHostBytesPerS;
  return out;
}

Status make_service(const SimulateOptions& o, const Plan& plan, SimulationCase& out) {
  const Problem& problem = out.request.problem;
  out.costs =
      std::make_unique<StepCost>(problem.model, problem.cluster, problem.engine, problem.workload);
  for (const Pool& pool : out.plan.pools) {
    Plan own = plan;
    if (pool.role == Role::Prefill) {
      PF_ASSIGN(own, load_prefill_pool(plan, problem.model));
    }
    PF_ASSIGN(ReplicaPool made, make_pool(o, out, own, pool));
    if (pool.role == Role::Decode) {
      out.service.decode = std::move(made);
    } else {
      out.service.serving = std::move(made);
    }
    Worker worker = pool.worker;
    worker.chunk = problem.engine.step_tokens;
    out.pricers.emplace_back(*out.costs, worker);
  }
  if (out.service.decode) {
    const double per_token = kv_transfer_seconds(*out.costs, out.plan.pools.front().worker) /
                             static_cast<double>(problem.workload.isl);
    out.service.transfer_s = [per_token](std::int64_t tokens) {
      return per_token * static_cast<double>(tokens);
    };
  }
  return ok_status();
}

Status check_numbers(const SimulateOptions& o) {
  struct Bound {
    const char* name;
    std::optional<std::int64_t> value;
    std::int64_t high;
  };
  for (const Bound& bound : {Bound{"--max-sequences", o.max_sequences, std::int64_t{1} << 20},
                             Bound{"--step-tokens", o.step_tokens, std::int64_t{1} << 24},
                             Bound{"--kv-tokens", o.kv_tokens, std::int64_t{1} << 34},
                             Bound{"--max-context", o.max_context, std::int64_t{1} << 34}}) {
    if (bound.value && (*bound.value < 1 || *bound.value > bound.high)) {
      return refused(
          fmt::format("{} must be 1 to {}, not {}", bound.name, bound.high, *bound.value));
    }
  }
  if (o.memory_fraction && !(*o.memory_fraction > 0 && *o.memory_fraction <= 1)) {
    return refused(
        fmt::format("--memory-fraction must be above 0 and at most 1, not {}", *o.memory_fraction));
  }
  return ok_status();
}

}  // namespace

Result<ServiceTargets> parse_slo(const std::string& text) {
  constexpr std::array<std::string_view, 3> kNames = {"ttft", "tpot", "e2e"};
  ServiceTargets out;
  const std::array<std::optional<double>*, 3> fields = {&out.ttft_s, &out.tpot_s, &out.e2e_s};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    at = end + 1;
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return refused(
          fmt::format("--slo wants limits such as ttft=1s,tpot=20ms, not {}", quote_text(part)));
    }
    PF_ASSIGN(const std::size_t which, choice(part.substr(0, equals), "--slo limit", kNames));
    const std::string name(kNames[which]);
    if (*fields[which]) return refused(fmt::format("--slo gives {} twice", name));
    PF_ASSIGN(*fields[which], parse_seconds(part.substr(equals + 1), name));
    if (!(**fields[which] > 0)) return refused(fmt::format("--slo {} must be above 0", name));
  }
  return out;
}

Result<std::unique_ptr<SimulationCase>> simulation_case(const SimulateOptions& o) {
  PF_TRY(check_numbers(o));
  auto out = std::make_unique<SimulationCase>();
  PF_ASSIGN(out->slo, parse_slo(o.slo));
  PF_ASSIGN(Plan plan, read_plan_or_shorthand(o.plan));
  PF_ASSIGN(out->trace, read_trace(o));
  PlanVerbOptions asked = o.request;
  if (asked.model.empty()) asked.model = plan.model;
  if (asked.gpu.empty() && asked.cluster.empty()) asked.gpu = plan.device;
  if (asked.model.empty()) return refused("no model: give --model NAME, or a plan that names one");
  PF_ASSIGN(const ShapeInput model, load_shape(asked.model));
  out->positions = model.model.max_positions;
  if (out->positions > 0) {
    out->too_long = drop_longer_than(out->trace, out->positions);
    if (out->trace.requests.empty()) {
      return refused(fmt::format("every request is longer than the {} positions of {}",
                                 out->positions, model.model.name));
    }
  }
  set_lengths(out->trace, asked);
  PF_ASSIGN(out->request, plan_request(asked));
  plan.model = asked.model;
  Problem& problem = out->request.problem;
  if (o.memory_fraction) problem.targets.memory_fraction = *o.memory_fraction;
  if (o.step_tokens) problem.engine.step_tokens = *o.step_tokens;
  if (o.max_sequences) problem.engine.max_sequences = *o.max_sequences;
  PF_ASSIGN(out->plan, contender_of(plan, problem, plan_name(plan, "plan")));
  PF_TRY(make_service(o, plan, *out));
  return out;
}

}  // namespace pentafold
