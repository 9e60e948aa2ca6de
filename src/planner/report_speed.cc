// Seconds of a pass and a step, what they make of a request, and the same at other prompt lengths.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "planner/plan_report_parts.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

constexpr std::array<std::int64_t, 5> kLengths = {128, 512, 1024, 4096, 10240};

std::string cost_table(ReportContext& x, const char* phase, const char* whole, const Cost& cost) {
  std::string sum;
  for (std::size_t i = 0; i < kBounds; ++i) {
    const std::string id = fmt::format("{}.by.{}", phase, figure_name(static_cast<Bound>(i)));
    x.figures.value({id, cost.by[i], U::Seconds,
                     fmt::format("bound by {}", to_string(static_cast<Bound>(i))), "",
                     "predict/step_cost.h: rooflines and links of the slowest stage, layer by "
                     "layer, with hw.* and cost.*"});
    sum += (sum.empty() ? "" : " + ") + id;
  }
  const std::string all = fmt::format("{}.{}", phase, whole);
  const std::string total = x.figures.show(
      {all, cost.seconds, U::Seconds, fmt::format("one {} {}", phase, whole), sum, ""});
  MarkdownTable table({"bound by", "seconds", "share"});
  for (std::size_t i = 0; i < kBounds; ++i) {
    const std::string id = fmt::format("{}.by.{}", phase, figure_name(static_cast<Bound>(i)));
    const std::string share =
        x.figures.show({fmt::format("{}.share.{}", phase, figure_name(static_cast<Bound>(i))),
                        cost.by[i] / cost.seconds, U::Share, "part of the time",
                        fmt::format("{} / {}", id, all), ""});
    if (cost.by[i] <= 0) continue;
    table.add({to_string(static_cast<Bound>(i)), x.figures.show(*x.figures.find(id)), share});
  }
  table.add({"all", total, ""});
  return table.text();
}

// Formula of the sequences that finish in one cycle over the seconds of it.
std::string requests_formula(const ReportPool& p, bool steps) {
  switch (p.pool.role) {
    case Role::Prefill:
      return fmt::format("prefill.prompts * {}plan.dp / prefill.pass", p.prefix);
    case Role::Decode:
      return fmt::format("{0}plan.batch * {0}plan.dp / ((workload.osl - 1) * decode.step)",
                         p.prefix);
    case Role::Both:
      return fmt::format("plan.batch * plan.dp / ({}prefill.passes * prefill.pass)",
                         steps ? "(workload.osl - 1) * decode.step + " : "");
  }
  return "";
}

void request_figures(ReportContext& x, MarkdownTable& table) {
  const bool steps = x.problem.workload.osl > 1;
  for (const ReportPool& p : x.pools) {
    const Rates& r = p.prediction.rates;
    if (p.pool.role == Role::Both) {
      const double passes = std::max(
          static_cast<double>(p.worker().batch) / static_cast<double>(p.prediction.timing.prompts),
          1.0);
      table.add({"prefill passes while a batch lives",
                 x.figures.show({"prefill.passes", passes, U::Ratio,
                                 "passes in the cycle that finishes a batch",
                                 "max(plan.batch / prefill.prompts, 1)", ""})});
    }
    if (p.decodes() && steps) {
      const std::string formula =
          p.pool.role == Role::Both
              ? "decode.step + (prefill.passes - 1) * prefill.pass / (workload.osl - 1)"
              : "decode.step";
      table.add({"TPOT",
                 x.figures.show({"decode.tpot", r.tpot_s, U::Seconds, "time per output token, mean",
                                 formula, "passes of other requests stretch it"})});
      table.add({"tokens/s of a user",
                 x.figures.show({"decode.per_user", 1 / r.tpot_s, U::TokensPerSecond,
                                 "generated for one request", "1 / decode.tpot", ""})});
    }
    if (p.decodes() && !steps && p.pool.role == Role::Decode) continue;
    table.add(
        {"requests of a worker" + p.title(),
         x.figures.show({p.id("worker.requests"), r.requests_per_s, U::RequestsPerSecond,
                         "requests that a full worker finishes", requests_formula(p, steps), ""})});
  }
}

