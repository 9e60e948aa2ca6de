#include "cli/calibrate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "cli/verbs.h"
#include "execute/engine.h"
#include "execute/measure.h"
#include "execute/probe.h"
#include "predict/machine_fit.h"
#include "spec/weight_source.h"

namespace pentafold {
namespace {

constexpr std::int64_t kManyRanks = 8;

// Takes every kind of step that one rank can take, with products so small that the rest shows.
ModelSpec host_model() {
  ModelSpec model;
  model.name = "calibrate-host";
  model.vocab = 4096;
  model.d = 256;
  model.heads = 8;
  model.kv_heads = 4;
  model.head_dim = 32;
  model.layers = {{true, 0}, {false, 0}, {true, 0}, {false, 0}};
  model.dense_hidden = 128;
  model.experts = 16;
  model.top_k = 4;
  model.expert_hidden = 64;
  model.shared_hidden = 64;
  model.shared_gate = true;
  model.qk_norm = QkNorm::PerHead;
  model.clip_qkv = 8;
  model.seed = 1;
  return model;
}

// Hardly any work: what is left is the engine's own.
ModelSpec step_model() {
  ModelSpec model;
  model.name = "calibrate-step";
  model.vocab = 64;
  model.d = 64;
  model.heads = 4;
  model.kv_heads = 4;
  model.head_dim = 16;
  model.layers = {{false, 0}};
  model.dense_hidden = 64;
  model.seed = 1;
  return model;
}

std::vector<Request> requests_of(std::int64_t count, std::int64_t prompt, std::int64_t answer,
                                 std::int64_t vocab) {
  std::vector<Request> out;
  for (std::int64_t r = 0; r < count; ++r) {
    Request& request = out.emplace_back();
    request.id = RequestId(r);
    for (std::int64_t t = 0; t < prompt; ++t) {
      request.prompt.push_back(static_cast<std::int32_t>((r * 31 + t * 17) % vocab));
    }
    request.max_tokens = answer;
  }
  return out;
}

// A model, a plan and requests, run again and again.
struct Trial {
  ModelSpec model;
  Plan plan;
  std::vector<Request> requests;
  SchedulerLimits limits;
};

Trial make_trial(ModelSpec model, std::int64_t dp, std::vector<Request> requests) {
  Trial trial;
  StagePlan stage;
  stage.layers = model.num_layers();
  stage.dp = dp;
  stage.ep = dp;
  trial.plan.stages = {stage};
  trial.limits = scheduler_limits(trial.plan, blocks_needed(trial.plan, requests));
  trial.model = std::move(model);
  trial.requests = std::move(requests);
  return trial;
}

Result<std::vector<Report>> run_trial(const Trial& trial, const CalibrateOptions& options) {
  EngineOptions engine;
  engine.device = options.device;
  engine.threads_per_rank = 1;  // more ranks take more cores; a rank's own share of them is one
  engine.time_operators = trial.plan.world() == 1;
  engine.blocks_per_group = trial.limits.blocks_per_group;
  for (const Request& request : trial.requests) {
    engine.max_positions =
        std::max(engine.max_positions, std::ssize(request.prompt) + request.max_tokens);
  }
  PF_ASSIGN(const auto running,
            Engine::start(trial.plan, trial.model, WeightSource::synthetic(trial.model), engine));
  const int repetitions = options.quick ? 2 : 15;
  std::vector<Report> reports;
  for (int i = 0; i <= repetitions; ++i) {
    PF_ASSIGN(Report report, running->generate(trial.requests, {}, {}));
    if (i > 0) reports.push_back(std::move(report));  // the first warms up
  }
  return reports;
}

// The lower quartile of every kind of step over the repetitions.
Report quiet_report(const std::vector<Report>& reports) {
  Report out = reports.front();
  for (std::size_t kind = 0; kind < out.operators.size(); ++kind) {
    for (auto& [name, time] : out.operators[kind]) {
      std::vector<double> seconds;
      for (const Report& report : reports)
        seconds.push_back(report.operators[kind].at(name).seconds);
      time.seconds = lower_quartile(seconds);
    }
  }
  return out;
}

double decode_seconds(const std::vector<Report>& reports) {
  std::vector<double> seconds;
  for (const Report& report : reports) {
    for (const StepReport& step : report.step_reports) {
      if (step.kind == StepKind::Decode) seconds.push_back(step.seconds);
    }
  }
  return lower_quartile(seconds);
}

Status fit_host(const CalibrateOptions& options, MachineSpec& machine) {
  const Trial trial = make_trial(host_model(), 1, requests_of(4, 96, 24, host_model().vocab));
  PF_ASSIGN(const auto reports, run_trial(trial, options));
  const Report quiet = quiet_report(reports);
  const RunToPredict run{trial.plan, trial.model, machine, trial.limits,
                         weights_of_routing(quiet.routing)};
  return fit_host_lines({run, trial.requests, quiet}, machine);
}

Result<StepSample> step_sample(std::int64_t ranks, const CalibrateOptions& options,
                               const MachineSpec& machine) {
  const Trial trial =
      make_trial(step_model(), ranks, requests_of(ranks, 16, 64, step_model().vocab));
  PF_ASSIGN(const auto reports, run_trial(trial, options));
  MachineSpec without = machine;
  without.step = {};
  PF_ASSIGN(const Report predicted,
            predict_run({trial.plan, trial.model, without, trial.limits, {}}, trial.requests));
  return StepSample{ranks, decode_seconds(reports), decode_seconds({predicted})};
}

// The machine as planning sees it: every core a device.
ClusterSpec as_cluster(MachineSpec machine) {
  ClusterSpec out;
  out.name = "this-machine";
  out.gpus = out.gpus_per_node = machine.cores;
  out.gpu.name = "core";
  const auto cores = static_cast<double>(machine.cores);
  out.gpu.memory_bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                         static_cast<double>(sysconf(_SC_PAGE_SIZE)) / cores;
  const ProductTable& product = machine.product_shared;
  constexpr double kWeightBytes = 2;
  out.gpu.memory_bytes_per_s = kWeightBytes / product.seconds.back().front();
  out.gpu.bf16_flops = 2 / *std::ranges::min_element(product.seconds.front());
  out.gpu.f32_flops = out.gpu.bf16_flops;
  out.links = {{"memory", kEveryDevice, 1 / std::max(machine.message.unit_s, 1e-12),
                machine.message.call_s}};
  out.measured = std::move(machine);
  return out;
}

std::string write_cluster(const ClusterSpec& cluster) {
  const GpuSpec& gpu = cluster.gpu;
  const LinkLevel& link = cluster.links.front();
  return fmt::format(
      "# Measured by pentafold calibrate: seconds on this machine, under its engine.\n"
      "name: {}\n"
      "gpu: {{name: {}, memory: {:.0f}MB, bandwidth: {:.4g}GB/s, bf16: {:.4g}GFLOPS, "
      "f32: {:.4g}GFLOPS}}\n"
      "gpus: {}\ngpus_per_node: {}\n"
      "links: [{{name: {}, bandwidth: {:.4g}GB/s, latency: {:.4g}us}}]\n"
      "measured:\n{}",
      cluster.name, gpu.name, gpu.memory_bytes / 1e6, gpu.memory_bytes_per_s / 1e9,
      gpu.bf16_flops / 1e9, gpu.f32_flops / 1e9, cluster.gpus, cluster.gpus_per_node, link.name,
      link.bytes_per_s / 1e9, link.latency_s * 1e6, write_machine(*cluster.measured));
}

}  // namespace

Result<ClusterSpec> calibrate_machine(const CalibrateOptions& options) {
  const MeasureOptions measure{options.device, options.quick, 0};
  PF_ASSIGN(MachineSpec machine, measure_kernels(measure));
  PF_TRY(measure_transport(measure, machine));
  PF_TRY(fit_host(options, machine));
  PF_ASSIGN(const StepSample one, step_sample(1, options, machine));
  PF_ASSIGN(const StepSample many, step_sample(kManyRanks, options, machine));
  fit_step_line(one, many, machine);
  return as_cluster(std::move(machine));
}

int calibrate_verb(const CalibrateOptions& options) {
  const auto cluster = calibrate_machine(options);
  if (!cluster.ok()) return report_error(cluster.error());
  const std::string text = write_cluster(*cluster);
  if (options.out.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  std::ofstream file(options.out, std::ios::binary);
  file << text << std::flush;
  if (file) return 0;
  return report_error(make_error(
      ErrorCode::Io, "cannot be written; is the folder there, and not full?", options.out));
}

}  // namespace pentafold
