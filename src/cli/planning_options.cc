#include "cli/planning_options.h"

#include <CLI/CLI.hpp>

namespace pentafold {
namespace {

// Lengths and rate of a steady state; `plan` takes those of add_arrivals.
void add_steady(CLI::App* verb, PlanVerbOptions& o) {
  verb->add_option("--isl", o.isl, "tokens of a prompt")->type_name("TOKENS");
  verb->add_option("--osl", o.osl, "tokens of an answer")->type_name("TOKENS");
  verb->add_option("--rate", o.rate, "requests that arrive: 12/s");
}

// What a plan is for: a model, a fleet and a workload.
void add_problem(CLI::App* verb, PlanVerbOptions& o) {
  verb->add_option("--model", o.model,
                   "name of the catalog (pentafold models), checkpoint directory, config.json or "
                   "shape spec")
      ->type_name("MODEL");
  verb->add_option("--gpu", o.gpu, "name of the catalog (pentafold clusters)")->type_name("GPU");
  verb->add_option("--gpus", o.gpus, "how many there are, or min: as few as will do")
      ->type_name("N|min");
  verb->add_option("--cluster", o.cluster,
                   "cluster file or name, in place of --gpu (docs/cluster-format.md)")
      ->type_name("FILE");
  verb->add_option("--batch", o.batch, "requests in flight, whole fleet; default: what is best");
  verb->add_option("--skew", o.skew,
                   "Zipf exponent of the experts' load; 0 (default): even but for chance");
  verb->add_option("--expert-load", o.expert_load,
                   "the experts' load as counted, in place of --skew: CSV, or what run --stats "
                   "--json wrote (docs/workload-format.md)")
      ->type_name("FILE");
  verb->add_option("--workload", o.workload,
                   "workload file; options given beside it win (docs/workload-format.md)")
      ->type_name("FILE");
  verb->add_option("--engine", o.engine,
                   "whose fixed costs and kernels: generic (default), vllm, sglang, tensorrt-llm, "
                   "atom; sglang@2025-11 as it was in that month (docs/engines.md)")
      ->type_name("ENGINE");
}

void add_explain(CLI::App& app, ExplainOptions& o) {
  CLI::App* verb = app.add_subcommand("explain", "why one plan beats another, on a page");
  verb->add_option("PLAN", o.plan, "plan file, or degrees such as tp=2,ep=4")->required();
  verb->add_option("--against", o.against, "the other plan")->required()->type_name("PLAN");
  add_problem(verb, o.request);
  add_steady(verb, o.request);
  verb->footer(
      "Example:\n"
      "  pentafold explain dp=8,ep=8,max_batch=256 --against tp=8,etp=8,max_batch=256 \\\n"
      "      --model qwen3-30b-a3b --gpu h200-sxm --isl 4000 --osl 1000\n"
      "Exit codes: 0 done, 2 bad input.");
}

void add_predict(CLI::App& app, PredictOptions& o) {
  CLI::App* verb = app.add_subcommand(
      "predict", "one prefill pass and one decode step of a plan in seconds, with error bars");
  verb->add_option("PLAN", o.plan, "plan file, or degrees such as tp=2,ep=4")->required();
  add_problem(verb, o.request);
  add_steady(verb, o.request);
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->footer(
      "Example:\n"
      "  pentafold predict dp=8,ep=8,max_batch=64 --model qwen3-30b-a3b --gpu h200-sxm \\\n"
      "      --isl 4000 --osl 1000 --engine vllm\n"
      "Exit codes: 0 done, 1 the plan does not fit the memory, 2 bad input.");
}

// What arrives: a trace, or a process with lengths.
void add_arrivals(CLI::App* verb, ArrivalOptions& o) {
  verb->add_option("--trace", o.trace,
                   "requests as they came: Azure CSV, Mooncake JSON lines, a CSV with columns of "
                   "known names, or the log of a measured run; .gz too (docs/workload-format.md)")
      ->type_name("FILE");
  verb->add_option("--rate", o.rate, "generated requests that arrive: 12/s")->type_name("RATE");
  verb->add_option("--arrivals", o.arrivals, "poisson (default), gamma (bursts) or uniform")
      ->type_name("PROCESS");
  verb->add_option("--cv", o.cv, "of gamma: coefficient of variation of the gaps (default 1)");
  verb->add_option("--concurrency", o.concurrency,
                   "closed loop: so many requests in flight, the next comes when one is done");
  verb->add_option("--requests", o.requests, "how many (default: 1000, or all of the trace)");
  verb->add_option("--isl", o.isl, "tokens of a prompt: 4000, or [1000,4000] for any between")
      ->type_name("TOKENS");
  verb->add_option("--osl", o.osl, "tokens of an answer, likewise")->type_name("TOKENS");
  verb->add_option("--seed", o.seed, "of generated requests")->check(CLI::NonNegativeNumber);
  verb->add_option("--time-scale", o.time_scale,
                   "arrivals so many times as far apart: 0.5 is "
                   "twice the rate");
}

void add_serving(CLI::App* verb, ServingOptions& o) {
  verb->add_option("--router", o.router,
                   "which replica: round_robin (default), least_requests, least_tokens, "
                   "prefix_aware");
  verb->add_option("--preempt", o.preempt,
                   "when KV blocks run out: recompute (default), swap; never: reserve them all");
  verb->add_option("--max-sequences", o.max_sequences,
                   "running at once in a replica (default: the plan's max_batch)");
  verb->add_option("--step-tokens", o.step_tokens,
                   "rows of a step in a dp group (default: the engine's)");
  verb->add_option("--max-context", o.max_context,
                   "adaptive batch: tokens in a dp group's cache at most (default: what fits)");
  verb->add_option("--kv-tokens", o.kv_tokens,
                   "of a replica's KV cache (default: what the memory leaves)");
  verb->add_flag("--no-prefix-cache", o.no_prefix_cache, "compute every prompt whole");
}

// The last round of a search, over what arrives.
void add_simulated(CLI::App* verb, PlanQuestionOptions& o) {
  verb->add_option("--slo", o.slo, "limits of each request, for goodput: ttft=1s,tpot=20ms,e2e=30s")
      ->type_name("LIMITS");
  verb->add_option("--simulated-plans", o.simulated_plans,
                   "how many of the best plans serve the workload that is simulated (8)")
      ->check(CLI::Range(1, 1000));
}

void add_plan(CLI::App& app, PlanQuestionOptions& options) {
  PlanVerbOptions& o = options.request;
  CLI::App* verb = app.add_subcommand(
      "plan", "the best plan for a model, a fleet, a workload and targets, or why there is none");
  add_problem(verb, o);
  add_arrivals(verb, options.arrivals);
  add_serving(verb, options.serving);
  add_simulated(verb, options);
  verb->add_option(
          "--target", o.target,
          "limits and what to optimise: ttft=1s,tpot=20ms,tokens_per_s_per_gpu=1000,"
          "prefill_tokens_per_s_per_gpu=,tokens_per_s=,dollars_per_mtok=,"
          "memory_fraction=0.9, and one of gpus=min, cost=min, ttft=min, tpot=min; of a simulated "
          "workload ttft_p99=2s (ttft, tpot, itl, e2e; _mean, _p50, _p90, _p99), goodput=12/s")
      ->type_name("TARGETS");
  verb->add_option(
      "--precision", o.precision,
      "stored, any, or a weight format (fp8, int8, int4, nvfp4, mxfp4, bf16); default: "
      "stored, and the next narrower one to compare");
  verb->add_option("--kv", o.kv, "format of the KV cache (default: as stored)");
  verb->add_option("--mode", o.mode,
                   "any (default), aggregated, or disaggregated: prefill and decode on workers of "
                   "their own");
  verb->add_option("--top-k", o.top_k, "plan as if the router took this many experts");
  verb->add_option("--dollars-per-hour", o.dollars_per_hour, "of one GPU");
  verb->add_option("--max-gpus", o.max_gpus, "most GPUs that min may use (default 1024)")
      ->check(CLI::Range(1, 65536));
  verb->add_option("--out", o.out, "write the plan file (and FILE.prefill.yaml of a split one)")
      ->type_name("FILE");
  verb->add_option("--report", o.report, "write a strategy document, every figure traceable")
      ->type_name("FILE");
  verb->add_option("--explain-number", o.explain_number,
                   "how a figure of the report came about, by its id")
      ->type_name("ID");
  verb->add_flag("--pareto", o.pareto, "the front of tokens/s/GPU against tokens/s/user");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->add_option("--threads", o.threads, "threads to search with (default 1)")
      ->check(CLI::Range(1, 256));
  verb->footer(
      "Examples:\n"
      "  pentafold plan --model qwen3-30b-a3b --gpu h200-sxm --gpus 32 --isl 4000 --osl 1000 \\\n"
      "      --target ttft=1s,tpot=20ms --out plan.yaml\n"
      "  pentafold plan --model deepseek-v3 --gpu h100-sxm --gpus min --isl 4000 --osl 1000\n"
      "  pentafold plan --model qwen3-30b-a3b --gpu h100-sxm --gpus 8 --isl 4000 --osl 1000 \\\n"
      "      --target ttft=20ms,tpot=1ms      # says why not, and what would do\n"
      "  pentafold plan --model qwen3-30b-a3b --gpu h200-sxm --gpus 4 \\\n"
      "      --trace specs/traces/chat-azure.csv --target ttft_p99=2s,tpot_p99=30ms\n"
      "Exit codes: 0 a plan, 1 there is none, 2 bad input.");
}

void add_simulate(CLI::App& app, SimulateOptions& o) {
  CLI::App* verb = app.add_subcommand(
      "simulate", "a trace of requests served under a plan: latencies, goodput, load over time");
  verb->add_option("PLAN", o.plan, "plan file, or degrees such as tp=2,ep=4")->required();
  verb->add_option("--model", o.request.model, "as for plan; default: the plan's")
      ->type_name("MODEL");
  verb->add_option("--gpu", o.request.gpu, "name of the catalog; default: the plan's device")
      ->type_name("GPU");
  verb->add_option("--cluster", o.request.cluster, "cluster file or name, in place of --gpu")
      ->type_name("FILE");
  verb->add_option("--engine", o.request.engine, "whose batching and fixed costs (docs/engines.md)")
      ->type_name("ENGINE");
  verb->add_option("--skew", o.request.skew, "Zipf exponent of the experts' load; 0 (default)");
  add_arrivals(verb, o.arrivals);
  add_serving(verb, o.serving);
  verb->add_option("--memory-fraction", o.serving.memory_fraction,
                   "of a device that may be used (0.9)");
  verb->add_option("--slo", o.slo, "limits that count for goodput: ttft=1s,tpot=20ms,e2e=30s")
      ->type_name("LIMITS");
  verb->add_option("--chrome-trace", o.chrome_trace, "write a timeline for ui.perfetto.dev")
      ->type_name("FILE");
  verb->add_option("--requests-out", o.requests_out, "write a CSV of all requests")
      ->type_name("FILE");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->footer(
      "Examples:\n"
      "  pentafold simulate tp=2,ep=2,replicas=4 --model qwen3-30b-a3b --gpu h200-sxm \\\n"
      "      --trace specs/traces/chat-azure.csv --slo ttft=1s,tpot=20ms\n"
      "  pentafold simulate plan.yaml --rate 12/s --arrivals gamma --cv 2 --requests 5000 \\\n"
      "      --isl [1000,4000] --osl 500 --engine vllm --chrome-trace timeline.json\n"
      "  pentafold simulate plan.yaml --concurrency 64 --isl 4000 --osl 1000\n"
      "Exit codes: 0 done, 1 no request could be served, 2 bad input.");
}

void add_audit(CLI::App& app, AuditOptions& o) {
  CLI::App* verb =
      app.add_subcommand("audit", "are a strategy document's claims true on its own inputs");
  verb->add_option("CLAIMS", o.claims_file, "claims file (YAML, docs/claims-format.md)")
      ->required()
      ->type_name("FILE");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->footer(
      "Example:\n"
      "  pentafold audit specs/seeds/d.claims.yaml\n"
      "Exit codes: 0 every claim holds, 1 some do not, 2 bad input.");
}

void add_catalog(CLI::App& app, PlanningOptions& o) {
  CLI::App* models = app.add_subcommand("models", "the models that can be planned for by name");
  models->add_option("NAME", o.models.name, "all about one of them");
  models->add_flag("--json", o.models.json, "one JSON document on stdout");
  models->footer("Examples:\n  pentafold models\n  pentafold models deepseek-v3");
  CLI::App* clusters = app.add_subcommand("clusters", "the GPUs and node shapes known by name");
  clusters->add_option("NAME", o.clusters.name, "all about one of them, or about a cluster file");
  clusters->add_flag("--json", o.clusters.json, "one JSON document on stdout");
  clusters->footer("Examples:\n  pentafold clusters\n  pentafold clusters dgx-h200");
}

void add_validate(CLI::App& app, ValidateVerbOptions& o) {
  CLI::App* verb = app.add_subcommand(
      "validate", "predict every row of a file of published measurements: how far off is it");
  verb->add_option("FILE", o.file, "measurements, .csv or .csv.gz (docs/validation.md)")
      ->required();
  verb->add_option("--by", o.by,
                   "break errors down by these: gpu, model, engine, metric, precision, ep, tp, dp, "
                   "pp, mode, load, source, quality")
      ->type_name("LIST");
  verb->add_option("--only", o.only, "rows that have these: gpu=h200-sxm,engine=vllm")
      ->type_name("LIST");
  verb->add_option("--rows-out", o.rows_out, "every row with its prediction, or why it has none")
      ->type_name("FILE");
  verb->add_option("--threads", o.threads, "threads (default: all)")->check(CLI::Range(1, 256));
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->add_flag("--quiet", o.quiet, "no progress on stderr");
}

}  // namespace

void add_planning_verbs(CLI::App& app, PlanningOptions& options) {
  add_plan(app, options.plan);
  add_explain(app, options.explain);
  add_predict(app, options.predict);
  add_simulate(app, options.simulate);
  add_audit(app, options.audit);
  add_catalog(app, options);
  add_validate(app, options.validate);
}

std::optional<int> run_planning_verb(const CLI::App& app, const PlanningOptions& options) {
  if (app.got_subcommand("plan")) return plan_verb(options.plan);
  if (app.got_subcommand("explain")) return explain_verb(options.explain);
  if (app.got_subcommand("simulate")) return simulate_verb(options.simulate);
  if (app.got_subcommand("predict")) return predict_verb(options.predict);
  if (app.got_subcommand("audit")) return audit_verb(options.audit);
  if (app.got_subcommand("models")) return models_verb(options.models);
  if (app.got_subcommand("clusters")) return clusters_verb(options.clusters);
  if (app.got_subcommand("validate")) return validate_verb(options.validate);
  return std::nullopt;
}

}  // namespace pentafold
