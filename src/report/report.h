// Report: what a run (or, in time, a prediction) says, in one type, so that comparing is
// subtracting.
//
// Held by report/report_test.cc and tests/e2e.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/routing_stats.h"

namespace pentafold {

struct RequestReport {
  std::int64_t id = 0;
  std::int64_t prompt_tokens = 0;
  std::vector<std::int32_t> tokens;  // generated
  double ttft_s = 0;                 // submission to first token
  double last_s = 0;                 // submission to last token
  std::optional<double> tpot_s() const {
    if (tokens.size() < 2) return std::nullopt;
    return (last_s - ttft_s) / static_cast<double>(tokens.size() - 1);
  }
};

struct CollectiveReport {
  std::int64_t calls = 0;  // over all ranks
  std::int64_t bytes = 0;  // sent from one rank to another
};

// Bytes of weights, KV, registers and buffers. Of one rank: as a device of its own would hold them,
// with its own copy of slices that thread ranks share. Of the process: shared slices once.
struct MemoryReport {
  std::int64_t predicted_peak = 0;  // of the rank that needs most, counted before the run
  std::int64_t peak = 0;            // of the rank that held most, counted as it was allocated
  std::int64_t peak_of_all = 0;     // sum over ranks
  std::int64_t process = 0;
  std::int64_t working = 0;       // registers and buffers that the largest rank reserved
  std::int64_t working_used = 0;  // the most that a rank's steps touched of them
};

enum class StepKind { Prefill, Decode };
const char* to_string(StepKind kind);  // "prefill"

// One step of one replica, by what it computed.
struct StepReport {
  StepKind kind = StepKind::Prefill;
  std::int64_t requests = 0;
  std::int64_t tokens = 0;   // computed
  std::int64_t context = 0;  // tokens in the cache when the step is done, all requests
  double seconds = 0;        // from the schedule to the last rank's end
};

// What all ranks spent in one kind of program step.
struct OperatorReport {
  std::int64_t calls = 0;
  double seconds = 0;  // waiting for others included
  double flop = 0;     // of products and attention; nothing else is counted
  double bytes = 0;    // of weights and KV cache: those that memory has to deliver at least
};

struct Report {
  std::string plan;
  std::int64_t ranks = 0;
  double start_s = 0;  // threads, groups, caches (weights excluded)
  double load_s = 0;   // weights
  double run_s = 0;
  std::int64_t weight_bytes = 0;  // held by the process; shared slices once
  std::int64_t steps = 0;
  std::vector<StepReport> step_reports;                            // by replica, in order
  std::array<std::map<std::string, OperatorReport>, 2> operators;  // by StepKind; if asked for
  std::vector<RequestReport> requests;                             // ascending id
  std::map<std::string, CollectiveReport> collectives;
  RoutingStats routing;
  MemoryReport memory;
  std::uint64_t logits_hash = 0;  // over all (request, position) rows that were computed
  std::int64_t logit_rows = 0;

  double mean_ttft_s() const;
  double mean_tpot_s() const;   // over requests with two tokens or more; 0 if none
  double tokens_per_s() const;  // generated, over run_s
  std::int64_t generated() const;
};

// Human summary, a few lines; with `details` the routing table by layer and traffic by collective.
std::string format_report(const Report& report, bool details);
std::string report_json(const Report& report);

}  // namespace pentafold
