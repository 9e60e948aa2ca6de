#include "policy/batching.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {

Batcher::Batcher(const BatchLimits& limits) : limits_(limits) {
  CHECK(limits.groups >= 1 && limits.block_tokens >= 1 && limits.hash_tokens >= 1 &&
        limits.max_sequences >= 1 && limits.max_group_sequences >= 1 && limits.step_tokens >= 1 &&
        limits.piece_tokens >= 1);
  for (std::int64_t i = 0; i < limits.groups; ++i) groups_.emplace_back(limits.blocks_per_group);
}

std::span<const std::int32_t> Batcher::running_in(std::int64_t group) const {
  return groups_[static_cast<std::size_t>(group)].running;
}

const KvBlockPool& Batcher::pool(std::int64_t group) const {
  return groups_[static_cast<std::size_t>(group)].pool;
}

std::int64_t Batcher::used_blocks() const {
  std::int64_t used = 0;
  for (const Group& group : groups_) used += group.pool.used();
  return used;
}

std::int64_t Batcher::blocks_of(std::int64_t tokens) const {
  return (tokens + limits_.block_tokens - 1) / limits_.block_tokens;
}

std::int64_t Batcher::blocks_needed(std::int64_t prompt, std::int64_t max_output) const {
  // The longer one alone first: only what could fit is small enough to add.
  const std::int64_t longer = std::max(prompt, max_output) / limits_.block_tokens;
  return longer > limits_.blocks_per_group ? longer : blocks_of(prompt + max_output);
}

std::int64_t Batcher::choose_group() const {
  if (limits_.group_choice == GroupChoice::RoundRobin) return added_ % limits_.groups;
  const auto least = std::min_element(
      groups_.begin(), groups_.end(),
      [](const Group& a, const Group& b) { return a.outstanding < b.outstanding; });
  return least - groups_.begin();
}

std::optional<std::int32_t> Batcher::add(NewSequence sequence) {
  CHECK(sequence.prompt >= 1 && sequence.max_output >= 1 &&
        sequence.generated < sequence.max_output);
  if (!fits(sequence.prompt, sequence.max_output)) return std::nullopt;
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::int32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::int32_t index = free_slots_.back();
  free_slots_.pop_back();
  Sequence& s = slot(index);
  s = Sequence{};
  s.id = sequence.id;
  s.prompt = sequence.prompt;
  s.max_output = sequence.max_output;
  s.priority = sequence.priority;
  s.group = choose_group();
  s.number = added_++;
  s.generated = sequence.generated;
  s.hashes = std::move(sequence.hashes);
  if (s.generated > 0) {
    s.has_cache = true;
    s.computed = s.prompt + s.generated - 1;
    s.target = s.computed;
  }
  Group& group = group_of(s);
  group.outstanding += s.prompt + s.generated;
  group.waiting.emplace(s.priority, s.number, index);
  ++waiting_count_;
  return index;
}

// What a block of this content is called. Those that no hash covers are known to their own sequence
// alone, which may find them again after it was preempted.
std::uint64_t Batcher::name_of(std::span<const std::uint64_t> hashes, std::int64_t number,
                               std::int64_t block) const {
  const std::int64_t last = ((block + 1) * limits_.block_tokens - 1) / limits_.hash_tokens;
  const auto index = static_cast<std::uint64_t>(block);
  if (last < std::ssize(hashes)) {
    return mix64(hashes[static_cast<std::size_t>(last)] ^ mix64(index));
  }
  return mix64(mix64(~static_cast<std::uint64_t>(number)) + index);
}

// Blocks at the front that somebody may look for.
std::int64_t Batcher::named_blocks(const Sequence& s) const {
  if (!limits_.share_prefixes) return 0;
  if (s.preemptions > 0) return kUnlimited;
  return std::ssize(s.hashes) * limits_.hash_tokens / limits_.block_tokens;
}

std::int64_t Batcher::cached_tokens(std::span<const std::uint64_t> hashes) const {
  const std::int64_t named = std::ssize(hashes) * limits_.hash_tokens / limits_.block_tokens;
  std::int64_t most = 0;
  for (const Group& group : groups_) {
    std::int64_t found = 0;
    while (found < named && group.pool.find(name_of(hashes, 0, found)) != KvBlockPool::kNone) {
      ++found;
    }
    most = std::max(most, found);
  }
  return most * limits_.block_tokens;
}

void Batcher::find_blocks(const Group& group, const Sequence& s, std::int64_t most) const {
  found_.clear();
  for (std::int64_t b = 0; b < std::min(most, named_blocks(s)); ++b) {
    const std::int32_t block = group.pool.find(name_of(s.hashes, s.number, b));
    if (block == KvBlockPool::kNone) return;
    found_.push_back(block);
  }
}

