// Problem and Deployment: what is asked of the planner, and one answer to it.
//
// A deployment is one pool of equal workers, or two (disaggregated: some compute prompts, others
// decode, their numbers matched by rate). Limits are judged in a fixed order, memory first, so that
// "the first violated limit" means the same for every candidate.
// Source: disaggregation and rate matching: DistServe (arXiv 2401.09670), Splitwise (2311.18677).
// Cost: plain values. Held by planner/search_test.cc.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "predict/worker_cost.h"
#include "spec/cluster.h"
#include "spec/model_shape.h"
#include "spec/workload.h"

namespace pentafold {

// A server with a queue before it is never planned busier than this.
inline constexpr double kHighestLoad = 0.9;

struct Problem {
  ModelShape model;
  ClusterSpec cluster;  // cluster.gpus 0: as few as will do, up to max_gpus
  Workload workload;
  Targets targets;
  EngineProfile engine;               // the one that will run it; the generic one by default
  std::vector<Precision> precisions;  // searched; the first is the stored one
  bool aggregated = true;
  bool disaggregated = true;
  std::int64_t max_gpus = 1024;

  std::int64_t gpu_limit() const { return cluster.gpus > 0 ? cluster.gpus : max_gpus; }
  double memory_limit() const { return cluster.gpu.memory_bytes * targets.memory_fraction; }
};

enum class Limit {
  Memory,
  Gpus,
  Ttft,
  Tpot,
  TokensPerGpu,
  PrefillTokensPerGpu,
  Tokens,
  Rate,
  Cost,
  None
};
const char* to_string(Limit limit);  // "TTFT"

// How far a candidate misses a limit: needed / allowed for upper limits, demanded / reached for
// lower ones; above 1.
struct Miss {
  Limit limit = Limit::Memory;
  double reached = 0;  // in the limit's own unit: bytes, seconds, tokens per second
  double bound = 0;
  double ratio() const;
  // Whether this one came nearer to being a plan: passed more limits, or missed by less.
  bool nearer_than(const Miss& other) const;
};

struct Pool {
  Worker worker;
  std::int64_t replicas = 0;
  Role role = Role::Both;
  // Of a dp group; 0: what the workload's mean requests fill at the worker's batch.
  std::int64_t kv_blocks = 0;
  std::int64_t gpus() const { return worker.gpus() * replicas; }
};

struct Score {
  double ttft_s = 0;
  double tpot_s = 0;
  double tokens_per_s = 0;  // generated, all workers
  double prefill_tokens_per_s_per_gpu = 0;
  double requests_per_s = 0;
  std::int64_t gpus = 0;         // used
  std::int64_t provisioned = 0;  // paid for: the fleet's number where one is given
  double tokens_per_s_per_gpu() const { return tokens_per_s / static_cast<double>(provisioned); }
  double tokens_per_s_per_user() const { return tpot_s > 0 ? 1 / tpot_s : 0; }
  double dollars_per_mtok(const GpuSpec& gpu) const;
};

struct Deployment {
  std::vector<Pool> pools;  // one, or prefill then decode
  Score score;
  bool disaggregated() const { return pools.size() == 2; }
  const Pool& decode_pool() const { return pools.back(); }
};
std::string describe(const Deployment& deployment);

// The first limit that the score (or the memory of the fullest rank) misses; none if it holds all.
std::optional<Miss> first_miss(const Problem& problem, const Score& score, double memory_bytes);

// Better by the problem's objective: > 0 if `a` is, < 0 if `b` is, 0 if they tie.
double compare(const Problem& problem, const Score& a, const Score& b);
// Order among equals, so that the answer never depends on the order of search: simpler first.
bool simpler(const Worker& a, const Worker& b);

// Of a deployment that could serve `requests_per_s`: no more come than the workload's rate.
double served_tokens_per_s(const Problem& problem, double requests_per_s);

// Workers that a pool of `worker`s needs or may have, and what they deliver together; `rates` are
// one worker's. nullopt: the fleet is too small for one.
std::optional<Score> pool_score(const Problem& problem, const Worker& worker, const Rates& rates,
                                std::int64_t* replicas);

}  // namespace pentafold
