#include "cli/simulate_timeline.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace pentafold {
namespace {

constexpr std::int64_t kProcessesOfPool = 1'000'000;

// Process 0 of a pool stands for all its replicas.
std::int64_t process_of(std::int64_t pool, std::int64_t replica) {
  return pool * kProcessesOfPool + replica + 1;
}

struct Counts {
  std::int64_t decodes = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t prompts = 0;
  double context = 0;
};

Counts counts_of(const StepLoad& load) {
  Counts out;
  for (const GroupLoad& group : load.groups) {
    out.decodes += group.decodes;
    out.context += group.decode_context;
    out.prompts += static_cast<std::int64_t>(group.prompts.size());
    for (const PromptPiece& piece : group.prompts) out.prompt_tokens += piece.tokens;
  }
  return out;
}

std::string name_of(const Counts& counts, std::int64_t steps) {
  if (counts.prompts == 0) {
    return steps > 1 ? fmt::format("decode {} x {} steps", counts.decodes, steps)
                     : fmt::format("decode {}", counts.decodes);
  }
  if (counts.decodes == 0) return fmt::format("prefill {}", counts.prompt_tokens);
  return fmt::format("prefill {} + decode {}", counts.prompt_tokens, counts.decodes);
}

}  // namespace

Timeline::Timeline(ChromeTrace trace, const SimulationCase& asked)
    : trace_(std::move(trace)), asked_(&asked) {}

Result<Timeline> Timeline::create(const std::string& path, const SimulationCase& asked) {
  PF_ASSIGN(ChromeTrace trace, ChromeTrace::create(path));
  Timeline out(std::move(trace), asked);
  out.name_everything();
  return out;
}

void Timeline::name_everything() {
  for (std::size_t p = 0; p < asked_->plan.pools.size(); ++p) {
    const Pool& pool = asked_->plan.pools[p];
    const auto number = static_cast<std::int64_t>(p);
    trace_.name_process(process_of(number, -1),
                        fmt::format("all replicas, {}", to_string(pool.role)));
    for (std::int64_t r = 0; r < pool.replicas; ++r) {
      trace_.name_process(process_of(number, r),
                          fmt::format("replica {}, {}", r, to_string(pool.role)));
      for (std::int64_t s = 0; s < pool.worker.pp(); ++s) {
        trace_.name_thread(process_of(number, r), s,
                           fmt::format("stage {}: {} ranks", s, pool.worker.stage_ranks()));
      }
    }
  }
}

void Timeline::add(const StepRun& run) {
  const Worker& worker = asked_->plan.pools[static_cast<std::size_t>(run.pool)].worker;
  const Counts counts = counts_of(*run.load);
  const std::string name = name_of(counts, run.steps);
  const std::array<TraceNumber, 5> numbers = {
      TraceNumber{"decodes", static_cast<double>(counts.decodes)},
      TraceNumber{"decode_context", counts.context},
      TraceNumber{"prompts", static_cast<double>(counts.prompts)},
      TraceNumber{"prompt_tokens", static_cast<double>(counts.prompt_tokens)},
      TraceNumber{"steps", static_cast<double>(run.steps)}};
  const std::int64_t process = process_of(run.pool, run.replica);
  const std::int64_t stages = worker.pp();
  const std::int64_t parts = stages > 1 && run.steps == 1 ? worker.microbatches : 1;
  const bool whole = run.steps > 1;
  const double pace =
      (run.end_s - run.start_s) / static_cast<double>(whole ? 1 : parts + stages - 1);
  for (std::int64_t s = 0; s < stages; ++s) {
    for (std::int64_t m = 0; m < parts; ++m) {
      const double start = whole ? run.start_s : run.start_s + static_cast<double>(s + m) * pace;
      trace_.slice({process, s, start, pace, name, numbers});
    }
  }
  trace_.counter(process, "sequences in the step", run.start_s,
                 static_cast<double>(counts.decodes + counts.prompts));
}

Status Timeline::finish(const Simulation& found) {
  for (std::size_t p = 0; p < found.pools.size(); ++p) {
    const LoadSeries& series = found.pools[p].series;
    const std::int64_t process = process_of(static_cast<std::int64_t>(p), -1);
    const auto blocks = static_cast<double>(std::max<std::int64_t>(found.pools[p].blocks, 1));
    double at = 0;
    for (const LoadLevel& level : series.means()) {
      trace_.counter(process, "queue", at, level.waiting);
      trace_.counter(process, "running", at, level.running);
      trace_.counter(process, "KV in use, %", at, 100 * level.kv_blocks / blocks);
      trace_.counter(process, "busy replicas", at, level.busy);
      at += series.bucket_s();
    }
  }
  return trace_.close();
}

}  // namespace pentafold
