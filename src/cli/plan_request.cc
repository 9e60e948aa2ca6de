// The options of `pentafold plan` -> a Problem.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/nearest.h"
#include "base/quote.h"
#include "cli/plan.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

Result<std::int64_t> fleet_size(const std::string& text, std::int64_t most) {
  if (text == "min") return 0;
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 1 || value > most) {
    return refused(fmt::format("--gpus must be \"min\" or a number from 1 to {}, not {}", most,
                               quote_text(text)));
  }
  return value;
}

Result<ClusterSpec> read_cluster(const PlanVerbOptions& o) {
  if (o.gpu.empty() && o.cluster.empty()) {
    return refused("no fleet: give --gpu NAME (pentafold clusters lists them) or --cluster FILE");
  }
  if (!o.gpu.empty() && !o.cluster.empty()) {
    return refused("give --gpu or --cluster, not both: a cluster names its GPU");
  }
  constexpr std::int64_t kMostGpus = 65536;
  std::optional<std::int64_t> gpus;
  if (!o.gpus.empty()) {
    PF_ASSIGN(gpus, fleet_size(o.gpus, kMostGpus));
  }
  ClusterSpec cluster;
  if (!o.cluster.empty()) {
    PF_ASSIGN(cluster, load_cluster(o.cluster));
    if (gpus) cluster.gpus = *gpus;
    if (cluster.gpus > cluster.links.back().domain) {
      return refused(fmt::format("{} GPUs are more than the {} that the links of {} reach",
                                 cluster.gpus, cluster.links.back().domain, quote_text(o.cluster)));
    }
  } else {
    PF_ASSIGN(const GpuSpec gpu, find_gpu(o.gpu));
    cluster = default_cluster(gpu, gpus.value_or(0));
  }
  if (o.dollars_per_hour) {
    constexpr double kMostDollars = 1e6;  // as in a cluster file
    if (!(*o.dollars_per_hour > 0 && *o.dollars_per_hour <= kMostDollars)) {
      return refused(fmt::format("--dollars-per-hour must be above 0, and at most {}, not {}",
                                 kMostDollars, *o.dollars_per_hour));
    }
    cluster.gpu.dollars_per_hour = *o.dollars_per_hour;
  }
  return cluster;
}

// Options win over the workload file: what one says of the load replaces what the file says.
Status read_expert_load(const PlanVerbOptions& o, Workload& workload) {
  if (o.skew && !o.expert_load.empty()) {
    return refused("--skew and --expert-load each say how uneven the experts' load is; give one");
  }
  if (o.skew) {
    workload.skew = *o.skew;
    workload.expert_load = nullptr;
  }
  if (o.expert_load.empty()) return ok_status();
  PF_ASSIGN(ExpertHistogram histogram, load_expert_histogram(o.expert_load));
  workload.skew = 0;
  workload.expert_load = std::make_shared<const ExpertHistogram>(std::move(histogram));
  return ok_status();
}

Result<Workload> read_workload(const PlanVerbOptions& o) {
  Workload workload;
  if (!o.workload.empty()) {
    PF_ASSIGN(workload, load_workload(o.workload));
  } else if (!o.isl || !o.osl) {
    return refused(
        "no workload: give --isl and --osl, the tokens of a prompt and of an answer, or "
        "--workload FILE");
  }
  if (o.isl) workload.isl = *o.isl;
  if (o.osl) workload.osl = *o.osl;
  if (o.batch) workload.batch = o.batch;
  PF_TRY(read_expert_load(o, workload));
  if (!o.rate.empty()) {
    PF_ASSIGN(workload.rate_per_s, parse_rate(o.rate, "--rate"));
  }
  return workload;
}

// The stored precision, with experts, attention and MLPs in `format` where that is narrower.
Precision narrowed(const Precision& stored, NumberFormat format) {
  Precision out = stored;
  for (NumberFormat* field : {&out.experts, &out.linear}) {
    if (bytes_per_value(format) < bytes_per_value(*field)) *field = format;
  }
  return out;
}

