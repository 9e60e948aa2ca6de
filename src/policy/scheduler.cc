#include "policy/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace pentafold {
namespace {

std::int64_t blocks_for(const Request& request) {
  const auto tokens = static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens;
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

}  // namespace

SchedulerLimits scheduler_limits(const Plan& plan, std::int64_t blocks_per_group) {
  SchedulerLimits limits;
  for (const StagePlan& stage : plan.stages) limits.groups = std::lcm(limits.groups, stage.dp);
  limits.blocks_per_group = blocks_per_group;
  limits.max_batch = plan.max_batch;
  limits.prefill_chunk = plan.prefill_chunk;
  limits.microbatches = plan.microbatches;
  return limits;
}

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits) {
  free_blocks_.resize(static_cast<std::size_t>(limits.groups));
  for (auto& blocks : free_blocks_) {
    blocks.resize(static_cast<std::size_t>(limits.blocks_per_group));
    // Taken from the back: block 0 first.
    std::iota(blocks.rbegin(), blocks.rend(), 0);
  }
}

Status Scheduler::add(Request request) {
  CHECK(!request.prompt.empty() && request.max_tokens >= 1);
  // Asked for as it may be: only what could fit is small enough to add to.
  const bool absurd = request.max_tokens / kBlockTokens > limits_.blocks_per_group;
  const std::int64_t need = absurd ? request.max_tokens / kBlockTokens : blocks_for(request);
  if (need > limits_.blocks_per_group) {
    return make_error(
        ErrorCode::OutOfMemory,
        fmt::format("request {}: {} prompt + {} new tokens need {} KV blocks of {} tokens, a dp "
                    "group has {}; raise kv_blocks or shorten the request",
                    request.id.value, request.prompt.size(), request.max_tokens, need, kBlockTokens,
                    limits_.blocks_per_group));
  }
  const std::int64_t group = added_++ % limits_.groups;
  waiting_.emplace_back(std::move(request), group);
  return ok_status();
}

void Scheduler::admit() {
  while (!waiting_.empty() && static_cast<std::int64_t>(running_.size()) < limits_.max_batch) {
    auto& [request, group] = waiting_.front();
    auto& free = free_blocks_[static_cast<std::size_t>(group)];
    const auto need = static_cast<std::size_t>(blocks_for(request));
    if (free.size() < need) return;
    auto blocks = std::make_shared<std::vector<std::int32_t>>();
    for (std::size_t i = 0; i < need; ++i) {
      blocks->push_back(free.back());
      free.pop_back();
    }
    Running running;
    running.request = std::move(request);
    running.group = group;
    running.blocks = std::move(blocks);
    const auto at =
        std::upper_bound(running_.begin(), running_.end(), running.request.id,
                         [](RequestId id, const Running& other) { return id < other.request.id; });
    running_.insert(at, std::move(running));
    waiting_.pop_front();
  }
}

StepBatch Scheduler::next() {
  admit();
  CHECK(!running_.empty(), "next() without work");
  StepBatch batch;
  batch.number = steps_++;
  const auto prompt_left = [](const Running& r) {
    return static_cast<std::int64_t>(r.request.prompt.size()) - r.computed;
  };
  const bool prefill = std::any_of(running_.begin(), running_.end(),
                                   [&](const Running& r) { return prompt_left(r) > 0; });
  batch.phase = prefill ? Phase::Prefill : Phase::Decode;
  for (Running& r : running_) {
    Segment segment;
    segment.request = r.request.id;
    segment.start = r.computed;
    segment.group = r.group;
    segment.blocks = r.blocks;
    if (prefill) {
      const std::int64_t count = std::min(prompt_left(r), limits_.prefill_chunk);
      if (count <= 0) continue;
      const auto from = r.request.prompt.begin() + r.computed;
      segment.tokens.assign(from, from + count);
    } else {
      segment.tokens = {r.last_token};
    }
    r.computed += static_cast<std::int64_t>(segment.tokens.size());
    segment.samples = prompt_left(r) <= 0;
    batch.tokens += static_cast<std::int64_t>(segment.tokens.size());
    batch.segments.push_back(std::move(segment));
  }
  cut_microbatches(batch);
  return batch;
}

void Scheduler::cut_microbatches(StepBatch& batch) const {
  const auto segments = static_cast<std::int64_t>(batch.segments.size());
  const std::int64_t parts = std::min(limits_.microbatches, segments);
  for (std::int64_t i = 0; i < parts; ++i) batch.microbatches.push_back(split(segments, parts, i));
}

bool Scheduler::accept(RequestId request, std::int32_t token) {
  const auto at = std::find_if(running_.begin(), running_.end(),
                               [&](const Running& r) { return r.request.id == request; });
  CHECK(at != running_.end(), "a token for a request that is not running");
  at->last_token = token;
  ++at->generated;
  const auto& stops = at->request.stop_ids;
  const bool stopped = std::find(stops.begin(), stops.end(), token) != stops.end();
  if (!stopped && at->generated < at->request.max_tokens) return false;
  auto& free = free_blocks_[static_cast<std::size_t>(at->group)];
  free.insert(free.end(), at->blocks->rbegin(), at->blocks->rend());
  running_.erase(at);
  return true;
}

}  // namespace pentafold
