// Traces from strangers: requests in order or a sentence with its line, never a crash.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "spec/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pentafold;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto trace = parse_trace(text, "fuzz");
  if (!trace.ok()) {
    CHECK(!trace.error().message.empty());
    CHECK(trace.error().line >= 0);
    return 0;
  }
  CHECK(!trace->requests.empty());
  CHECK(trace->measured.empty() || trace->measured.size() == trace->requests.size());
  double before = 0;
  for (const TraceRequest& request : trace->requests) {
    CHECK(request.arrival_s >= before);
    before = request.arrival_s;
    CHECK(request.prompt_tokens >= 1 && request.prompt_tokens <= kMaxTraceTokens);
    CHECK(request.output_tokens >= 1 && request.output_tokens <= kMaxTraceTokens);
    CHECK(trace->hashes_of(request).size() * 512 <
          static_cast<std::size_t>(request.prompt_tokens) + 512);
  }
  for (const MeasuredTimes& times : trace->measured) {
    CHECK(times.ttft_s >= 0 && times.last_s >= times.ttft_s);
  }
  return 0;
}