void Batcher::publish(Group& group, const Sequence& s, Range blocks) {
  for (std::int64_t b = blocks.begin; b < blocks.end; ++b) {
    group.pool.publish(s.blocks[static_cast<std::size_t>(b)], name_of(s.hashes, s.number, b));
  }
}

// Also fills found_.
Batcher::Demand Batcher::demand(const Group& group, const Sequence& s) const {
  const bool whole = limits_.preemption == Preemption::Never;
  const std::int64_t tokens = s.prompt + s.generated;  // that the next token needs in the cache
  const std::int64_t blocks = blocks_of(whole ? s.prompt + s.max_output : tokens);
  Demand need;
  if (s.has_cache) {
    found_.clear();
    need.fresh = whole ? blocks : blocks_of(s.computed);
    need.fits = blocks <= group.pool.available();
    return need;
  }
  // The last token is always computed: its row gives the next one.
  find_blocks(group, s, (tokens - 1) / limits_.block_tokens);
  const std::int64_t idle = std::count_if(
      found_.begin(), found_.end(), [&](std::int32_t block) { return group.pool.idle(block); });
  need.fresh = whole ? blocks - std::ssize(found_) : 0;
  need.fits = blocks - std::ssize(found_) + idle <= group.pool.available();
  return need;
}

bool Batcher::head_fits(const Group& group) const {
  if (group.waiting.empty() || running_count_ >= limits_.max_sequences) return false;
  if (std::ssize(group.running) >= limits_.max_group_sequences) return false;
  const Sequence& head = at(std::get<2>(group.waiting.top()));
  const bool crowded = group.context + head.prompt + head.generated > limits_.max_context;
  if (crowded && !group.running.empty()) return false;
  return demand(group, head).fits;
}

bool Batcher::can_admit() const {
  return std::any_of(groups_.begin(), groups_.end(),
                     [&](const Group& group) { return head_fits(group); });
}

// The group whose head comes first of those that may be admitted now.
Batcher::Group* Batcher::next_group() {
  Group* first = nullptr;
  for (Group& group : groups_) {
    if (group.closed || group.budget <= 0 || group.waiting.empty()) continue;
    if (first != nullptr && first->waiting.top() < group.waiting.top()) continue;
    if (head_fits(group)) first = &group;
  }
  return first;
}

void Batcher::admit_all() {
  for (Group* group = next_group(); group != nullptr; group = next_group()) admit(*group);
}

void Batcher::admit(Group& group) {
  const std::int32_t index = std::get<2>(group.waiting.top());
  group.waiting.pop();
  --waiting_count_;
  ++running_count_;
  Sequence& s = slot(index);
  const Demand need = demand(group, s);
  for (const std::int32_t block : found_) group.pool.share(block);
  s.blocks = found_;
  CHECK(group.pool.allocate(need.fresh, s.blocks));
  s.shared = std::ssize(found_) * limits_.block_tokens;
  if (!s.has_cache) {
    s.computed = s.shared;
    s.target = s.prompt + s.generated;
  } else if (s.preemptions > 0) {
    step_.swapped_blocks += need.fresh;
  }
  s.has_cache = false;
  group.context += s.prompt + s.generated;
  const auto later = [&](std::int32_t a, std::int32_t b) {
    return std::pair(at(a).priority, at(a).number) < std::pair(at(b).priority, at(b).number);
  };
  group.running.insert(std::upper_bound(group.running.begin(), group.running.end(), index, later),
                       index);
  step_.admitted.push_back(index);
  if (!s.decoding()) {
    compute_piece(group, index);
  } else if (limits_.mixed_steps &&
             group.pool.allocate(blocks_of(s.computed + 1) - std::ssize(s.blocks), s.blocks)) {
    step_.parts.push_back({index, s.computed++, 1, true, true});
    --group.budget;
  }
}

const BatchStep& Batcher::next() {
  CHECK(!idle(), "next() without work");
  step_.parts.clear();
  step_.admitted.clear();
  step_.preempted.clear();
  step_.swapped_blocks = 0;
  for (Group& group : groups_) {
    group.budget = limits_.step_tokens;
    group.closed = false;
    if (limits_.mixed_steps) schedule_decodes(group);
    schedule_prompts(group);
  }
  admit_all();
  if (!limits_.mixed_steps && step_.parts.empty()) {
    for (Group& group : groups_) schedule_decodes(group);
  }
  if (!limits_.mixed_steps && step_.parts.empty()) {  // whoever could not decode has made room
    for (Group& group : groups_) schedule_prompts(group);
  }
  CHECK(!step_.parts.empty(), "the first sequence in order can always go on");
  return step_;
}

void Batcher::schedule_decodes(Group& group) {
  for (std::size_t i = 0; i < group.running.size(); ++i) {
    const std::int32_t index = group.running[i];
    if (!at(index).decoding()) continue;
    if (!grow(group, index, 1, false)) break;  // it was the last
    step_.parts.push_back({index, slot(index).computed++, 1, true, true});
    --group.budget;
  }
}

