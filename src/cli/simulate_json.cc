// A simulation as JSON and as a table of requests.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/simulate.h"
#include "cli/simulate_figures.h"

namespace pentafold {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPoints = 256;  // of a curve

Json measured_json(const std::vector<MeasuredMetric>& compared) {
  Json out = Json::object();
  const auto entry = [](double simulated, double measured) {
    return Json{
        {"simulated", simulated}, {"measured", measured}, {"error", error_of(simulated, measured)}};
  };
  for (const MeasuredMetric& c : compared) {
    out[c.key] = {{"n", c.measured.n},
                  {"mean", entry(c.simulated.mean, c.measured.mean)},
                  {"p50", entry(c.simulated.p50, c.measured.p50)},
                  {"p90", entry(c.simulated.p90, c.measured.p90)},
                  {"p99", entry(c.simulated.p99, c.measured.p99)}};
  }
  return out;
}

Json time_json(const RankTime& time) {
  return {{"compute", time.compute},
          {"communication", time.communication},
          {"waiting", time.waiting},
          {"bubble", time.bubble},
          {"idle", time.idle}};
}

Json pool_json(const SimulationAnswer& answer, std::size_t i) {
  const Pool& pool = answer.asked.plan.pools[i];
  const PoolUse& use = answer.found.pools[i];
  const BatchLimits& limits = answer.asked.pool(i).limits;
  Json ranks = Json::array();
  for (const RankTime& rank : answer.ranks[i]) {
    Json entry = {{"stage", rank.stage},
                  {"rank", rank.rank},
                  {"dp_group", rank.dp_group},
                  {"expert_group", rank.expert_group}};
    entry.update(time_json(rank));
    ranks.push_back(std::move(entry));
  }
  const PoolCurves curves = curves_of(use, kPoints);
  return {{"worker", describe(pool.worker)},
          {"role", to_string(pool.role)},
          {"replicas", pool.replicas},
          {"gpus", pool.gpus()},
          {"router", to_string(answer.asked.pool(i).router)},
          {"kv_blocks_per_group", limits.blocks_per_group},
          {"steps", use.steps},
          {"busy_share", use.busy_share},
          {"peak_kv_share", use.peak_kv_share},
          {"time_share", time_json(mean_of(answer.ranks[i]))},
          {"ranks", std::move(ranks)},
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
              {"too_long", answer.asked.arriving.left_out.requests},
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

std::string simulation_json(const SimulationAnswer& answer) {
  const SimulationCase& asked = answer.asked;
  const Problem& problem = asked.request.problem;
  const Trace& trace = asked.arriving.trace;
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
              {"step_factor80", answer.step_factor},
              {"summary", summary_json(answer)},
              {"pools", Json::array()}};
  for (std::size_t i = 0; i < asked.plan.pools.size(); ++i) {
    out["pools"].push_back(pool_json(answer, i));
  }
  const std::vector<MeasuredMetric> compared = measured_metrics(answer);
  if (!compared.empty()) out["measured"] = measured_json(compared);
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status write_requests(const SimulationAnswer& answer, const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr)
    return make_error(ErrorCode::Io, fmt::format("cannot be written ({})", std::strerror(errno)),
                      path);
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
