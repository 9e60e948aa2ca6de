// A simulation as text, as JSON and as a table of requests.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/simulate.h"
#include "report/percentiles.h"

namespace pentafold {
namespace {

using Json = nlohmann::ordered_json;

// Columns of a curve in text, and points of one in JSON.
constexpr std::size_t kTextColumns = 60;
constexpr std::size_t kJsonPoints = 256;

using Curve = std::vector<double>;

// Means over equal numbers of buckets.
Curve thinned(const Curve& curve, std::size_t most) {
  const std::size_t each = (curve.size() + most - 1) / most;
  Curve out;
  for (std::size_t i = 0; i < curve.size(); i += each) {
    const std::size_t end = std::min(i + each, curve.size());
    double sum = 0;
    for (std::size_t k = i; k < end; ++k) sum += curve[k];
    out.push_back(sum / static_cast<double>(end - i));
  }
  return out;
}

struct PoolCurves {
  double bucket_s = 0;
  Curve queue, running, kv, busy;  // sequences, sequences, share, share
};

PoolCurves curves_of(const PoolUse& use, std::size_t most) {
  PoolCurves out;
  const auto blocks = static_cast<double>(std::max<std::int64_t>(use.blocks, 1));
  const auto replicas = static_cast<double>(std::max<std::int64_t>(use.replicas, 1));
  for (const LoadLevel& level : use.series.means()) {
    out.queue.push_back(level.waiting);
    out.running.push_back(level.running);
    out.kv.push_back(level.kv_blocks / blocks);
    out.busy.push_back(level.busy / replicas);
  }
  const std::size_t each = std::max<std::size_t>((out.queue.size() + most - 1) / most, 1);
  out.bucket_s = use.series.bucket_s() * static_cast<double>(each);
  for (Curve* curve : {&out.queue, &out.running, &out.kv, &out.busy}) {
    *curve = thinned(*curve, most);
  }
  return out;
}

// Eighths of a block: U+2581 to U+2588, a blank for nothing.
std::string sparkline(const Curve& curve, double top) {
  std::string out;
  for (const double value : curve) {
    const double part = top > 0 ? value / top : 0;
    const int eighths = std::clamp(static_cast<int>(std::ceil(part * 8)), 0, 8);
    if (eighths == 0) {
      out += ' ';
    } else {
      out += "\xE2\x96";
      out += static_cast<char>(0x80 + eighths);
    }
  }
  return out;
}

double largest(const Curve& curve) {
  return curve.empty() ? 0 : *std::ranges::max_element(curve);
}

struct NamedDistribution {
  const char* name;
  const char* key;
  const Distribution& values;
};

std::vector<NamedDistribution> distributions(const ServiceSummary& s) {
  return {{"TTFT", "ttft_s", s.ttft},
          {"TPOT", "tpot_s", s.tpot},
          {"ITL", "itl_s", s.itl},
          {"E2E", "e2e_s", s.e2e},
          {"queue", "queue_s", s.queue}};
}

// One metric of the same requests, measured and simulated.
struct HeldAgainst {
  const char* name;
  const char* key;
  Percentiles measured;
  Percentiles simulated;
};

std::vector<HeldAgainst> comparisons(const SimulationAnswer& answer) {
  const Trace& trace = answer.asked.trace;
  std::array<std::vector<double>, 3> measured;
  std::array<std::vector<double>, 3> simulated;
  for (std::size_t i = 0; i < trace.measured.size(); ++i) {
    const MeasuredTimes& times = trace.measured[i];
    const RequestOutcome& outcome = answer.found.requests[i];
    if (!times.known || outcome.rejected) continue;
    measured[0].push_back(times.ttft_s);
    simulated[0].push_back(outcome.ttft());
    measured[1].push_back(times.last_s);
    simulated[1].push_back(outcome.e2e());
    if (outcome.output < 2) continue;
    measured[2].push_back((times.last_s - times.ttft_s) / (outcome.output - 1));
    simulated[2].push_back(outcome.tpot());
  }
  constexpr std::array<std::pair<const char*, const char*>, 3> kNames = {
      {{"TTFT", "ttft_s"}, {"E2E", "e2e_s"}, {"TPOT", "tpot_s"}}};
  std::vector<HeldAgainst> out;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (measured[i].empty()) continue;
    out.push_back({kNames[i].first, kNames[i].second, percentiles_of(measured[i]),
                   percentiles_of(simulated[i])});
  }
  return out;
}

double error_of(double simulated, double measured) {
  return measured > 0 ? simulated / measured - 1 : 0;
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

double mean_tokens(const Trace& trace, std::int64_t TraceRequest::* tokens) {
  double sum = 0;
  for (const TraceRequest& request : trace.requests) {
    sum += static_cast<double>(request.*tokens);
  }
  return sum / static_cast<double>(trace.requests.size());
}

std::string format_trace(const SimulationCase& asked) {
  const Trace& trace = asked.trace;
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
  if (asked.too_long > 0) {
    out += fmt::format("left out: {} requests longer than the model's {} positions\n",
                       asked.too_long, asked.positions);
  }
  return out;
}

std::string format_pool_limits(const SimulationCase& asked, std::size_t i) {
  const Pool& pool = asked.plan.pools[i];
  const BatchLimits& limits = asked.pool(i).limits;
  return fmt::format(
      "{} x {} ({})\n  KV {} tokens in each of {} dp groups; at most {} sequences, {} rows a step, "
      "{} of one prompt\n",
      pool.replicas, describe(pool.worker), to_string(pool.role),
      limits.blocks_per_group * limits.block_tokens, limits.groups,
      std::min(limits.max_sequences, limits.max_group_sequences * limits.groups),
      limits.step_tokens, limits.piece_tokens);
}

std::string format_latencies(const ServiceSummary& summary) {
  std::string out =
      fmt::format("\n{:<8}{:>12}{:>12}{:>12}{:>12}\n", "", "mean", "p50", "p90", "p99");
  for (const NamedDistribution& d : distributions(summary)) {
    if (d.values.n == 0) continue;
    out += fmt::format("{:<8}{:>12}{:>12}{:>12}{:>12}\n", d.name, format_seconds(d.values.mean),
                       format_seconds(d.values.p50), format_seconds(d.values.p90),
                       format_seconds(d.values.p99));
  }
  return out;
}

std::string format_throughput(const SimulationAnswer& answer) {
  const ServiceSummary& s = answer.found.summary;
  const ServiceTargets& slo = answer.asked.slo;
  std::string out = fmt::format(
      "\n{} requests served in {}: {:.3g}/s, {:.1f} tokens/s generated ({:.1f} a GPU), {:.1f} with "
      "prompts\n",
      s.finished, format_seconds(s.duration_s), s.requests_per_s, s.output_tokens_per_s,
      s.output_tokens_per_s_per_gpu, s.total_tokens_per_s);
  if (slo.any()) {
    std::string limits;
    const auto add = [&](const char* name, const std::optional<double>& limit) {
      if (limit)
        limits +=
            fmt::format("{} {} within {}", limits.empty() ? "" : ",", name, format_seconds(*limit));
    };
    add("TTFT", slo.ttft_s);
    add("TPOT", slo.tpot_s);
    add("E2E", slo.e2e_s);
    const auto n = static_cast<double>(std::max<std::int64_t>(s.finished + s.rejected, 1));
    out += fmt::format("goodput: {} requests ({}) had{}: {:.3g}/s\n", s.good,
                       percent(static_cast<double>(s.good) / n), limits, s.goodput_per_s);
  }
  if (s.shared_prompt_share > 0) {
    out += fmt::format("prefixes: {} of the prompts' tokens were in a cache already\n",
                       percent(s.shared_prompt_share));
  }
  if (s.preemptions > 0) out += fmt::format("preemptions: {}\n", s.preemptions);
  if (s.rejected > 0) {
    out += fmt::format("rejected: {} requests that the KV blocks of one dp group cannot hold\n",
                       s.rejected);
  }
  return out;
}

std::string format_pool_use(const SimulationAnswer& answer, std::size_t i) {
  const PoolUse& use = answer.found.pools[i];
  const PoolTime& time = answer.time[i];
  const double total = std::max(time.total(), 1e-300);
  const PoolCurves curves = curves_of(use, kTextColumns);
  std::string out = fmt::format(
      "\n{}: {} steps; ranks compute {}, communicate {}, wait in the pipeline {}, idle {}\n",
      to_string(answer.asked.plan.pools[i].role), use.steps, percent(time.compute / total),
      percent(time.communication / total), percent(time.bubble / total),
      percent(time.idle / total));
  const auto line = [&](const char* name, const Curve& curve, double top, const std::string& most) {
    out += fmt::format("  {:<8}|{}| {}\n", name, sparkline(curve, top), most);
  };
  out += fmt::format("  over time, a column is {}\n", format_seconds(curves.bucket_s));
  line("queue", curves.queue, largest(curves.queue),
       fmt::format("up to {:.0f}", largest(curves.queue)));
  line("running", curves.running, largest(curves.running),
       fmt::format("up to {:.0f}", largest(curves.running)));
  line("KV", curves.kv, 1, fmt::format("peak {}", percent(use.peak_kv_share)));
  line("busy", curves.busy, 1, fmt::format("mean {}", percent(use.busy_share)));
  return out;
}

std::string format_measured(const std::vector<HeldAgainst>& compared) {
  if (compared.empty()) return "";
  std::string out =
      fmt::format("\n{:<10}{:>12}{:>12}{:>9}   of {} requests that were measured\n", "",
                  "simulated", "measured", "error", compared.front().measured.count);
  const auto line = [&](const std::string& name, double simulated, double measured) {
    out += fmt::format("{:<10}{:>12}{:>12}{:>+8.1f} %\n", name, format_seconds(simulated),
                       format_seconds(measured), 100 * error_of(simulated, measured));
  };
  for (const HeldAgainst& c : compared) {
    line(fmt::format("{} mean", c.name), c.simulated.mean, c.measured.mean);
    line(fmt::format("{} p50", c.name), c.simulated.p50, c.measured.p50);
    line(fmt::format("{} p90", c.name), c.simulated.p90, c.measured.p90);
    line(fmt::format("{} p99", c.name), c.simulated.p99, c.measured.p99);
  }
  return out;
}

Json measured_json(const std::vector<HeldAgainst>& compared) {
  Json out = Json::object();
  const auto entry = [](double simulated, double measured) {
    return Json{
        {"simulated", simulated}, {"measured", measured}, {"error", error_of(simulated, measured)}};
  };
  for (const HeldAgainst& c : compared) {
    out[c.key] = {{"n", c.measured.count},
                  {"mean", entry(c.simulated.mean, c.measured.mean)},
                  {"p50", entry(c.simulated.p50, c.measured.p50)},
                  {"p90", entry(c.simulated.p90, c.measured.p90)},
                  {"p99", entry(c.simulated.p99, c.measured.p99)}};
  }
  return out;
}

Json pool_json(const SimulationAnswer& answer, std::size_t i) {
  const Pool& pool = answer.asked.plan.pools[i];
  const PoolUse& use = answer.found.pools[i];
  const BatchLimits& limits = answer.asked.pool(i).limits;
  const PoolTime& time = answer.time[i];
  const double total = std::max(time.total(), 1e-300);
  const PoolCurves curves = curves_of(use, kJsonPoints);
  return {{"worker", describe(pool.worker)},
          {"role", to_string(pool.role)},
          {"replicas", pool.replicas},
          {"gpus", pool.gpus()},
          {"router", to_string(answer.asked.pool(i).router)},
          {"kv_blocks_per_group", limits.blocks_per_group},
          {"steps", use.steps},
          {"busy_share", use.busy_share},
          {"peak_kv_share", use.peak_kv_share},
          {"time_share",
           {{"compute", time.compute / total},
            {"communication", time.communication / total},
            {"bubble", time.bubble / total},
            {"idle", time.idle / total}}},
          {"series",
           {{"bucket_s", curves.bucket_s},
            {"queue", curves.queue},
            {"running", curves.running},
            {"kv_share", curves.kv},
            {"busy_share", curves.busy}}}};
}

Json summary_json(const SimulationAnswer& answer) {
  const ServiceSummary& s = answer.found.summary;
  Json out = {{"finished", s.finished},
              {"rejected", s.rejected},
              {"too_long", answer.asked.too_long},
              {"preemptions", s.preemptions},
              {"duration_s", s.duration_s},
              {"requests_per_s", s.requests_per_s},
              {"output_tokens_per_s", s.output_tokens_per_s},
              {"output_tokens_per_s_per_gpu", s.output_tokens_per_s_per_gpu},
              {"total_tokens_per_s", s.total_tokens_per_s},
              {"shared_prompt_share", s.shared_prompt_share}};
  for (const NamedDistribution& d : distributions(s)) {
    out[d.key] = {{"n", d.values.n},
                  {"mean", d.values.mean},
                  {"p50", d.values.p50},
                  {"p90", d.values.p90},
                  {"p99", d.values.p99}};
  }
  if (answer.asked.slo.any()) {
    out["goodput"] = {{"requests", s.good}, {"requests_per_s", s.goodput_per_s}};
  }
  return out;
}

}  // namespace

std::string format_simulation(const SimulationAnswer& answer) {
  const SimulationCase& asked = answer.asked;
  const Problem& problem = asked.request.problem;
  std::string out = fmt::format("{} on {} GPUs ({}), engine {}\n", problem.model.name,
                                asked.plan.gpus(), problem.cluster.gpu.name, problem.engine.name);
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) out += format_pool_limits(asked, i);
  out += format_trace(asked);
  if (answer.found.summary.finished > 0) out += format_latencies(answer.found.summary);
  out += format_throughput(answer);
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) out += format_pool_use(answer, i);
  return out + format_measured(comparisons(answer));
}