// Figures of TTFT: a pass or what it waits for, the cache's way to the decoders, the queue.
void first_token_figures(ReportContext& x, MarkdownTable& table) {
  const ReportPool& p = x.prefill();
  if (!p.prefills()) return;
  const Rates& r = p.prediction.rates;
  const bool waits = p.pool.role == Role::Both && p.worker().batch > p.prediction.timing.prompts;
  const bool steps = x.problem.workload.osl > 1;
  table.add(
      {"first token, no queue",
       x.figures.show({"prefill.alone", r.ttft_s, U::Seconds, "a pass, and what is in progress",
                       !waits  ? "prefill.pass"
                       : steps ? "1.5 * prefill.pass + 0.5 * decode.step"
                               : "1.5 * prefill.pass",
                       "half of the step and the pass in progress is waited for"})});
  if (!x.score) return;
  std::string sum = "prefill.alone";
  double rest = x.score->ttft_s - r.ttft_s;
  if (x.split()) {
    const double transfer = kv_transfer_seconds(x.costs, p.worker());
    table.add(
        {"cache to the decoders", x.figures.show({"prefill.transfer", transfer, U::Seconds,
                                                  "KV of one request over the outermost link", "",
                                                  "predict/worker_cost.h: kv_transfer_seconds"})});
    sum += " + prefill.transfer";
    rest -= transfer;
  }
  if (rest > 1e-12 || x.split()) {
    table.add({"queue", x.figures.show({"prefill.queue", std::max(rest, 0.0), U::Seconds,
                                        "mean wait at the load planned", "",
                                        "M/D/1 (Pollaczek-Khinchine): load / (2 (1 - load)) x "
                                        "prefill.pass; the load is what TTFT leaves room for, at "
                                        "most 90 %, or what arrives"})});
    sum += " + prefill.queue";
  }
  table.add({"TTFT", x.figures.show({"prefill.ttft", x.score->ttft_s, U::Seconds,
                                     "time to the first token, mean", sum, ""})});
}

void throughput_figures(ReportContext& x, MarkdownTable& table) {
  const Score& s = *x.score;
  Figures& f = x.figures;
  const auto provisioned = static_cast<double>(s.provisioned);
  table.add(
      {"GPUs paid for", f.show({"plan.provisioned", provisioned, U::Count, "GPUs paid for",
                                s.provisioned == s.gpus ? "plan.gpus" : "workload.gpus", ""})});
  if (x.split()) {
    const double most = static_cast<double>(x.prefill().pool.replicas) *
                        x.prefill().prediction.rates.requests_per_s;
    table.add({"requests/s",
               f.show({"throughput.requests", s.requests_per_s, U::RequestsPerSecond,
                       "finished, all workers", "",
                       "the lesser of prefill.plan.replicas x prefill.worker.requests x load and "
                       "decode.plan.replicas x decode.worker.requests"})});
    table.add(
        {"load of the prefill pool",
         f.show({"prefill.load", s.requests_per_s / most, U::Share, "time that it computes",
                 "throughput.requests / (prefill.plan.replicas * prefill.worker.requests)", ""})});
  } else {
    const double full =
        static_cast<double>(x.decode().pool.replicas) * x.decode().prediction.rates.requests_per_s;
    table.add({"slots in use", f.show({"throughput.filled", s.requests_per_s / full, U::Share,
                                       "part of the slots that the batch asked for fills", "",
                                       "1, or workload.batch over all slots where that is less"})});
    table.add({"requests/s", f.show({"throughput.requests", s.requests_per_s, U::RequestsPerSecond,
                                     "finished, all workers",
                                     "plan.replicas * worker.requests * throughput.filled", ""})});
  }
  const char* tokens = x.problem.workload.rate_per_s
                           ? "min(throughput.requests, workload.rate) * workload.osl"
                           : "throughput.requests * workload.osl";
  table.add({"tokens/s", f.show({"throughput.tokens", s.tokens_per_s, U::TokensPerSecond,
                                 "generated, all workers", tokens, ""})});
  table.add({"tokens/s per GPU",
             f.show({"throughput.per_gpu", s.tokens_per_s_per_gpu(), U::TokensPerSecond,
                     "generated, per GPU paid for", "throughput.tokens / plan.provisioned", ""})});
  const ReportPool& p = x.prefill();
  table.add({"prompt tokens/s per GPU",
             f.show({"throughput.prefill_per_gpu", s.prefill_tokens_per_s_per_gpu,
                     U::TokensPerSecond, "while prompts are computed, per GPU paid for",
                     fmt::format("workload.isl * prefill.prompts * {0}plan.dp / prefill.pass * "
                                 "{0}plan.replicas / plan.provisioned",
                                 p.prefix),
                     ""})});
  const double price = x.problem.cluster.gpu.dollars_per_hour;
  if (price <= 0) return;
  f.value({"hw.price", price, U::Dollars, "per GPU and hour", "", "GPU catalog"});
  table.add(
      {"cost per million tokens",
       f.show({"throughput.cost", s.dollars_per_mtok(x.problem.cluster.gpu), U::Dollars,
               "per million generated", "hw.price / 3600 / throughput.per_gpu * 1000000", ""})});
}

}  // namespace

const char* figure_name(Bound bound) {
  constexpr std::array<const char*, kBounds> kNames = {"flops",   "weights", "kv",    "link",
                                                       "latency", "fixed",   "bubble"};
  return kNames[static_cast<std::size_t>(bound)];
}

