// Question: how long does it take to simulate an hour of traffic, and a million requests?
//
// simulate_bench: one JSON line a job on stdout; each job runs in a process of its own. Prices are
// a fixed formula, so this is the simulator's own time: events, batching, blocks, routing, summary.
// Lengths are drawn with the means of the Azure conversation trace of 2023 (1155 in, 211 out;
// Splitwise, arXiv 2311.18677), arrivals evenly at its rate times `load`.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/random.h"
#include "predict/simulate.h"

namespace {

using namespace pentafold;

struct Job {
  const char* name;
  std::int64_t requests;
  double load;
  std::int64_t concurrency;
  std::int64_t groups;
};
constexpr std::array<Job, 4> kJobs = {{
    {"an hour on 8 replicas", 19366, 1, 0, 1},
    {"a million, lightly loaded", 1000000, 1, 0, 1},
    {"a million, overloaded, dp 8", 1000000, 200, 0, 8},
    {"a million, closed loop of 2048, dp 8", 1000000, 1, 2048, 8},
}};

constexpr double kArrivalsPerS = 5.53;

double draw(std::int64_t request, std::uint32_t what) {
  return sample_uniform(0, static_cast<std::uint32_t>(request), what);
}

// Exponential lengths, at least 1.
std::int64_t length(double mean, double uniform) {
  return 1 + static_cast<std::int64_t>(-mean * std::log(1 - uniform));
}

double price(const StepLoad& load, std::int64_t steps) {
  const auto n = static_cast<double>(steps);
  double slowest = 0;
  for (const GroupLoad& group : load.groups) {
    const auto decodes = static_cast<double>(group.decodes);
    double s = n * (2e-5 * decodes + 5e-9 * (group.decode_context + decodes * (n - 1) / 2));
    for (const PromptPiece& piece : group.prompts) s += 2e-5 * static_cast<double>(piece.tokens);
    slowest = std::max(slowest, s);
  }
  return 8e-3 * n + slowest;
}

void run(const Job& job) {
  Trace trace;
  trace.concurrency = job.concurrency;
  for (std::int64_t i = 0; i < job.requests; ++i) {
    TraceRequest request;
    request.arrival_s = static_cast<double>(i) / (kArrivalsPerS * job.load);
    request.prompt_tokens = length(1155, draw(i, 0));
    request.output_tokens = length(211, draw(i, 1));
    trace.requests.push_back(request);
  }
  Service service;
  ReplicaPool& pool = service.serving;
  pool.replicas = 8;
  pool.gpus = 8;
  pool.router = RouterPolicy::LeastRequests;
  pool.limits.groups = job.groups;
  pool.limits.blocks_per_group = 20000 / job.groups;
  pool.limits.max_group_sequences = 256;
  pool.limits.step_tokens = 8192;
  pool.price.step = [](const StepLoad& load) { return price(load, 1); };
  pool.price.decode_steps = price;
  const std::clock_t from = std::clock();
  const Simulation result = simulate(trace, service);
  const double cpu_s = static_cast<double>(std::clock() - from) / CLOCKS_PER_SEC;
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  fmt::print(
      "{{\"job\": \"{}\", \"requests\": {}, \"cpu_s\": {:.3f}, \"peak_bytes\": {}, \"steps\": {}, "
      "\"preemptions\": {}, \"simulated_s\": {:.0f}}}\n",
      job.name, job.requests, cpu_s, std::int64_t{use.ru_maxrss} * 1024, result.pools[0].steps,
      result.summary.preemptions, result.summary.duration_s);
}

}  // namespace

int main() {
  for (const Job& job : kJobs) {
    const pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
      run(job);
      std::fflush(stdout);
      _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
  }
  return 0;
}
