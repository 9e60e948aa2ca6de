#include "spec/arrivals.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/elementary.h"
#include "base/nearest.h"
#include "base/quote.h"
#include "base/random.h"

namespace pentafold {
namespace {

constexpr double kMaxRate = 1e9;
constexpr double kMinRate = 1e-6;
constexpr double kMaxCv = 100;
constexpr double kMinCv = 0.01;

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

// Uniform numbers of one request for one purpose, in (0, 1).
class Draws {
 public:
  enum class Purpose : std::uint32_t { Gap, Prompt, Output };
  Draws(std::uint64_t seed, std::int64_t request, Purpose purpose)
      : seed_(mix64(seed)),
        request_(static_cast<std::uint32_t>(request)),
        position_(static_cast<std::uint32_t>(purpose) << 24) {}
  double next() { return sample_uniform(seed_, request_, position_++) + 0x1p-54; }

 private:
  std::uint64_t seed_;
  std::uint32_t request_;
  std::uint32_t position_;
};

// Marsaglia's polar method.
double normal(Draws& draws) {
  while (true) {
    const double x = 2 * draws.next() - 1;
    const double y = 2 * draws.next() - 1;
    const double s = x * x + y * y;
    if (s < 1 && s > 0) return x * std::sqrt(-2 * fixed_log(s) / s);
  }
}

// Of mean `shape` and variance `shape`.
double gamma(double shape, Draws& draws) {
  if (shape < 1) {
    const double power = fixed_log(draws.next()) / shape;
    return gamma(shape + 1, draws) * fixed_exp(power);
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = normal(draws);
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (fixed_log(draws.next()) < x * x / 2 + d - d * v + d * fixed_log(v)) return d * v;
  }
}

double gap_s(const ArrivalSpec& spec, std::int64_t request) {
  const double mean = 1 / spec.rate_per_s;
  Draws draws(spec.seed, request, Draws::Purpose::Gap);
  switch (spec.process) {
    case ArrivalProcess::Poisson:
      return -fixed_log(draws.next()) * mean;
    case ArrivalProcess::Gamma: {
      const double shape = 1 / (spec.cv * spec.cv);
      return gamma(shape, draws) / shape * mean;
    }
    case ArrivalProcess::Uniform:
      return mean;
    case ArrivalProcess::Closed:
      break;
  }
  return 0;
}

std::int64_t tokens(const TokenRange& range, Draws draws) {
  const double span = static_cast<double>(range.high - range.low) + 1;
  const auto above = static_cast<std::int64_t>(draws.next() * span);
  return std::min(range.low + above, range.high);
}

Status check_range(const TokenRange& range, const char* what) {
  if (range.low >= 1 && range.low <= range.high && range.high <= kMaxTraceTokens) {
    return ok_status();
  }
  return refused(fmt::format("tokens of {} must be 1 to {}, the lower bound first, not [{},{}]",
                             what, kMaxTraceTokens, range.low, range.high));
}

Status check_spec(const ArrivalSpec& spec) {
  PF_TRY(check_range(spec.prompt, "a prompt"));
  PF_TRY(check_range(spec.output, "an answer"));
  if (spec.requests < 1 || spec.requests > kMaxTraceRequests) {
    return refused(fmt::format("requests = {} must be 1 to {}", spec.requests, kMaxTraceRequests));
  }
  if (spec.process == ArrivalProcess::Closed) {
    if (spec.concurrency >= 1 && spec.concurrency <= kMaxTraceRequests) return ok_status();
    return refused(
        fmt::format("concurrency = {} must be 1 to {}", spec.concurrency, kMaxTraceRequests));
  }
  if (!(spec.rate_per_s >= kMinRate && spec.rate_per_s <= kMaxRate)) {
    return refused(
        fmt::format("rate = {}/s must be {}/s to {}/s", spec.rate_per_s, kMinRate, kMaxRate));
  }
  if (spec.process == ArrivalProcess::Gamma && !(spec.cv >= kMinCv && spec.cv <= kMaxCv)) {
    return refused(fmt::format("cv = {} must be {} to {}", spec.cv, kMinCv, kMaxCv));
  }
  return ok_status();
}

}  // namespace

Result<ArrivalProcess> parse_arrival_process(const std::string& name) {
  constexpr std::array<std::string_view, 4> kNames = {"poisson", "gamma", "uniform", "closed"};
  const auto found = std::ranges::find(kNames, name);
  if (found != kNames.end()) return static_cast<ArrivalProcess>(found - kNames.begin());
  const std::string meant = nearest(name, kNames);
  return refused(fmt::format("unknown arrivals {}; {}", quote_text(name),
                             meant.empty() ? "known are poisson, gamma, uniform and closed"
                                           : fmt::format("did you mean \"{}\"?", meant)));
}

Result<TokenRange> parse_token_range(const std::string& text, const std::string& what) {
  const auto number = [](std::string_view part, std::int64_t& to) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), to);
    return status == std::errc{} && end == part.data() + part.size();
  };
  const std::string_view all = text;
  TokenRange range;
  const std::size_t comma = all.find(',');
  bool read = false;
  if (all.starts_with('[') && all.ends_with(']') && comma != std::string_view::npos) {
    read = number(all.substr(1, comma - 1), range.low) &&
           number(all.substr(comma + 1, all.size() - comma - 2), range.high);
  } else {
    read = number(all, range.low);
    range.high = range.low;
  }
  if (read && check_range(range, "").ok()) return range;
  return refused(fmt::format(
      "{} must be a number of tokens such as 4000, or two bounds such as [1000,4000], from 1 to "
      "{}, not {}",
      what, kMaxTraceTokens, quote_text(text)));
}

Result<Trace> generate_trace(const ArrivalSpec& spec) {
  PF_TRY(check_spec(spec));
  Trace trace;
  const bool closed = spec.process == ArrivalProcess::Closed;
  if (closed) trace.concurrency = spec.concurrency;
  trace.requests.reserve(static_cast<std::size_t>(spec.requests));
  double now = 0;
  for (std::int64_t i = 0; i < spec.requests; ++i) {
    if (i > 0) now += gap_s(spec, i);
    TraceRequest request;
    request.arrival_s = now;
    request.prompt_tokens = tokens(spec.prompt, {spec.seed, i, Draws::Purpose::Prompt});
    request.output_tokens = tokens(spec.output, {spec.seed, i, Draws::Purpose::Output});
    trace.requests.push_back(request);
  }
  return trace;
}

}  // namespace pentafold