std::string speed_section(ReportContext& x) {
  std::string out = "## Speed\n\n";
  for (const ReportPool& p : x.pools) {
    if (p.prefills()) {
      out += fmt::format(
          "Prefill: one pass takes {} prompts in each dp group.\n\n",
          x.figures.show({"prefill.prompts", static_cast<double>(p.prediction.timing.prompts),
                          U::Count, "prompts of a pass, per dp group", "",
                          "as many as fit into a chunk, at least one"}));
      out += cost_table(x, "prefill", "pass", p.prediction.prefill);
    }
    if (p.decodes()) {
      out += "Decode: one step of all microbatches, a token for every sequence.\n\n";
      out += cost_table(x, "decode", "step", p.prediction.decode);
    }
  }
  MarkdownTable table({"of a request, of all", "value"});
  request_figures(x, table);
  first_token_figures(x, table);
  if (x.score) throughput_figures(x, table);
  return out + table.text();
}

LengthPoint at_workload(const Problem& problem, const std::vector<ReportPool>& pools,
                        const Workload& workload) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, workload);
  LengthPoint point;
  double requests = 0;
  double gpus = 0;
  for (const ReportPool& p : pools) {
    Worker worker = p.worker();
    const RankBytes one = predict_worker(costs, worker, p.pool.role).memory;
    const double each = one.kv / static_cast<double>(worker.batch);
    const double room = problem.memory_limit() - (one.total() - one.kv);
    if (room < each) return {};
    if (each > 0) {
      const double admitted = std::min(std::floor(room / each), 1e9);
      worker.batch = std::min(worker.batch, static_cast<std::int64_t>(admitted));
    }
    const Rates rates = predict_worker(costs, worker, p.pool.role).rates;
    const auto n = static_cast<double>(p.pool.replicas);
    gpus += static_cast<double>(p.pool.gpus());
    // A queue before a pool of its own needs room.
    const double able =
        n * rates.requests_per_s * (p.pool.role == Role::Prefill ? kHighestLoad : 1);
    requests = requests == 0 ? able : std::min(requests, able);
    point.batch = worker.batch;
    if (p.decodes()) point.tpot_s = rates.tpot_s;
    if (p.prefills()) {
      point.ttft_s = rates.ttft_s;
      if (pools.size() == 2) point.ttft_s += kv_transfer_seconds(costs, worker);
      point.prefill_tokens_per_s_per_gpu = n * rates.prefill_tokens_per_s;
    }
  }
  point.tokens_per_s_per_gpu = requests * static_cast<double>(workload.osl) / gpus;
  point.prefill_tokens_per_s_per_gpu /= gpus;
  return point;
}

std::string lengths_section(ReportContext& x) {
  const std::string out =
      "## By prompt length\n\nThe same workers at other prompt lengths; the batch shrinks to what "
      "memory admits. Without queues, a prefill pool at most 90 % busy; per GPU in use. Row n has "
      "the figures length.n.*\n\n";
  MarkdownTable table({"prompt", "batch .batch", "TTFT .ttft", "TPOT .tpot",
                       "tokens/s per GPU .per_gpu", "prompt tokens/s per GPU .prefill_per_gpu",
                       "figures"});
  const ModelShape& model = x.problem.model;
  for (const std::int64_t isl : kLengths) {
    Workload workload = x.problem.workload;
    workload.isl = isl;
    if (model.max_positions > 0 && isl + workload.osl > model.max_positions) continue;
    const LengthPoint point = at_workload(x.problem, x.pools, workload);
    const std::string group = fmt::format("length.{}", isl);
    const std::string source = fmt::format(
        "predict/worker_cost.h: predict_worker at {} prompt tokens, all else as planned", isl);
    if (point.batch == 0) {
      table.add({fmt::format("{}", isl), "not one sequence fits", "-", "-", "-", "-", "-"});
      continue;
    }
    const auto cell = [&](const char* name, double value, U unit, const char* what) {
      return x.figures.value({group + "." + name, value, unit, what, "", source});
    };
    table.add({fmt::format("{}", isl),
               cell("batch", static_cast<double>(point.batch), U::Count, "sequences of a dp group"),
               cell("ttft", point.ttft_s, U::Seconds, "TTFT without queue"),
               cell("tpot", point.tpot_s, U::Seconds, "TPOT"),
               cell("per_gpu", point.tokens_per_s_per_gpu, U::TokensPerSecond,
                    "generated, per GPU in use"),
               cell("prefill_per_gpu", point.prefill_tokens_per_s_per_gpu, U::TokensPerSecond,
                    "prompt tokens while prompts are computed, per GPU in use"),
               "[" + group + "]"});
  }
  return out + table.text();
}

}  // namespace pentafold
