// Router: which replica serves a request. From counts alone: no clock, no network.
//
// Round robin deals in turn. The others take the replica with the least to do, ties in turn:
// LeastRequests counts requests that are not finished, LeastTokens the tokens of their prompts,
// PrefixAware those and the tokens of this prompt that the replica would have to compute, so that a
// cached beginning attracts requests until the replica is busier than the beginning is worth.
// Source: the cost of NVIDIA Dynamo's KV router with equal weights. Cost: O(replicas) a request.
// Held by policy/router_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pentafold {

enum class RouterPolicy { RoundRobin, LeastRequests, LeastTokens, PrefixAware };
const char* to_string(RouterPolicy policy);  // "round_robin"

class Router {
 public:
  Router(RouterPolicy policy, std::int64_t replicas);

  RouterPolicy policy() const { return policy_; }
  // `cached`: tokens of this prompt that each replica holds (PrefixAware), else empty. The request
  // counts as the replica's from now on.
  std::int64_t choose(std::int64_t prompt, std::span<const std::int64_t> cached);
  void finished(std::int64_t replica, std::int64_t prompt);

 private:
  struct Load {
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
  };
  std::int64_t cost(std::size_t replica, std::int64_t prompt,
                    std::span<const std::int64_t> cached) const;

  RouterPolicy policy_;
  std::vector<Load> loads_;
  std::size_t turn_ = 0;
};

}  // namespace pentafold
