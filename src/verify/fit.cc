// Fit: what every rank needs against what a device has, and KV blocks against the requests.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "verify/checks.h"

namespace pentafold {
namespace {

std::string bytes(std::int64_t n) {
  return format_bytes(static_cast<double>(n));
}

// What to change, by what takes the most.
const char* remedy(const MemoryUse& use) {
  const std::int64_t working = use.registers + use.buffers;
  if (use.weights >= use.kv && use.weights >= working) {
    return "cut the weights over more ranks (ep, tp or pp), or store them as bf16";
  }
  if (use.kv >= working) return "lower kv_blocks, or cut the KV heads and layers (tp, sp or pp)";
  return "lower prefill_chunk or max_batch, or use more microbatches";
}

void judge_memory(const Judged& judged, const std::vector<MemoryUse>& uses, Findings& findings) {
  const std::int64_t limit = judged.context.plan.device_memory_bytes;
  if (limit == 0) return;
  const auto over = std::count_if(uses.begin(), uses.end(),
                                  [&](const MemoryUse& u) { return u.total() > limit; });
  if (over == 0) return;
  const auto worst = std::max_element(
      uses.begin(), uses.end(),
      [](const MemoryUse& a, const MemoryUse& b) { return a.total() < b.total(); });
  const RankProgram& program = judged.programs[static_cast<std::size_t>(worst - uses.begin())];
  findings.add(
      "fit", program.place.stage,
      fmt::format("{} needs {} (weights {}, KV {}, registers {}, buffers {}), a device has {}, and "
                  "{} of {} ranks of a replica do not fit; {}",
                  name_rank(program), bytes(worst->total()), bytes(worst->weights),
                  bytes(worst->kv), bytes(worst->registers), bytes(worst->buffers), bytes(limit),
                  over, uses.size(), remedy(*worst)),
      ErrorCode::OutOfMemory);
}

}  // namespace

void check_kv_blocks(const Plan& plan, Findings& findings) {
  const SyntheticRequests& requests = plan.requests;
  if (plan.kv_blocks == 0 || requests.requests == 0) return;
  const std::int64_t need = kv_blocks_for(requests.prompt_tokens + requests.max_tokens);
  if (need <= plan.kv_blocks) return;
  findings.add(
      "fit", make_error(ErrorCode::OutOfMemory,
                        fmt::format("a request of {} prompt + {} new tokens needs {} KV blocks of "
                                    "{} tokens, kv_blocks gives {}; raise kv_blocks to at least {} "
                                    "or shorten the requests",
                                    requests.prompt_tokens, requests.max_tokens, need,
                                    kKvTokensPerBlock, plan.kv_blocks, need),
                        plan.file));
}

void check_fit(const Judged& judged, Verdict& verdict, Findings& findings) {
  verdict.kv_blocks = planned_kv_blocks(judged.context.plan);
  const RunBounds run = planned_bounds(judged.context.plan, verdict.kv_blocks);
  std::vector<MemoryUse> uses;
  uses.reserve(judged.programs.size());
  for (const RankProgram& program : judged.programs) {
    uses.push_back(memory_use(judged.context, program, run));
  }
  verdict.least_memory = verdict.most_memory = uses.front();
  verdict.least_total = verdict.most_total = uses.front().total();
  for (const MemoryUse& use : uses) {
    for (std::int64_t MemoryUse::* const kind :
         {&MemoryUse::weights, &MemoryUse::kv, &MemoryUse::registers, &MemoryUse::buffers}) {
      verdict.least_memory.*kind = std::min(verdict.least_memory.*kind, use.*kind);
      verdict.most_memory.*kind = std::max(verdict.most_memory.*kind, use.*kind);
    }
    verdict.least_total = std::min(verdict.least_total, use.total());
    verdict.most_total = std::max(verdict.most_total, use.total());
  }
  judge_memory(judged, uses, findings);
  check_kv_blocks(judged.context.plan, findings);
}

}  // namespace pentafold