Result<std::vector<Precision>> read_precisions(const PlanVerbOptions& o, const Precision& stored) {
  Precision base = stored;
  if (!o.kv.empty()) {
    PF_ASSIGN(base.kv, parse_number_format(o.kv));
  }
  const auto with = [&](std::initializer_list<NumberFormat> formats) {
    std::vector<Precision> out{base};
    for (const NumberFormat format : formats) {
      const Precision next = narrowed(base, format);
      if (std::ranges::find(out, next) == out.end()) out.push_back(next);
    }
    return out;
  };
  if (o.precision.empty()) {
    const bool wide = bytes_per_value(stored.experts) > 1.5;
    return with({wide ? NumberFormat::FP8 : NumberFormat::NVFP4});
  }
  if (o.precision == "stored") return with({});
  if (o.precision == "any") {
    return with({NumberFormat::FP8, NumberFormat::INT8, NumberFormat::NVFP4, NumberFormat::MXFP4,
                 NumberFormat::INT4});
  }
  const auto format = parse_number_format(o.precision);
  if (!format.ok()) {
    return refused(format.error().message + "; --precision also takes stored and any");
  }
  Precision chosen = narrowed(base, *format);
  // Asked for by name, a wider format than the stored one is meant too.
  if (chosen == base && bytes_per_value(*format) > bytes_per_value(base.linear)) {
    chosen.experts = *format;
    chosen.linear = *format;
  }
  return std::vector<Precision>{chosen};
}

Status read_mode(const std::string& mode, Problem& problem) {
  constexpr std::array<std::string_view, 3> kModes = {"any", "aggregated", "disaggregated"};
  if (std::ranges::find(kModes, mode) == kModes.end()) {
    const std::string meant = nearest(mode, kModes);
    return refused(fmt::format("unknown --mode {}; {}", quote_text(mode),
                               meant.empty() ? "known are any, aggregated and disaggregated"
                                             : fmt::format("did you mean \"{}\"?", meant)));
  }
  // The only token of an answer comes with the prefill: there is no decoding to set apart.
  const bool decodes = problem.workload.osl > 1;
  if (!decodes && mode == "disaggregated") {
    return refused("osl = 1 and --mode disaggregated contradict each other: nothing is decoded");
  }
  problem.aggregated = mode != "disaggregated";
  problem.disaggregated = mode != "aggregated" && decodes;
  return ok_status();
}

Status set_top_k(std::int64_t top_k, ModelShape& model) {
  if (model.experts() == 0) return refused("--top-k is for models with experts");
  if (top_k < 1 || top_k > model.experts()) {
    return refused(fmt::format("--top-k must be 1 to {}, the model's experts", model.experts()));
  }
  for (LayerShape& kind : model.kinds) {
    if (kind.ffn.experts > 0) kind.ffn.top_k = top_k;
  }
  return ok_status();
}

}  // namespace

Result<PlanRequest> plan_request(const PlanVerbOptions& o) {
  if (o.model.empty()) {
    return refused(
        "no model: give --model NAME (pentafold models lists them), a config.json, or a shape "
        "spec");
  }
  PlanRequest request;
  PF_ASSIGN(request.model, load_shape(o.model));
  Problem& problem = request.problem;
  problem.model = request.model.model;
  if (o.top_k) PF_TRY(set_top_k(*o.top_k, problem.model));
  PF_ASSIGN(problem.cluster, read_cluster(o));
  PF_ASSIGN(problem.engine, find_engine(o.engine, problem.cluster.gpu.name));
  PF_ASSIGN(problem.workload, read_workload(o));
  if (problem.workload.expert_load) {
    PF_TRY(check_fits(*problem.workload.expert_load, problem.model));
  }
  if (!o.target.empty()) {
    PF_ASSIGN(problem.targets, parse_targets(o.target));
  }
  if (o.gpus == "min" && problem.targets.objective == Objective::TokensPerSecondPerGpu &&
      o.target.find("=max") == std::string::npos) {
    problem.targets.objective = Objective::Gpus;
  }
  const bool priced =
      problem.targets.dollars_per_mtok || problem.targets.objective == Objective::Cost;
  if (priced && problem.cluster.gpu.dollars_per_hour <= 0) {
    return refused(fmt::format("the price of {} is not known: give --dollars-per-hour",
                               problem.cluster.gpu.name));
  }
  PF_TRY(validate(problem.workload, problem.targets));
  const std::int64_t tokens = problem.workload.isl + problem.workload.osl;
  if (problem.model.max_positions > 0 && tokens > problem.model.max_positions) {
    return refused(fmt::format("{} + {} tokens are more than the {} positions of {}",
                               problem.workload.isl, problem.workload.osl,
                               problem.model.max_positions, problem.model.name));
  }
  PF_ASSIGN(problem.precisions, read_precisions(o, problem.model.stored));
  PF_TRY(read_mode(o.mode, problem));
  problem.max_gpus = o.max_gpus;
  return request;
}

}  // namespace pentafold
