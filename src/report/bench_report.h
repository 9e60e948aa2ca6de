// BenchReport: how fast a model runs under some plans, beside what the machine could do at most.
//
// A job is one kind of step at one size. Its time is the median of what was measured; its
// operations and bytes are counted, not estimated: operations from the model, bytes as the least
// that memory has to deliver (each weight that a step touches once, however many ranks share it; of
// experts those that its tokens chose; the KV cache once a sequence). So a percentage says how much
// of the machine is used for what has to be done. Held by report/bench_report_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "report/report.h"

namespace pentafold {

// What this machine does at most, with that many threads.
struct SpeedLimits {
  std::int64_t threads = 0;
  double flops = 0;        // f32 multiply-adds on registers, two operations each, a second
  double bytes_per_s = 0;  // read from memory
};

struct BenchJob {
  StepKind kind = StepKind::Prefill;
  std::int64_t size = 0;     // prompt tokens; of decode: sequences
  std::int64_t context = 0;  // of decode: tokens in each sequence's cache before the first step
  std::int64_t steps = 0;    // of decode: timed in one round
  friend bool operator==(const BenchJob&, const BenchJob&) = default;
};

struct BenchRow {
  std::string plan;
  std::int64_t ranks = 0;
  std::int64_t threads_per_rank = 0;
  BenchJob job;
  double seconds = 0;           // of the whole prefill, of one step of decode: the median
  std::vector<double> samples;  // that it is the median of
  double tokens = 0;            // that are computed in this time
  double flop = 0;              // likewise
  double bytes = 0;             // likewise
  SpeedLimits limits;           // of as many threads as the plan has, at most one a core
  // All ranks and rounds together: time, operations and bytes of every kind of program step.
  std::map<std::string, OperatorReport> operators;

  double tokens_per_s() const { return tokens / seconds; }
  double of_flops() const { return flop / seconds / limits.flops; }          // 0 to 1
  double of_memory() const { return bytes / seconds / limits.bytes_per_s; }  // 0 to 1
};

struct BenchReport {
  std::string model;  // "m1: 452 M parameters, ..."
  std::int64_t rounds = 0;
  std::vector<SpeedLimits> limits;
  std::vector<BenchRow> rows;
};

// One line a plan and job; with `profile`, below it one line a kind of program step.
std::string format_bench(const BenchReport& report, bool profile);
std::string bench_json(const BenchReport& report);

// A report's kinds of steps, by time: of `run --profile`. No rates of the machine.
std::string format_profile(const std::map<std::string, OperatorReport>& operators);

}  // namespace pentafold
