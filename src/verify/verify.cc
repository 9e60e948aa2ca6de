#include "verify/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/units.h"
#include "verify/checks.h"

namespace pentafold {

void Findings::add(const char* check, const Error& error) {
  if (counts_[check]++ < kMostOfACheck) found_.push_back({check, error});
}

void Findings::add(const char* check, StageId stage, const std::string& sentence, ErrorCode code) {
  add(check, make_error(code, sentence, plan_.file, plan_.stages[stage.index()].line));
}

std::vector<Finding> Findings::take() {
  for (const auto& [check, count] : counts_) {
    if (count <= kMostOfACheck) continue;
    found_.push_back({check, make_error(ErrorCode::InfeasiblePlan,
                                        fmt::format("{} findings more of this kind ({})",
                                                    count - kMostOfACheck, check),
                                        plan_.file)});
  }
  return std::move(found_);
}

std::string name_rank(const RankProgram& program) {
  return fmt::format("rank {} (stage {})", program.rank.value, program.place.stage.value);
}

bool check_groups(const Plan& plan, Findings& findings) {
  constexpr std::int64_t kMostGroups = std::int64_t{1} << 20;
  if (schedule_groups(plan) <= kMostGroups) return true;
  findings.add("folding", make_error(ErrorCode::InfeasiblePlan,
                                     "the dp degrees of the stages have too large a least common "
                                     "multiple to deal requests to; let them divide each other",
                                     plan.file));
  return false;
}

namespace {

// Lowering takes no part before these hold.
std::optional<LoweringContext> fold(const Plan& plan, const ModelSpec& model, Findings& findings) {
  const std::vector<Error> failures = folding_failures(plan, model);
  for (const Error& error : failures) findings.add("folding", error);
  if (!failures.empty()) return std::nullopt;
  if (!check_groups(plan, findings)) return std::nullopt;
  auto context = LoweringContext::make(plan, model);
  if (context.ok()) return std::move(context).value();
  findings.add("placement", context.error());
  return std::nullopt;
}

void judge(const Judged& judged, Verdict& verdict, Findings& findings) {
  check_conservation(judged, findings);
  check_matching(judged, findings);
  check_shapes(judged, findings);
  if (judged.counted == nullptr) {
    check_fit(judged, verdict, findings);
    return;
  }
  const LoweringContext& context = judged.context;
  check_capacity(context.plan, *judged.counted, context.placements, verdict, findings);
  check_kv_blocks(context.plan, findings);
}

std::vector<RankProgram> lower_replica(const LoweringContext& context, std::int64_t replica) {
  const std::int64_t ranks = context.plan.ranks_per_replica();
  std::vector<RankProgram> programs;
  programs.reserve(static_cast<std::size_t>(ranks));
  for (std::int64_t i = 0; i < ranks; ++i) {
    programs.push_back(lower_rank(context, Rank(replica * ranks + i)));
  }
  return programs;
}

void count(const Judged& judged, Verdict& verdict) {
  const std::int64_t replicas = judged.context.plan.replicas;
  verdict.ranks = judged.context.plan.world();
  for (const TensorInfo& info : model_tensors(judged.context.model)) {
    verdict.model_parameters += info.count();
  }
  std::int64_t busiest = -1;
  for (const RankProgram& program : judged.programs) {
    for (const WeightSlice& slice : held_weights(program)) {
      verdict.held_parameters += static_cast<double>(replicas) * static_cast<double>(slice.count());
    }
    std::int64_t of_prefill = 0;
    std::map<std::string, std::int64_t> names;
    for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
      for (const Step& step : program.of(phase).steps) {
        const Communication talk = communication_of(step);
        verdict.steps += replicas;
        verdict.messages += replicas * static_cast<std::int64_t>(talk.sends.size());
        if (!talk.exchange) continue;
        verdict.collectives += replicas;
        if (phase == Phase::Decode) continue;
        ++of_prefill;
        ++names[step_name(step)];
      }
    }
    if (of_prefill <= busiest) continue;
    busiest = of_prefill;
    verdict.collectives_of_rank = std::move(names);
  }
}

bool one_replica_in_order(const LoweringContext& context, std::span<const RankProgram> programs) {
  const std::int64_t ranks = context.plan.ranks_per_replica();
  if (static_cast<std::int64_t>(programs.size()) != ranks) return false;
  if (programs.front().rank.value % ranks != 0) return false;
  for (std::size_t i = 0; i < programs.size(); ++i) {
    const std::int64_t rank = programs.front().rank.value + static_cast<std::int64_t>(i);
    if (programs[i].rank.value != rank || rank >= context.plan.world()) return false;
  }
  return true;
}

}  // namespace

Verdict verify(const Plan& plan, const ModelSpec& model) {
  if (!plan.precision) return verify_counted(plan, model, nullptr);
  const ModelShape shape = shape_of(model);
  return verify_counted(plan, model, &shape);
}

Verdict verify_counted(const Plan& plan, const ModelSpec& model, const ModelShape* counted) {
  Verdict verdict;
  Findings findings(plan);
  if (const auto context = fold(plan, model, findings)) {
    const std::vector<RankProgram> first = lower_replica(*context, 0);
    judge({*context, first, counted}, verdict, findings);
    count({*context, first}, verdict);
    if (plan.replicas > 1) {
      const std::vector<RankProgram> last = lower_replica(*context, plan.replicas - 1);
      check_matching({*context, last}, findings);
    }
  }
  verdict.failures = findings.take();
  return verdict;
}

