#include "cli/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/units.h"
#include "cli/calibrate.h"
#include "cli/engine_inputs.h"
#include "cli/requests.h"
#include "predict/run_prediction.h"
#include "report/comparison.h"

namespace pentafold {
namespace {

// What is run when nobody says what to run.
constexpr SyntheticRequests kDefaultRequests = {8, 64, 24, 1};

struct Candidate {
  PlanAndModel loaded;
  std::vector<Request> requests;
  SchedulerLimits limits;
  std::string job;
  std::unique_ptr<Engine> engine;
  std::vector<Report> measured;
  Report predicted;
};

Result<std::vector<std::string>> plan_files(const std::vector<std::string>& named) {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  for (const std::string& name : named) {
    std::error_code error;
    if (!fs::is_directory(name, error)) {
      out.push_back(name);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(name, error)) {
      if (entry.path().extension() == ".yaml") inside.push_back(entry.path().string());
    }
    if (inside.empty()) {
      return make_error(ErrorCode::InvalidSpec, "is a folder without plan files (*.yaml)", name);
    }
    std::ranges::sort(inside);
    out.insert(out.end(), inside.begin(), inside.end());
  }
  return out;
}

Result<Candidate> load_candidate(const RunOptions& options) {
  Candidate out;
  PF_ASSIGN(out.loaded, load_plan_and_model(options.plan));
  PF_TRY(prepare_to_run(out.loaded));
  const bool asked =
      !options.prompts.empty() || !options.prompt_ids.empty() || !options.batch_file.empty();
  SyntheticRequests& synthetic = out.loaded.plan.requests;
  if (!asked && synthetic.requests < 1) synthetic = kDefaultRequests;
  PF_ASSIGN(Prompts prompts, make_prompts(options, out.loaded));
  out.requests = std::move(prompts.requests);
  std::int64_t tokens = 0;
  for (const Request& request : out.requests) tokens += std::ssize(request.prompt);
  out.job =
      fmt::format("{}: {} requests, {} prompt tokens, {} new each", out.loaded.input.model.name,
                  out.requests.size(), tokens, out.requests.front().max_tokens);
  return out;
}

Status start(const RunOptions& options, Candidate& candidate) {
  const Plan& plan = candidate.loaded.plan;
  EngineOptions engine = engine_options(options, plan, candidate.requests);
  engine.threads_per_rank = 1;  // what the machine's file describes
  candidate.limits = scheduler_limits(plan, engine.blocks_per_group);
  PF_ASSIGN(WeightSource source, open_weights(candidate.loaded.input));
  PF_ASSIGN(candidate.engine,
            Engine::start(plan, candidate.loaded.input.model, std::move(source), engine));
  return ok_status();
}

// Warms all up, predicts them, then lets them take turns.
Status run_group(const CompareOptions& options, const MachineSpec& machine,
                 std::span<Candidate* const> group) {
  for (Candidate* candidate : group) {
    PF_TRY(start(options.run, *candidate));
    PF_ASSIGN(const Report warm, candidate->engine->generate(candidate->requests, {}, {}));
    const RunToPredict run{candidate->loaded.plan, candidate->loaded.input.model, machine,
                           candidate->limits, weights_of_routing(warm.routing)};
    PF_ASSIGN(candidate->predicted, predict_run(run, candidate->requests));
  }
  for (std::int64_t i = 0; i < options.repeat; ++i) {
    for (Candidate* candidate : group) {
      PF_ASSIGN(Report report, candidate->engine->generate(candidate->requests, {}, {}));
      candidate->measured.push_back(std::move(report));
    }
  }
  for (Candidate* candidate : group) candidate->engine.reset();
  return ok_status();
}

Result<std::vector<PlanComparison>> compare_all(const CompareOptions& options,
                                                const MachineSpec& machine,
                                                std::vector<Candidate>& candidates) {
  std::vector<std::string> jobs;  // in the order given
  for (const Candidate& candidate : candidates) {
    if (std::ranges::find(jobs, candidate.job) == jobs.end()) jobs.push_back(candidate.job);
  }
  std::vector<PlanComparison> out;
  for (const std::string& job : jobs) {
    std::vector<Candidate*> group;
    for (Candidate& candidate : candidates) {
      if (candidate.job == job) group.push_back(&candidate);
    }
    PF_TRY(run_group(options, machine, group));
    for (const Candidate* candidate : group) {
      out.push_back(compare_reports(candidate->predicted, candidate->measured));
      out.back().job = job;
    }
  }
  return out;
}

// Program steps side by side, over all ranks: what the prediction is made of.
std::string format_operators(const Candidate& candidate) {
  std::string out =
      fmt::format("{}, all ranks and steps of a run; waiting is in what was measured\n",
                  candidate.predicted.plan);
  const auto runs = static_cast<double>(candidate.measured.size());
  for (const StepKind kind : {StepKind::Prefill, StepKind::Decode}) {
    const auto at = static_cast<std::size_t>(kind);
    for (const auto& [name, expected] : candidate.predicted.operators[at]) {
      double seconds = 0;
      for (const Report& report : candidate.measured) {
        const auto time = report.operators[at].find(name);
        if (time != report.operators[at].end()) seconds += time->second.seconds / runs;
      }
      out += fmt::format("  {:<8} {:<14} {:>8} {:>10} {:>10}\n", to_string(kind), name,
                         expected.calls, format_seconds(expected.seconds), format_seconds(seconds));
    }
  }
  return out;
}

Result<MachineSpec> find_machine(const CompareOptions& options) {
  if (options.cluster.empty()) {
    fmt::print(stderr, "note: no --cluster; measuring this machine first (pentafold calibrate)\n");
    PF_ASSIGN(ClusterSpec here, calibrate_machine({"", options.run.device, options.quick}));
    return std::move(*here.measured);
  }
  PF_ASSIGN(ClusterSpec cluster, load_cluster(options.cluster));
  if (!cluster.measured) {
    return make_error(ErrorCode::InvalidSpec,
                      "holds no `measured` section; make one with pentafold calibrate --out FILE",
                      options.cluster);
  }
  return std::move(*cluster.measured);
}

Result<std::vector<Candidate>> load_candidates(const CompareOptions& options) {
  std::vector<Candidate> out;
  RunOptions run = options.run;
  run.ignore_eos = true;  // so that it is known beforehand how many steps there will be
  if (options.plans.empty()) {
    PF_ASSIGN(Candidate one, load_candidate(run));
    out.push_back(std::move(one));
    return out;
  }
  PF_ASSIGN(const auto files, plan_files(options.plans));
  for (const std::string& file : files) {
    run.plan.plan_file = file;
    PF_ASSIGN(Candidate one, load_candidate(run));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

int compare_verb(const CompareOptions& options) {
  auto candidates = load_candidates(options);
  if (!candidates.ok()) return report_error(candidates.error());
  const auto machine = find_machine(options);
  if (!machine.ok()) return report_error(machine.error());
  const auto compared = compare_all(options, *machine, *candidates);
  if (!compared.ok()) return report_error(compared.error());
  if (options.run.json) {
    fmt::print("{}\n", comparison_json(*compared));
    if (options.table) fmt::print(stderr, "{}", format_comparison(*compared));
    return 0;
  }
  fmt::print("{}", format_comparison(*compared));
  if (options.run.stats) {
    for (const Candidate& candidate : *candidates) fmt::print("\n{}", format_operators(candidate));
  }
  return 0;
}

}  // namespace pentafold
