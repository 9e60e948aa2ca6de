// Trace: requests as they came (or come) to a deployment, and what was measured of them.
//
// Four kinds of files are read, told apart by their content: the CSV of the Azure LLM inference
// traces, the JSON lines of Mooncake with hashes of prompt blocks, any CSV with columns of known
// names, and the per-request log of a measured run. gzip is seen through. docs/workload-format.md
// lists the names. Generated workloads (spec/arrivals.h) are the same type.
// Source: Splitwise (arXiv 2311.18677) and Mooncake (arXiv 2407.00079) published the formats.
// Cost: one pass, some 100 bytes of text at a time; about 0.3 us a row and 40 bytes, and 8 bytes a
// hash. Held by spec/trace_test.cc and tests/fuzz/trace_fuzz.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

struct TraceRequest {
  double arrival_s = 0;  // after the first of the trace
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
  std::size_t first_hash = 0;  // into Trace::hashes
  std::int32_t hash_count = 0;
  std::int32_t priority = 0;  // smaller goes first
  friend bool operator==(const TraceRequest&, const TraceRequest&) = default;
};

// Of a run that really happened: seconds after the request's arrival.
struct MeasuredTimes {
  bool known = false;  // a failed request has none
  double ttft_s = 0;
  double last_s = 0;  // last token
  friend bool operator==(const MeasuredTimes&, const MeasuredTimes&) = default;
};

enum class TraceFormat { Azure, Mooncake, Csv, MeasuredLog, Generated };
const char* to_string(TraceFormat format);  // "Azure CSV"

struct Trace {
  std::string file;  // empty: generated
  TraceFormat format = TraceFormat::Generated;
  std::vector<TraceRequest> requests;  // ascending arrival, equal ones in the file's order
  // Above 0: closed loop. So many requests are in flight, the next arrives when one is done, and
  // arrival_s says nothing.
  std::int64_t concurrency = 0;
  // A block of a prompt (block_tokens of it; the last one may hold fewer) has the same hash as
  // another only if all tokens up to its end are the same. 0: no hashes.
  std::int64_t block_tokens = 0;
  std::vector<std::uint64_t> hashes;
  std::vector<MeasuredTimes> measured;  // one a request, or none at all

  std::span<const std::uint64_t> hashes_of(const TraceRequest& request) const {
    return std::span(hashes).subspan(request.first_hash,
                                     static_cast<std::size_t>(request.hash_count));
  }
  double duration_s() const { return requests.empty() ? 0 : requests.back().arrival_s; }
};

// Tokens that a request may ask for, of either kind.
inline constexpr std::int64_t kMaxTraceTokens = std::int64_t{1} << 30;
inline constexpr std::int64_t kMaxTraceRequests = std::int64_t{1} << 25;

// Errors name file and line. A trace without requests is refused.
Result<Trace> load_trace(const std::string& path);
// The same from text that is in memory (not compressed); `file` is for errors.
Result<Trace> parse_trace(std::string_view text, const std::string& file);

// Arrivals `factor` times as far apart. `factor` above 0.
void scale_time(Trace& trace, double factor);
// The first `count` requests; all if it has fewer.
void keep_first(Trace& trace, std::int64_t count);
// Without the requests whose prompt and answer together are longer. Returns how many those were.
std::int64_t drop_longer_than(Trace& trace, std::int64_t tokens);

}  // namespace pentafold
