// Question: how long does a full search take, over how large a lattice, in how much memory?
//
// plan_bench [FILTER]: one JSON line a job on stdout. Each job runs in a process of its own; cpu_s
// is user and system time of the search alone, peak_bytes the process's largest resident set, the
// binary and its libraries included. baseline_cpu_s: the best published planner on the same
// question, as measured in 2026-11 on two cores of another machine (aiconfigurator v0.10.0).
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <string_view>

#include "planner/search.h"
#include "planner/why.h"
#include "spec/load_shape.h"

namespace {

using namespace pentafold;

struct Job {
  const char* name;
  const char* model;
  const char* gpu;
  std::int64_t gpus;
  double ttft_s;
  double tpot_s;
  double baseline_cpu_s;  // 0: none
};
constexpr std::array<Job, 7> kJobs = {{
    {"qwen3-30b 32 h200", "qwen3-30b-a3b", "h200-sxm", 32, 1, 0.02, 86.1},
    {"qwen3-235b 64 h200", "qwen3-235b-a22b", "h200-sxm", 64, 2, 0.05, 65.0},
    {"deepseek-v3 64 h200", "deepseek-v3", "h200-sxm", 64, 2, 0.05, 44.7},
    {"mixtral 8 h100", "mixtral-8x7b", "h100-sxm", 8, 1, 0.03, 79.6},
    {"deepseek-v3 1024 h200", "deepseek-v3", "h200-sxm", 1024, 2, 0.05, 0},
    {"impossible: qwen3-30b 8 h100", "qwen3-30b-a3b", "h100-sxm", 8, 0.02, 0.001, 66.7},
    {"too large: deepseek-v3 8 h100", "deepseek-v3", "h100-sxm", 8, 2, 0.05, 26.1},
}};

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

int run(const Job& job) {
  const auto model = load_shape(job.model);
  const auto gpu = find_gpu(job.gpu);
  if (!model.ok() || !gpu.ok()) return 1;
  Problem problem;
  problem.model = model->model;
  problem.cluster = default_cluster(*gpu, job.gpus);
  problem.workload.isl = 4000;
  problem.workload.osl = 1000;
  problem.targets.ttft_s = job.ttft_s;
  problem.targets.tpot_s = job.tpot_s;
  // As `pentafold plan` searches by default: the stored precision, and a narrower one.
  Precision narrow = problem.model.stored;
  narrow.experts = narrow.linear =
      bytes_per_value(narrow.experts) > 1.5 ? NumberFormat::FP8 : NumberFormat::NVFP4;
  problem.precisions = {problem.model.stored, narrow};
  const double begin = cpu_seconds();
  const SearchResult result = search(problem, {});
  const double searched = cpu_seconds() - begin;
  std::size_t relaxations = 0;
  if (!result.winner) relaxations = why_not(problem, result, {}).relaxations.size();
  const double answered = cpu_seconds() - begin;
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  fmt::print(R"({{"job": "{}", "cpu_s": {:.4f}, "answer_cpu_s": {:.4f}, "lattice": {}, )"
             R"("evaluated": {}, "candidates_per_s": {:.3g}, "peak_bytes": {}, )"
             R"("feasible": {}, "relaxations": {}, "tokens_per_s_per_gpu": {:.0f}, )"
             R"("baseline_cpu_s": {}}})"
             "\n",
             job.name, searched, answered, result.lattice, result.evaluated,
             static_cast<double>(result.lattice) / searched, use.ru_maxrss * 1024,
             result.winner.has_value(), relaxations,
             result.winner ? result.winner->score.tokens_per_s_per_gpu() : 0, job.baseline_cpu_s);
  return std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view filter = argc > 1 ? argv[1] : "";
  for (const Job& job : kJobs) {
    if (std::string_view(job.name).find(filter) == std::string_view::npos) continue;
    const pid_t child = fork();
    if (child == 0) _exit(run(job));
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) return 1;
  }
  return 0;
}