void Batcher::schedule_prompts(Group& group) {
  for (std::size_t i = 0; i < group.running.size(); ++i) {
    if (!at(group.running[i]).decoding()) compute_piece(group, group.running[i]);
  }
}

void Batcher::compute_piece(Group& group, std::int32_t index) {
  Sequence& s = slot(index);
  const std::int64_t tokens = std::min({s.target - s.computed, group.budget, limits_.piece_tokens});
  if (tokens <= 0 || !grow(group, index, tokens, true)) return;
  const std::int64_t start = s.computed;
  s.computed += tokens;
  group.budget -= tokens;
  step_.parts.push_back({index, start, tokens, false, s.decoding()});
  const std::int64_t whole = std::min(s.computed / limits_.block_tokens, named_blocks(s));
  publish(group, s, {start / limits_.block_tokens, whole});
}

// Takes the blocks for `tokens` more. Without room, sequences behind this one lose theirs, the last
// first; for a decode at last its own. A prompt takes them from prompts that are incomplete alone:
// what decodes is in the step already, and a prompt can wait for its end.
bool Batcher::grow(Group& group, std::int32_t index, std::int64_t tokens, bool only_prompts) {
  Sequence& s = slot(index);
  const std::int64_t need = blocks_of(s.computed + tokens) - std::ssize(s.blocks);
  if (need <= 0) return true;
  while (!group.pool.allocate(need, s.blocks)) {
    const auto victim =
        std::find_if(group.running.rbegin(), group.running.rend(), [&](std::int32_t other) {
          return other == index || !only_prompts || !at(other).decoding();
        });
    const bool own = *victim == index;
    if (own && only_prompts) return false;
    preempt(group, *victim);
    if (own) return false;
  }
  return true;
}

void Batcher::preempt(Group& group, std::int32_t index) {
  Sequence& s = slot(index);
  std::erase(group.running, index);
  if (limits_.share_prefixes && limits_.preemption == Preemption::Recompute) {
    publish(group, s, {0, s.computed / limits_.block_tokens});  // to be found again, if in time
  }
  group.pool.release(s.blocks);
  if (limits_.preemption == Preemption::Swap) {
    step_.swapped_blocks += std::ssize(s.blocks);
    s.has_cache = s.computed > 0;
  } else {
    s.computed = 0;
  }
  s.blocks.clear();
  ++s.preemptions;
  group.context -= s.prompt + s.generated;
  group.closed = true;
  group.waiting.emplace(s.priority, s.number, index);
  ++waiting_count_;
  --running_count_;
  step_.preempted.push_back(index);
}

bool Batcher::token(std::int32_t index) {
  Sequence& s = slot(index);
  Group& group = group_of(s);
  ++group.context;
  ++group.outstanding;
  return ++s.generated >= s.max_output;
}

void Batcher::finish(std::int32_t index) {
  Sequence& s = slot(index);
  Group& group = group_of(s);
  CHECK(std::erase(group.running, index) == 1, "only what runs can finish");
  group.pool.release(s.blocks);
  group.context -= s.prompt + s.generated;
  group.outstanding -= s.prompt + s.generated;
  --running_count_;
  s = Sequence{};
  free_slots_.push_back(index);
}

bool Batcher::blocks_suffice(const Group& group, std::int64_t steps) const {
  std::int64_t need = 0;
  for (const std::int32_t index : group.running) {
    const Sequence& s = at(index);
    need += std::max<std::int64_t>(0, blocks_of(s.computed + steps) - std::ssize(s.blocks));
  }
  return need <= group.pool.available();
}

std::int64_t Batcher::decode_run() const {
  if (running_count_ == 0 || can_admit()) return 0;
  std::int64_t steps = kUnlimited;
  for (const Group& group : groups_) {
    for (const std::int32_t index : group.running) {
      const Sequence& s = at(index);
      if (!s.decoding()) return 0;
      steps = std::min(steps, s.max_output - s.generated);
    }
  }
  for (const Group& group : groups_) {
    if (blocks_suffice(group, steps)) continue;
    std::int64_t enough = 0;
    for (std::int64_t many = steps; many - enough > 1;) {
      const std::int64_t middle = enough + (many - enough) / 2;
      (blocks_suffice(group, middle) ? enough : many) = middle;
    }
    steps = enough;
  }
  return steps;
}

void Batcher::advance(std::int64_t steps) {
  for (Group& group : groups_) {
    const std::int64_t tokens = steps * std::ssize(group.running);
    group.context += tokens;
    group.outstanding += tokens;
    for (const std::int32_t index : group.running) {
      Sequence& s = slot(index);
      s.computed += steps;
      s.generated += steps;
      const std::int64_t need = blocks_of(s.computed) - std::ssize(s.blocks);
      if (need > 0) CHECK(group.pool.allocate(need, s.blocks), "more steps than decode_run allows");
    }
  }
}

}  // namespace pentafold
