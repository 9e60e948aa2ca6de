// What `pentafold plan` says: text for a person, plan files for verify and run.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/units.h"
#include "cli/plan.h"
#include "plan/plan_write.h"
#include "planner/deployed_plans.h"
#include "planner/undecided.h"

namespace pentafold {
namespace {

std::string asked(const PlanRequest& request) {
  const Problem& p = request.problem;
  std::string text =
      fmt::format("{} on {} {}, {} tokens in, {} out", p.model.name,
                  p.cluster.gpus > 0 ? fmt::format("{} x", p.cluster.gpus) : "as few as will do of",
                  p.cluster.gpu.name, p.workload.isl, p.workload.osl);
  if (p.workload.batch) text += fmt::format(", {} at once", *p.workload.batch);
  if (p.workload.rate_per_s) text += fmt::format(", {:.4g} requests/s", *p.workload.rate_per_s);
  const std::string targets = format_targets(p.targets);
  return text + (targets.empty() ? "" : fmt::format("; {}", targets)) + "\n";
}

std::string gpus_text(std::int64_t gpus) {
  return fmt::format("{} GPU{}", gpus, gpus == 1 ? "" : "s");
}

std::string searched(const PlanAnswer& answer) {
  std::string text = fmt::format("{} candidates", answer.result.lattice);
  if (answer.simulated != nullptr) {
    text += fmt::format(", {} simulated,", answer.simulated->found.plans.size());
  }
  return text + fmt::format(" in {}", format_seconds(answer.seconds));
}

std::string performance(const Problem& problem, const Score& s) {
  std::string text = fmt::format("TTFT {}", format_seconds(s.ttft_s));
  if (problem.workload.osl > 1) {
    text += fmt::format(", TPOT {}, {} tokens/s per GPU", format_seconds(s.tpot_s),
                        format_limit(Limit::TokensPerGpu, s.tokens_per_s_per_gpu()));
  } else {
    text += fmt::format(", {} prompt tokens/s per GPU",
                        format_limit(Limit::PrefillTokensPerGpu, s.prefill_tokens_per_s_per_gpu));
  }
  if (problem.cluster.gpu.dollars_per_hour > 0 && s.tokens_per_s > 0) {
    text += fmt::format(", ${:.3g} per million tokens", s.dollars_per_mtok(problem.cluster.gpu));
  }
  return text;
}

std::string pool_text(const StepCost& costs, const Problem& problem, const Pool& pool) {
  const WorkerPrediction found = predict_worker(costs, pool.worker, pool.role);
  const Worker& w = pool.worker;
  std::string text = fmt::format("  {} worker{} for {}, {} each: {}\n", pool.replicas,
                                 pool.replicas == 1 ? "" : "s", to_string(pool.role),
                                 gpus_text(w.gpus()), describe(w));
  text += fmt::format(
      "    memory {} of {}: weights {}, KV {}, activations {}, buffers {}, "
      "reserve {}\n",
      format_bytes(found.memory.total()), format_bytes(problem.memory_limit()),
      format_bytes(found.memory.weights), format_bytes(found.memory.kv),
      format_bytes(found.memory.activations), format_bytes(found.memory.buffers),
      format_bytes(found.memory.reserve));
  if (pool.role != Role::Decode) {
    text += fmt::format("    a prefill pass of {}: {}\n", format_seconds(found.timing.prefill_s),
                        binding(found.prefill));
  }
  if (pool.role != Role::Prefill && problem.workload.osl > 1) {
    text += fmt::format("    a decode step of {}: {}\n", format_seconds(found.timing.decode_s),
                        binding(found.decode));
  }
  return text;
}

std::string family_title(const StrategyFamily& family) {
  return family.disaggregated ? "prefill and decode apart" : family_name(family.kinds);
}

// The best of other kinds, then for each limit that keeps kinds out the one that came nearest.
std::string others(const Problem& problem, const SearchResult& result) {
  std::vector<const StrategyFamily*> fits;
  std::vector<const StrategyFamily*> misses;
  for (const StrategyFamily& family : result.families) {
    if (family.best) {
      fits.push_back(&family);
    } else if (family.nearest) {
      misses.push_back(&family);
    }
  }
  std::ranges::stable_sort(fits, [&](const auto* a, const auto* b) {
    return compare(problem, a->best->score, b->best->score) > 0;
  });
  std::ranges::stable_sort(
      misses, [](const auto* a, const auto* b) { return a->nearest->nearer_than(*b->nearest); });
  constexpr std::size_t kShown = 6;
  std::string text;
  if (fits.size() > 1) text += "\nthe best of other kinds:\n";
  for (std::size_t i = 1; i < std::min(fits.size(), kShown + 1); ++i) {
    text += fmt::format("  {:<28} {}, {}\n", family_title(*fits[i]),
                        gpus_text(fits[i]->best->score.gpus),
                        performance(problem, fits[i]->best->score));
  }
  if (!misses.empty()) text += "\nkinds without a plan, and the first limit of the nearest:\n";
  for (std::size_t i = 0; i < std::min(misses.size(), kShown); ++i) {
    const Miss& miss = *misses[i]->nearest;
    text += fmt::format("  {:<28} {} {}, limit {}: {}\n", family_title(*misses[i]),
                        to_string(miss.limit), format_limit(miss.limit, miss.reached),
                        format_limit(miss.limit, miss.bound), describe(misses[i]->nearest_worker));
  }
  if (misses.size() > kShown) {
    text += fmt::format("  ... and {} kinds more (--json lists all)\n", misses.size() - kShown);
  }
  return text;
}

std::string not_told_apart(const PlanAnswer& answer) {
  std::string text;
  for (const Undecided& other : undecided(answer.request.problem, answer.result)) {
    if (text.empty()) {
      text = "\nnot told apart from the best by the prediction, whose error is (80 %):\n";
    }
    text +=
        fmt::format("  {:<28} {}: {}\n", other.kind, sentence(other), describe(other.deployment));
  }
  return text;
}

std::string other_precisions(const Problem& problem, const SearchResult& result) {
  std::string text;
  for (const Deployment& deployment : result.best) {
    const Precision& precision = deployment.decode_pool().worker.precision;
    if (precision == problem.precisions.front()) continue;
    if (text.empty()) text = "\nin other precisions (which change the model's outputs):\n";
    text += fmt::format("  {:<28} {}, {}\n", to_string(precision), gpus_text(deployment.score.gpus),
                        performance(problem, deployment.score));
  }
  return text;
}

std::string pareto_table(const SearchResult& result) {
  if (result.pareto.empty()) return "";
  std::string text =
      fmt::format("\n{:>14} {:>14} {:>10}  plan\n", "tok/s/user", "tok/s/GPU", "TTFT");
  for (const Deployment& deployment : result.pareto) {
    const Score& s = deployment.score;
    text += fmt::format("{:>14.1f} {:>14.1f} {:>10}  {}\n", s.tokens_per_s_per_user(),
                        s.tokens_per_s_per_gpu(), format_seconds(s.ttft_s), describe(deployment));
  }
  return text;
}

// Its own path beside the first: plan.yaml -> plan.prefill.yaml.
std::string prefill_path(const std::string& path) {
  const std::filesystem::path whole(path);
  std::filesystem::path out = whole;
  out.replace_filename(whole.stem().string() + ".prefill" + whole.extension().string());
  return out.string();
}

// As a plan file at `from` would name it; catalog names stay as they are.
std::string model_reference(const ShapeInput& model, const std::string& from) {
  std::error_code ignored;
  if (!std::filesystem::exists(model.path, ignored)) return model.path;
  const auto folder = std::filesystem::absolute(from, ignored).parent_path();
  const auto relative = std::filesystem::relative(model.path, folder, ignored);
  return relative.empty() ? model.path : relative.string();
}

}  // namespace

std::vector<PlanFile> plan_files(const PlanRequest& request, const Deployment& deployment,
                                 const std::string& path) {
  const Problem& problem = request.problem;
  std::vector<PlanFile> files;
  std::vector<Plan> plans = deployed_plans(problem, deployment);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Pool& pool = deployment.pools[i];
    const bool second = pool.role == Role::Prefill;
    Plan& plan = plans[i];
    plan.model = model_reference(request.model, path);
    if (pool.role == Role::Decode) {
      plan.prefill_pool = std::filesystem::path(prefill_path(path)).filename().string();
    }
    const std::vector<std::string> comments = {
        fmt::format("pentafold plan: {}", problem.model.name),
        fmt::format("{} x {} for {}; {}", pool.gpus(), problem.cluster.gpu.name,
                    to_string(pool.role), performance(problem, deployment.score))};
    files.insert(second ? files.end() : files.begin(),
                 {second ? prefill_path(path) : path, format_plan(plan, comments)});
  }
  return files;
}