std::string simulation_json(const SimulationAnswer& answer) {
  const SimulationCase& asked = answer.asked;
  const Problem& problem = asked.request.problem;
  const Trace& trace = asked.trace;
  Json out = {{"model", problem.model.name},
              {"gpu", problem.cluster.gpu.name},
              {"gpus", asked.plan.gpus()},
              {"engine", problem.engine.name},
              {"trace",
               {{"file", trace.file},
                {"format", to_string(trace.format)},
                {"requests", trace.requests.size()},
                {"arrivals_s", trace.duration_s()},
                {"concurrency", trace.concurrency},
                {"mean_prompt_tokens", mean_tokens(trace, &TraceRequest::prompt_tokens)},
                {"mean_output_tokens", mean_tokens(trace, &TraceRequest::output_tokens)}}},
              {"summary", summary_json(answer)},
              {"pools", Json::array()}};
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) {
    out["pools"].push_back(pool_json(answer, i));
  }
  const std::vector<HeldAgainst> compared = comparisons(answer);
  if (!compared.empty()) out["measured"] = measured_json(compared);
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status write_requests(const SimulationAnswer& answer, const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return make_error(ErrorCode::Io, "cannot be written; check the path", path);
  fmt::print(file,
             "request,arrival_s,prompt_tokens,output_tokens,replica,decode_replica,scheduled_s,"
             "first_token_s,finish_s,shared_tokens,preemptions,rejected\n");
  for (std::size_t i = 0; i < answer.found.requests.size(); ++i) {
    const RequestOutcome& r = answer.found.requests[i];
    fmt::print(file, "{},{:.6f},{},{},{},{},{:.6f},{:.6f},{:.6f},{},{},{}\n", i, r.arrival_s,
               r.prompt, r.output, r.replica, r.decode_replica, r.scheduled_s, r.first_token_s,
               r.finish_s, r.shared, r.preemptions, r.rejected ? 1 : 0);
  }
  const bool failed = std::ferror(file) != 0;
  const bool closed = std::fclose(file) == 0;
  if (closed && !failed) return ok_status();
  return make_error(ErrorCode::Io, "cannot be written to its end; is the disk full?", path);
}

}  // namespace pentafold
