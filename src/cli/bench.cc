#include "cli/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/patience.h"
#include "base/units.h"
#include "cli/engine_inputs.h"
#include "execute/bench.h"
#include "execute/speed_limits.h"

namespace pentafold {
namespace {

struct Candidate {
  PlanAndModel loaded;
  std::int64_t threads = 0;  // of each rank
};

std::vector<BenchJob> jobs_of(const BenchOptions& options) {
  std::vector<BenchJob> out;
  for (const std::int64_t tokens : options.prefill) {
    if (tokens > 0) out.push_back({StepKind::Prefill, tokens, 0, 0});
  }
  for (const std::int64_t sequences : options.decode) {
    if (sequences > 0) {
      out.push_back({StepKind::Decode, sequences, options.context, options.steps});
    }
  }
  return out;
}

Status check_lengths(const std::vector<BenchJob>& jobs, const ModelSpec& model) {
  if (jobs.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "nothing to measure: give --prefill or --decode a size above 0");
  }
  for (const BenchJob& job : jobs) {
    const bool prefill = job.kind == StepKind::Prefill;
    const std::int64_t tokens = prefill ? job.size : job.context + job.steps;
    if (model.max_positions > 0 && tokens > model.max_positions) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("{} {} tokens exceed the model's {} positions; lower {}", to_string(job.kind),
                      tokens, model.max_positions, prefill ? "--prefill" : "--context or --steps"));
    }
  }
  return ok_status();
}

Result<PlanAndModel> load(const BenchOptions& options, const std::string& plan) {
  std::error_code unreadable;
  PlanOptions named;
  const bool file =
      std::filesystem::exists(plan, unreadable) || plan.find('=') == std::string::npos;
  (file ? named.plan_file : named.shorthand) = plan;
  named.model = options.model;
  PF_ASSIGN(PlanAndModel out, load_plan_and_model(named));
  // As engines do unless told otherwise; `run` keeps to f32.
  const bool silent = !out.plan.kv && !out.plan.precision;
  if (silent) out.plan.kv = number_format_of(out.input.model.dtype);
  PF_ASSIGN(const auto notes, prepare_to_run(out));
  for (const std::string& note : notes) fmt::print(stderr, "note: {}\n", note);
  return out;
}

Result<std::vector<Candidate>> load_all(const BenchOptions& options) {
  std::vector<std::string> plans = options.plans;
  if (plans.empty()) plans.emplace_back("tp=1");
  std::vector<Candidate> out;
  for (const std::string& plan : plans) {
    PF_ASSIGN(const PlanAndModel loaded, load(options, plan));
    if (!out.empty() && loaded.input.path != out.front().loaded.input.path) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("the plans are for {} and {}; measure one model at a time",
                                    out.front().loaded.input.path, loaded.input.path));
    }
    std::vector<std::int64_t> threads = options.threads;
    if (threads.empty()) threads.push_back(threads_for(loaded.plan.world()));
    for (const std::int64_t count : threads) out.push_back({loaded, count});
  }
  return out;
}

// Whether the weights of all can be held at once and leave room for work.
bool fit_together(const std::vector<Candidate>& candidates) {
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  double weights = 0;
  for (const Candidate& candidate : candidates) {
    const ModelSpec& model = candidate.loaded.input.model;
    const auto& experts =
        candidate.loaded.plan.weights.experts;  // nearly all parameters are theirs
    const double each =
        experts ? bytes_per_value(*experts) : static_cast<double>(size_of(model.dtype));
    weights += static_cast<double>(count_params(model).total) * each;
  }
  return weights <= 0.7 * memory;
}

std::string describe(const ModelSpec& model) {
  const ParamCounts params = count_params(model);
  return fmt::format("{}: {} parameters, {} for a token, {}", model.name,
                     format_count(static_cast<double>(params.total)),
                     format_count(static_cast<double>(params.active)), to_string(model.dtype));
}

class Bench {
 public:
  explicit Bench(const BenchOptions& options)
      : options_(options), jobs_(jobs_of(options)), buffer_(make_probe_buffer(options.quick)) {}

  // Some that fit into memory together, to the end.
  Status measure(std::span<const Candidate> group) {
    std::vector<BenchContender> contenders;
    for (const Candidate& candidate : group) {
      PF_ASSIGN(WeightSource source, open_weights(candidate.loaded.input));
      EngineOptions engine;
      engine.device = options_.device;
      engine.threads_per_rank = candidate.threads;
      engine.pin = options_.pin;
      engine.timeout =
          std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout_s * 1000.0));
      PF_ASSIGN(auto contender,
                BenchContender::start(candidate.loaded.plan, candidate.loaded.input.model,
                                      std::move(source), engine, jobs_));
      contenders.push_back(std::move(contender));
      probe(candidate);
    }
    for (std::size_t job = 0; job < jobs_.size(); ++job) {
      for (BenchContender& contender : contenders) PF_TRY(contender.run(job, false));
      for (std::int64_t round = 0; round < rounds(); ++round) {
        for (auto& [threads, probe] : probes_) probe.sample();
        for (BenchContender& contender : contenders) PF_TRY(contender.run(job, true));
      }
    }
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      for (BenchRow& row : contenders[c].rows()) {
        rows_.push_back({&probe(group[c]), std::move(row)});
      }
    }
    return ok_status();
  }

  // Rows job by job, plans beside each other.
  BenchReport report(const ModelSpec& model) const {
    BenchReport out;
    out.model = describe(model);
    out.rounds = rounds();
    for (const auto& [threads, probe] : probes_) out.limits.push_back(probe.limits());
    for (const BenchJob& job : jobs_) {
      for (const auto& [probe, row] : rows_) {
        if (row.job != job) continue;
        out.rows.push_back(row);
        out.rows.back().limits = probe->limits();
      }
    }
    return out;
  }

 private:
  std::int64_t rounds() const { return options_.quick ? 1 : options_.repeat; }

  SpeedProbe& probe(const Candidate& candidate) {
    const std::int64_t threads =
        std::min(usable_cores(), candidate.threads * candidate.loaded.plan.world());
    return probes_.try_emplace(threads, threads, buffer_).first->second;
  }

  const BenchOptions& options_;
  std::vector<BenchJob> jobs_;
  SlabVector<std::byte> buffer_;
  std::map<std::int64_t, SpeedProbe> probes_;  // by threads
  std::vector<std::pair<const SpeedProbe*, BenchRow>> rows_;
};

Result<BenchReport> measure_all(const BenchOptions& options,
                                const std::vector<Candidate>& candidates) {
  Bench bench(options);
  if (fit_together(candidates)) {
    PF_TRY(bench.measure(candidates));
  } else {
    if (candidates.size() > 1) {
      fmt::print(stderr,
                 "note: the weights of all plans do not fit into memory together; they run one "
                 "after the other, not in turns\n");
    }
    for (const Candidate& candidate : candidates) PF_TRY(bench.measure({&candidate, 1}));
  }
  return bench.report(candidates.front().loaded.input.model);
}

}  // namespace

int bench_verb(const BenchOptions& options) {
  const auto candidates = load_all(options);
  if (!candidates.ok()) return report_error(candidates.error());
  const Status lengths = check_lengths(jobs_of(options), candidates->front().loaded.input.model);
  if (!lengths.ok()) return report_error(lengths.error());
  const auto report = measure_all(options, *candidates);
  if (!report.ok()) return report_error(report.error());
  const std::string table = format_bench(*report, options.profile);
  if (options.json && options.table) fmt::print(stderr, "{}", table);
  fmt::print("{}", options.json ? bench_json(*report) + "\n" : table);
  return 0;
}

}  // namespace pentafold
