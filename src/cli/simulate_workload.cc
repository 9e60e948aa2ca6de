// The options that say what arrives and how it is served -> a trace, choices and limits.
#include "cli/simulate_workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "base/units.h"
#include "spec/arrivals.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

constexpr std::int64_t kDefaultRequests = 1000;

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

Result<Trace> generated_trace(const ArrivalOptions& o) {
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

Status check_numbers(const ServingOptions& o) {
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

Result<Trace> arriving_trace(const ArrivalOptions& o) {
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

}  // namespace

Result<ServingChoices> serving_choices(const ServingOptions& o) {
  constexpr std::array<std::string_view, 3> kPreemptions = {"never", "recompute", "swap"};
  constexpr std::array<std::string_view, 4> kRouters = {"round_robin", "least_requests",
                                                        "least_tokens", "prefix_aware"};
  PF_TRY(check_numbers(o));
  ServingChoices out;
  PF_ASSIGN(const std::size_t preemption, choice(o.preempt, "--preempt", kPreemptions));
  PF_ASSIGN(const std::size_t router, choice(o.router, "--router", kRouters));
  out.preemption = static_cast<Preemption>(preemption);
  out.router = static_cast<RouterPolicy>(router);
  out.share_prefixes = !o.no_prefix_cache;
  out.max_sequences = o.max_sequences;
  out.kv_tokens = o.kv_tokens;
  out.max_context = o.max_context;
  return out;
}

void apply_serving(const ServingOptions& o, Problem& problem) {
  if (o.memory_fraction) problem.targets.memory_fraction = *o.memory_fraction;
  if (o.step_tokens) problem.engine.step_tokens = *o.step_tokens;
  if (o.max_sequences) problem.engine.max_sequences = *o.max_sequences;
}

double mean_tokens(const Trace& trace, std::int64_t TraceRequest::* tokens) {
  double sum = 0;
  for (const TraceRequest& request : trace.requests) {
    sum += static_cast<double>(request.*tokens);
  }
  return sum / static_cast<double>(trace.requests.size());
}

MeanLengths mean_lengths(const Trace& trace) {
  const auto rounded = [&](std::int64_t TraceRequest::* tokens) {
    return std::max<std::int64_t>(std::llround(mean_tokens(trace, tokens)), 1);
  };
  return {rounded(&TraceRequest::prompt_tokens), rounded(&TraceRequest::output_tokens)};
}

std::string describe(const Trace& trace, const LeftOut& left_out) {
  const auto n = static_cast<double>(trace.requests.size());
  std::string out =
      fmt::format("{} ({}): {} requests, mean {:.0f} tokens in, {:.0f} out",
                  trace.file.empty() ? "workload" : trace.file, to_string(trace.format),
                  trace.requests.size(), mean_tokens(trace, &TraceRequest::prompt_tokens),
                  mean_tokens(trace, &TraceRequest::output_tokens));
  if (trace.concurrency > 0) {
    out += fmt::format("; {} always in flight\n", trace.concurrency);
  } else {
    out += fmt::format(
        "; {} of arrivals{}\n", format_seconds(trace.duration_s()),
        trace.duration_s() > 0 ? fmt::format(", {:.3g}/s", (n - 1) / trace.duration_s()) : "");
  }
  if (left_out.requests > 0) {
    out += fmt::format("left out: {} requests longer than the model's {} positions\n",
                       left_out.requests, left_out.positions);
  }
  return out;
}

Result<ServedTrace> trace_for(const ArrivalOptions& o, const ModelShape& model) {
  ServedTrace out;
  PF_ASSIGN(out.trace, arriving_trace(o));
  out.left_out.positions = model.max_positions;
  if (out.left_out.positions > 0) {
    out.left_out.requests = drop_longer_than(out.trace, out.left_out.positions);
    if (out.trace.requests.empty()) {
      return refused(fmt::format("every request is longer than the {} positions of {}",
                                 out.left_out.positions, model.name));
    }
  }
  return out;
}

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

}  // namespace pentafold