std::string format_found(const PlanAnswer& answer) {
  const Problem& problem = answer.request.problem;
  const SearchResult& result = answer.result;
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  const Deployment& winner = *result.winner;
  std::string text = asked(answer.request);
  text += fmt::format("best of {}:\n\n  {}: {}\n", searched(answer), gpus_text(winner.score.gpus),
                      performance(problem, winner.score));
  for (const Pool& pool : winner.pools) text += pool_text(costs, problem, pool);
  text += format_round(answer);
  text += not_told_apart(answer);
  text += others(problem, result);
  text += other_precisions(problem, result);
  return text + pareto_table(result);
}

std::string format_not_found(const PlanAnswer& answer) {
  const PlanRequest& request = answer.request;
  const SearchResult& result = answer.result;
  std::string text = asked(request);
  text += fmt::format("no plan: none of {} meets the targets.\n", searched(answer));
  if (answer.why == nullptr) return text + format_round(answer);
  const WhyNot& why = *answer.why;
  if (why.nearest) {
    text += fmt::format("\nthe nearest, {}, misses {}: {}, limit {}\n",
                        describe(why.nearest_worker), to_string(why.nearest->limit),
                        format_limit(why.nearest->limit, why.nearest->reached),
                        format_limit(why.nearest->limit, why.nearest->bound));
    if (why.nearest->limit == Limit::Memory) {
      const double missing = why.nearest->reached - why.nearest->bound;
      text += fmt::format("  {} too much on each GPU, {} on all {}\n", format_bytes(missing),
                          format_bytes(missing * static_cast<double>(why.nearest_worker.gpus())),
                          why.nearest_worker.gpus());
    }
  }
  text += "\nlower bounds:\n";
  for (const Certificate& certificate : why.certificates) {
    text +=
        fmt::format("  {} {}\n", certificate.proves() ? "proof:" : "bound:", sentence(certificate));
  }
  text += why.relaxations.empty() ? "\nno single relaxation would do.\n"
                                  : "\nany one of these would do:\n";
  for (const Relaxation& relaxation : why.relaxations) {
    text += fmt::format("  {}  ({})\n      {}: {}, {}{}\n", relaxation.change, relaxation.option,
                        describe(relaxation.found), gpus_text(relaxation.found.score.gpus),
                        performance(relaxation.problem, relaxation.found.score),
                        relaxation.note.empty() ? "" : fmt::format("; {}", relaxation.note));
  }
  if (!why.fewest.empty()) text += "\nfewest GPUs, by the precision of the weights:\n";
  for (const FewestGpus& fewest : why.fewest) {
    text += fmt::format("  {:<26} {}\n", to_string(fewest.precision),
                        fewest.gpus ? fmt::format("{}", *fewest.gpus)
                                    : fmt::format("not with {}", request.problem.max_gpus));
  }
  return text + others(request.problem, result) + other_precisions(request.problem, result);
}

}  // namespace pentafold
