#include "policy/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace pentafold {
SchedulerLimits scheduler_limits(const Plan& plan, std::int64_t blocks_per_group) {
  SchedulerLimits limits;
  for (const StagePlan& stage : plan.stages) limits.groups = std::lcm(limits.groups, stage.dp);
  limits.blocks_per_group = blocks_per_group;
  limits.max_batch = plan.max_batch;
  limits.prefill_chunk = plan.prefill_chunk;
  limits.microbatches = plan.microbatches;
  return limits;
}

std::int64_t StepBatch::context() const {
  std::int64_t sum = 0;
  for (const Segment& segment : segments) sum += segment.start + std::ssize(segment.tokens);
  return sum;
}

BatchLimits batch_limits(const SchedulerLimits& limits) {
  BatchLimits batch;
  batch.groups = limits.groups;
  batch.blocks_per_group = limits.blocks_per_group;
  batch.block_tokens = kBlockTokens;
  batch.max_sequences = limits.max_batch;
  batch.piece_tokens = limits.prefill_chunk;
  batch.mixed_steps = false;
  batch.preemption = Preemption::Never;
  return batch;
}

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), batcher_(batch_limits(limits)) {}

Status Scheduler::add(Request request) {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const auto slot = batcher_.add({request.id.value, prompt, request.max_tokens, 0, 0, {}});
  if (!slot) {
    return make_error(
        ErrorCode::OutOfMemory,
        fmt::format("request {}: {} prompt + {} new tokens need {} KV blocks of {} tokens, a dp "
                    "group has {}; raise kv_blocks or shorten the request",
                    request.id.value, prompt, request.max_tokens,
                    batcher_.blocks_needed(prompt, request.max_tokens), kBlockTokens,
                    limits_.blocks_per_group));
  }
  const auto at = static_cast<std::size_t>(*slot);
  if (entries_.size() <= at) entries_.resize(at + 1);
  entries_[at] = {std::move(request), 0, nullptr};
  return ok_status();
}

StepBatch Scheduler::next() {
  const BatchStep& step = batcher_.next();
  for (const std::int32_t slot : step.admitted) {
    Entry& entry = entries_[static_cast<std::size_t>(slot)];
    entry.blocks = std::make_shared<std::vector<std::int32_t>>(batcher_.at(slot).blocks);
    const std::pair running(entry.request.id, slot);
    running_.insert(std::upper_bound(running_.begin(), running_.end(), running), running);
  }
  StepBatch batch;
  batch.number = steps_++;
  batch.phase = step.parts.front().decode ? Phase::Decode : Phase::Prefill;
  for (const StepPart& part : step.parts) {
    const Entry& entry = entries_[static_cast<std::size_t>(part.slot)];
    Segment segment;
    segment.request = entry.request.id;
    segment.start = part.start;
    segment.group = batcher_.at(part.slot).group;
    segment.samples = part.samples;
    segment.blocks = entry.blocks;
    if (part.decode) {
      segment.tokens = {entry.last_token};
    } else {
      const auto from = entry.request.prompt.begin() + part.start;
      segment.tokens.assign(from, from + part.tokens);
    }
    batch.tokens += part.tokens;
    batch.segments.push_back(std::move(segment));
  }
  std::sort(batch.segments.begin(), batch.segments.end(), [](const Segment& a, const Segment& b) {
    return std::pair(a.request, a.start) < std::pair(b.request, b.start);
  });
  cut_microbatches(batch);
  return batch;
}

void Scheduler::cut_microbatches(StepBatch& batch) const {
  const auto segments = static_cast<std::int64_t>(batch.segments.size());
  const std::int64_t parts = std::min(limits_.microbatches, segments);
  for (std::int64_t i = 0; i < parts; ++i) batch.microbatches.push_back(split(segments, parts, i));
}

bool Scheduler::accept(RequestId request, std::int32_t token) {
  const auto at =
      std::lower_bound(running_.begin(), running_.end(), request,
                       [](const auto& running, RequestId id) { return running.first < id; });
  CHECK(at != running_.end() && at->first == request, "a token for a request that is not running");
  const std::int32_t slot = at->second;
  Entry& entry = entries_[static_cast<std::size_t>(slot)];
  entry.last_token = token;
  const bool last = batcher_.token(slot);
  const auto& stops = entry.request.stop_ids;
  if (!last && std::find(stops.begin(), stops.end(), token) == stops.end()) return false;
  batcher_.finish(slot);
  running_.erase(at);
  entry = Entry{};
  return true;
}

}  // namespace pentafold