Verdict verify_programs(const Plan& plan, const ModelSpec& model,
                        std::span<const RankProgram> programs) {
  Verdict verdict;
  Findings findings(plan);
  std::optional<ModelShape> counted;
  if (plan.precision) counted = shape_of(model);
  if (const auto context = fold(plan, model, findings)) {
    if (one_replica_in_order(*context, programs)) {
      judge({*context, programs, counted ? &*counted : nullptr}, verdict, findings);
      count({*context, programs}, verdict);
    } else {
      findings.add("matching", make_error(ErrorCode::InfeasiblePlan,
                                          fmt::format("{} programs are not those of one replica of "
                                                      "{} ranks, in order; lower every rank once",
                                                      programs.size(), plan.ranks_per_replica()),
                                          plan.file));
    }
  }
  verdict.failures = findings.take();
  return verdict;
}

namespace {

std::string memory_line(const char* kind, std::int64_t least, std::int64_t most) {
  return fmt::format("  {:<10} {:>10} {:>10}\n", kind, format_bytes(static_cast<double>(least)),
                     format_bytes(static_cast<double>(most)));
}

std::string device_table(const Verdict& verdict, const Plan& plan) {
  const RankBytes& bytes = *verdict.device_bytes;
  const std::string device = plan.device.empty() ? "a device" : plan.device;
  std::string text = fmt::format("  the fullest rank, on {}{}:\n", device,
                                 plan.precision ? ", as " + to_string(*plan.precision) : "");
  const auto line = [&](const char* kind, double n) {
    text += fmt::format("  {:<11} {:>10}\n", kind, format_bytes(n));
  };
  line("weights", bytes.weights);
  if (verdict.kv_blocks > 0) {
    line("KV", bytes.kv);
  } else {
    text += "  KV          not counted: give kv_blocks or requests\n";
  }
  line("activations", bytes.activations);
  line("buffers", bytes.buffers);
  line("runtime", bytes.reserve);
  line("total", bytes.total());
  if (plan.device_memory_bytes > 0) {
    line("of", static_cast<double>(plan.device_memory_bytes));
  } else {
    text += "  not held against a device: the plan gives no device_memory\n";
  }
  return text;
}

std::string memory_table(const Verdict& verdict) {
  const MemoryUse& least = verdict.least_memory;
  const MemoryUse& most = verdict.most_memory;
  std::string text = fmt::format("  {:<10} {:>10} {:>10}\n", "per rank", "least", "most");
  text += memory_line("weights", least.weights, most.weights);
  if (verdict.kv_blocks > 0) {
    text += memory_line("KV", least.kv, most.kv);
  } else {
    text += "  KV         not counted: give kv_blocks or requests\n";
  }
  text += memory_line("registers", least.registers, most.registers);
  text += memory_line("buffers", least.buffers, most.buffers);
  return text + memory_line("peak", verdict.least_total, verdict.most_total);
}

std::string exchange_table(const Verdict& verdict, const Plan& plan) {
  std::int64_t layers = 0;
  for (const StagePlan& stage : plan.stages) layers = std::max(layers, stage.layers);
  std::string text =
      fmt::format("  exchanges of the busiest rank in a prefill, {} layer(s):\n", layers);
  for (const auto& [name, calls] : verdict.collectives_of_rank) {
    text += fmt::format("    {:<14} {:>5}\n", name, calls);
  }
  return text;
}

}  // namespace

std::string format_verdict(const Verdict& verdict, const Plan& plan,
                           const std::string& model_name) {
  std::string text;
  if (!verdict.ok()) {
    text = fmt::format("{} cannot run {}:\n", describe(plan), model_name);
    for (const Finding& finding : verdict.failures) {
      text += fmt::format("  [{}] {}\n", finding.check, finding.error.to_string());
    }
    for (const std::string& note : verdict.not_checked) text += fmt::format("  note: {}\n", note);
    return text;
  }
  text = fmt::format("{} can run {}\n", describe(plan), model_name);
  for (const std::string& note : verdict.not_checked) text += fmt::format("  note: {}\n", note);
  text += fmt::format("  {} ranks in {} replica(s) of {} stage(s)\n", verdict.ranks, plan.replicas,
                      plan.stages.size());
  const auto parameters = static_cast<double>(verdict.model_parameters);
  text += fmt::format("  {} parameters", format_count(parameters));
  if (verdict.held_parameters > 0) {
    text += fmt::format(", held {:.2f} times over all ranks",
                        static_cast<double>(verdict.held_parameters) / parameters);
  }
  text += '\n';
  if (verdict.steps > 0) {
    text += fmt::format("  {} steps, {} exchanges, {} hand-overs in all programs of both phases\n",
                        verdict.steps, verdict.collectives, verdict.messages);
  }
  text += verdict.device_bytes ? device_table(verdict, plan) : memory_table(verdict);
  if (verdict.steps > 0) text += exchange_table(verdict, plan);
  return text;
}

}  // namespace pentafold
