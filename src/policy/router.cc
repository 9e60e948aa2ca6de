#include "policy/router.h"

#include "base/check.h"

namespace pentafold {

const char* to_string(RouterPolicy policy) {
  switch (policy) {
    case RouterPolicy::RoundRobin:
      return "round_robin";
    case RouterPolicy::LeastRequests:
      return "least_requests";
    case RouterPolicy::LeastTokens:
      return "least_tokens";
    case RouterPolicy::PrefixAware:
      return "prefix_aware";
  }
  return "";
}

Router::Router(RouterPolicy policy, std::int64_t replicas)
    : policy_(policy), loads_(static_cast<std::size_t>(replicas)) {
  CHECK(replicas >= 1);
}

std::int64_t Router::cost(std::size_t replica, std::int64_t prompt,
                          std::span<const std::int64_t> cached) const {
  const Load& load = loads_[replica];
  switch (policy_) {
    case RouterPolicy::RoundRobin:
      return 0;
    case RouterPolicy::LeastRequests:
      return load.requests;
    case RouterPolicy::LeastTokens:
      return load.tokens;
    case RouterPolicy::PrefixAware:
      return load.tokens + prompt - cached[replica];
  }
  return 0;
}

std::int64_t Router::choose(std::int64_t prompt, std::span<const std::int64_t> cached) {
  CHECK(policy_ != RouterPolicy::PrefixAware || cached.size() == loads_.size());
  std::size_t best = turn_;
  for (std::size_t i = 1; i < loads_.size(); ++i) {
    const std::size_t replica = (turn_ + i) % loads_.size();
    if (cost(replica, prompt, cached) < cost(best, prompt, cached)) best = replica;
  }
  turn_ = (best + 1) % loads_.size();
  ++loads_[best].requests;
  loads_[best].tokens += prompt;
  return static_cast<std::int64_t>(best);
}

void Router::finished(std::int64_t replica, std::int64_t prompt) {
  Load& load = loads_[static_cast<std::size_t>(replica)];
  CHECK(load.requests > 0);
  --load.requests;
  load.tokens -= prompt;
}

}  // namespace pentafold
