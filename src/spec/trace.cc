// Rows of a trace file -> Trace.
#include "spec/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/quote.h"
#include "spec/line_reader.h"
#include "spec/trace_row.h"

namespace pentafold {
namespace {

using F = TraceField;

constexpr std::size_t kMaxHashes = std::size_t{1} << 27;
// Mooncake hashes blocks of this many tokens.
constexpr std::int64_t kMooncakeBlock = 512;
// An arrival farther off than this is in another unit than its column says.
constexpr std::int64_t kLongestNs = std::int64_t{3} * 365 * 86400 * 1'000'000'000;
// The engine's clock is another one than the wall clock when they are a day apart.
constexpr std::int64_t kSameClockNs = std::int64_t{100'000} * 1'000'000'000;

double to_seconds(std::int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}

class TraceBuilder {
 public:
  explicit TraceBuilder(LineReader& lines) : lines_(lines) { trace_.file = lines.file(); }

  Status read() {
    std::string_view line;
    while (true) {
      PF_ASSIGN(const bool more, lines_.next(line));
      if (!more) break;
      if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
      PF_TRY(add_line(line));
    }
    if (trace_.requests.empty()) {
      return make_error(ErrorCode::InvalidSpec, "has no requests", lines_.file());
    }
    return ok_status();
  }

  Trace finish() {
    set_format();
    relate_clocks();
    sort();
    return std::move(trace_);
  }

 private:
  enum class Kind { Unknown, Json, Csv };

  Error refused(std::string message) const {
    return make_error(ErrorCode::InvalidSpec, std::move(message), lines_.file(), lines_.number());
  }

  Status add_line(std::string_view line) {
    if (kind_ == Kind::Unknown) {
      const char first = line[line.find_first_not_of(" \t")];
      if (first == '[') {
        return refused("is a JSON list; one object a line is wanted (jq -c '.[]' makes them)");
      }
      kind_ = first == '{' ? Kind::Json : Kind::Csv;
      if (kind_ == Kind::Csv) {
        const auto problem = csv_.read_header(line);
        return problem ? Status(refused(*problem)) : ok_status();
      }
    }
    TraceRow row;
    const std::size_t first_hash = trace_.hashes.size();
    const auto problem =
        kind_ == Kind::Json ? read_json_row(line, row, trace_.hashes) : csv_.read_row(line, row);
    if (problem) return refused(*problem);
    PF_TRY(check_row(row, trace_.hashes.size() - first_hash));
    return add_row(row, first_hash);
  }

  Status check_row(const TraceRow& row, std::size_t hashes) const {
    for (const F field : {F::Arrival, F::Prompt, F::Output}) {
      if (!row.has(field)) {
        return refused(fmt::format("says nothing under any of {}", known_names(field)));
      }
    }
    const std::int64_t blocks = (row.prompt_tokens + kMooncakeBlock - 1) / kMooncakeBlock;
    if (hashes > static_cast<std::size_t>(blocks)) {
      return refused(fmt::format("has {} hash_ids, but a prompt of {} tokens has {} blocks of {}",
                                 hashes, row.prompt_tokens, blocks, kMooncakeBlock));
    }
    if (row.has(F::FirstToken) != row.has(F::LastToken)) {
      return refused("has one of first_token_ts and last_token_ts; give both or none");
    }
    if (row.last_token_ns < row.first_token_ns ||
        (row.has(F::Queued) && row.has(F::FirstToken) && row.first_token_ns < row.queued_ns)) {
      return refused("must have queued_ts, first_token_ts and last_token_ts in this order");
    }
    return ok_status();
  }

  Status add_row(const TraceRow& row, std::size_t first_hash) {
    if (static_cast<std::int64_t>(trace_.requests.size()) >= kMaxTraceRequests ||
        trace_.hashes.size() > kMaxHashes) {
      return refused(fmt::format("is more than {} requests or {} hashes; cut the file",
                                 kMaxTraceRequests, kMaxHashes));
    }
    if (trace_.requests.empty()) origin_ns_ = row.arrival_ns;
    const std::int64_t since = row.arrival_ns - origin_ns_;
    if (since > kLongestNs || since < -kLongestNs) {
      return refused("arrives years from the first request; is the unit of the arrivals right?");
    }
    trace_.requests.push_back(
        {.arrival_s = to_seconds(since),
         .prompt_tokens = row.prompt_tokens,
         .output_tokens = row.output_tokens,
         .first_hash = first_hash,
         .hash_count = static_cast<std::int32_t>(trace_.hashes.size() - first_hash),
         .priority = static_cast<std::int32_t>(row.priority)});
    if (row.has(F::FirstToken)) {
      PF_TRY(add_measured(row));
    } else if (!trace_.measured.empty()) {
      trace_.measured.emplace_back();
    }
    return ok_status();
  }

  Status add_measured(const TraceRow& row) {
    const bool near = row.first_token_ns > row.arrival_ns - kSameClockNs &&
                      row.first_token_ns < row.arrival_ns + kSameClockNs;
    if (trace_.measured.empty()) {
      same_clock_ = near;
      trace_.measured.resize(trace_.requests.size() - 1);
    }
    if (near != same_clock_) {
      return refused("relates its arrival to its first token in another way than the rows before");
    }
    if (same_clock_ && row.first_token_ns < row.arrival_ns) {
      return refused("has its first token before it arrives");
    }
    if (!same_clock_) {
      if (!row.has(F::Queued)) {
        return refused(
            "measures arrival and first token with different clocks, and has no "
            "queued_ts to relate them");
      }
      clock_offset_ns_ = std::min(clock_offset_ns_, row.queued_ns - row.arrival_ns);
    }
    // The clocks' offset is only known after the last row.
    raw_.push_back(
        {trace_.requests.size() - 1, row.arrival_ns, row.first_token_ns, row.last_token_ns});
    trace_.measured.push_back({.known = true});
    return ok_status();
  }

  void set_format() {
    if (kind_ == Kind::Csv) {
      trace_.format = csv_.has_timestamp() ? TraceFormat::Azure : TraceFormat::Csv;
    } else {
      trace_.format = raw_.empty() ? TraceFormat::Mooncake : TraceFormat::MeasuredLog;
    }
    if (!trace_.hashes.empty()) trace_.block_tokens = kMooncakeBlock;
  }

  // vLLM logs arrivals by the wall clock and the rest by the engine's. The request that the engine
  // saw soonest after its arrival says how far apart these are.
  void relate_clocks() {
    const std::int64_t offset = same_clock_ ? 0 : clock_offset_ns_;
    for (const Raw& raw : raw_) {
      const std::int64_t arrival = raw.arrival_ns + offset;
      trace_.measured[raw.request].ttft_s = to_seconds(raw.first_ns - arrival);
      trace_.measured[raw.request].last_s = to_seconds(raw.last_ns - arrival);
    }
  }

  void sort() {
    auto& requests = trace_.requests;
    const auto earlier = [](const TraceRequest& a, const TraceRequest& b) {
      return a.arrival_s < b.arrival_s;
    };
    if (!std::ranges::is_sorted(requests, earlier)) {
      std::vector<std::size_t> order(requests.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::ranges::stable_sort(
          order, [&](std::size_t a, std::size_t b) { return earlier(requests[a], requests[b]); });
      permute(order, requests);
      if (!trace_.measured.empty()) permute(order, trace_.measured);
    }
    const double first = requests.front().arrival_s;
    for (TraceRequest& request : requests) request.arrival_s -= first;
  }

  template <class T>
  static void permute(const std::vector<std::size_t>& order, std::vector<T>& values) {
    std::vector<T> out;
    out.reserve(values.size());
    for (const std::size_t at : order) out.push_back(values[at]);
    values = std::move(out);
  }

  struct Raw {
    std::size_t request = 0;
    std::int64_t arrival_ns = 0;
    std::int64_t first_ns = 0;
    std::int64_t last_ns = 0;
  };

  LineReader& lines_;
  Trace trace_;
  Kind kind_ = Kind::Unknown;
  CsvColumns csv_;
  std::int64_t origin_ns_ = 0;
  std::vector<Raw> raw_;
  bool same_clock_ = true;
  std::int64_t clock_offset_ns_ = std::numeric_limits<std::int64_t>::max();
};

Result<Trace> read_trace(LineReader& lines) {
  TraceBuilder builder(lines);
  PF_TRY(builder.read());
  return builder.finish();
}

}  // namespace

const char* to_string(TraceFormat format) {
  switch (format) {
    case TraceFormat::Azure:
      return "Azure CSV";
    case TraceFormat::Mooncake:
      return "JSON lines";
    case TraceFormat::Csv:
      return "CSV";
    case TraceFormat::MeasuredLog:
      return "log of a measured run";
    case TraceFormat::Generated:
      return "generated";
  }
  return "?";
}

Result<Trace> load_trace(const std::string& path) {
  PF_ASSIGN(LineReader lines, LineReader::open(path));
  return read_trace(lines);
}

Result<Trace> parse_trace(std::string_view text, const std::string& file) {
  LineReader lines(text, file);
  return read_trace(lines);
}

void scale_time(Trace& trace, double factor) {
  CHECK(factor > 0);
  for (TraceRequest& request : trace.requests) request.arrival_s *= factor;
}

void keep_first(Trace& trace, std::int64_t count) {
  const std::size_t kept = std::min(trace.requests.size(), static_cast<std::size_t>(count));
  trace.requests.resize(kept);
  if (!trace.measured.empty()) trace.measured.resize(kept);
}

std::int64_t drop_longer_than(Trace& trace, std::int64_t tokens) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    if (trace.requests[i].prompt_tokens + trace.requests[i].output_tokens > tokens) continue;
    trace.requests[kept] = trace.requests[i];
    if (!trace.measured.empty()) trace.measured[kept] = trace.measured[i];
    ++kept;
  }
  const std::size_t dropped = trace.requests.size() - kept;
  keep_first(trace, static_cast<std::int64_t>(kept));
  return static_cast<std::int64_t>(dropped);
}

}  // namespace pentafold
