// Generated workloads have the moments they were asked for, and the same bits for the same seed.
#include "spec/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace pentafold {
namespace {

ArrivalSpec spec_of(ArrivalProcess process) {
  ArrivalSpec spec;
  spec.process = process;
  spec.rate_per_s = 8;
  spec.concurrency = 4;
  spec.requests = 200'000;
  spec.prompt = {100, 300};
  spec.output = {7, 7};
  spec.seed = 3;
  return spec;
}

Trace generated(const ArrivalSpec& spec) {
  auto trace = generate_trace(spec);
  EXPECT_TRUE(trace.ok()) << (trace.ok() ? "" : trace.error().message);
  return trace.ok() ? std::move(trace).value() : Trace{};
}

struct Moments {
  double mean = 0;
  double cv = 0;
};
Moments gaps(const Trace& trace) {
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 1; i < trace.requests.size(); ++i) {
    const double gap = trace.requests[i].arrival_s - trace.requests[i - 1].arrival_s;
    EXPECT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
  }
  const auto n = static_cast<double>(trace.requests.size() - 1);
  const double mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean) / mean};
}

TEST(Arrivals, PoissonHasItsMoments) {
  const Moments found = gaps(generated(spec_of(ArrivalProcess::Poisson)));
  EXPECT_NEAR(found.mean, 1.0 / 8, 0.125 * 0.01);
  EXPECT_NEAR(found.cv, 1, 0.01);
}

TEST(Arrivals, GammaHasItsMoments) {
  for (const double cv : {0.1, 0.5, 1.0, 2.0, 4.0}) {
    ArrivalSpec spec = spec_of(ArrivalProcess::Gamma);
    spec.cv = cv;
    const Moments found = gaps(generated(spec));
    // Five standard errors of a mean, and a looser hold on the heavier tail's spread.
    EXPECT_NEAR(found.mean, 1.0 / 8, 0.125 * 5 * cv / std::sqrt(2e5)) << cv;
    EXPECT_NEAR(found.cv / cv, 1, 0.05) << cv;
  }
}

TEST(Arrivals, UniformIsEven) {
  const Trace trace = generated(spec_of(ArrivalProcess::Uniform));
  EXPECT_EQ(trace.requests[0].arrival_s, 0.0);
  EXPECT_EQ(trace.requests[16].arrival_s, 2.0);
  EXPECT_EQ(trace.concurrency, 0);
}

TEST(Arrivals, ClosedLeavesTimeToTheSimulation) {
  const Trace trace = generated(spec_of(ArrivalProcess::Closed));
  EXPECT_EQ(trace.concurrency, 4);
  EXPECT_EQ(trace.duration_s(), 0.0);
}

TEST(Arrivals, LengthsFillTheirRange) {
  const Trace trace = generated(spec_of(ArrivalProcess::Uniform));
  std::set<std::int64_t> seen;
  double sum = 0;
  for (const TraceRequest& request : trace.requests) {
    seen.insert(request.prompt_tokens);
    sum += static_cast<double>(request.prompt_tokens);
    EXPECT_EQ(request.output_tokens, 7);
  }
  EXPECT_EQ(*seen.begin(), 100);
  EXPECT_EQ(*seen.rbegin(), 300);
  EXPECT_EQ(seen.size(), 201U);
  EXPECT_NEAR(sum / 2e5, 200, 1);
}

TEST(Arrivals, SameSeedSameRequestsOtherSeedOthers) {
  ArrivalSpec spec = spec_of(ArrivalProcess::Gamma);
  spec.cv = 2;
  spec.requests = 1000;
  const Trace trace = generated(spec);
  EXPECT_EQ(generated(spec).requests, trace.requests);
  spec.requests = 100;
  const Trace shorter = generated(spec);
  EXPECT_TRUE(std::equal(shorter.requests.begin(), shorter.requests.end(), trace.requests.begin()));
  spec.seed = 4;
  EXPECT_NE(generated(spec).requests[50], trace.requests[50]);
}

// These bits are the promise that a workload is the same on another machine.
TEST(Arrivals, TheBitsAreFixed) {
  ArrivalSpec spec = spec_of(ArrivalProcess::Gamma);
  spec.cv = 2;
  spec.requests = 4;
  const Trace gamma = generated(spec);
  spec.process = ArrivalProcess::Poisson;
  const Trace poisson = generated(spec);
  EXPECT_EQ(gamma.requests[3].arrival_s, 0x1.ad5179fe5954dp-4);
  EXPECT_EQ(poisson.requests[3].arrival_s, 0x1.9413aec5757a8p-2);
  EXPECT_EQ(gamma.requests[3].prompt_tokens, 178);
}

TEST(Arrivals, RefusesWhatCannotBeMeant) {
  const auto refusal = [](auto change) {
    ArrivalSpec spec = spec_of(ArrivalProcess::Gamma);
    change(spec);
    const auto trace = generate_trace(spec);
    EXPECT_FALSE(trace.ok());
    return trace.ok() ? "" : trace.error().message;
  };
  using S = ArrivalSpec;
  EXPECT_TRUE(refusal([](S& s) { s.rate_per_s = 0; }).starts_with("rate = 0/s must be"));
  EXPECT_TRUE(refusal([](S& s) { s.rate_per_s = NAN; }).starts_with("rate = nan/s"));
  EXPECT_TRUE(refusal([](S& s) { s.cv = 0; }).starts_with("cv = 0 must be"));
  EXPECT_TRUE(refusal([](S& s) { s.requests = 0; }).starts_with("requests = 0"));
  EXPECT_TRUE(refusal([](S& s) { s.prompt = {3, 2}; }).starts_with("tokens of a prompt"));
  EXPECT_TRUE(refusal([](S& s) {
                s.process = ArrivalProcess::Closed;
                s.concurrency = 0;
              }).starts_with("concurrency = 0"));
}

TEST(Arrivals, ReadsRangesAndNames) {
  const auto fixed = parse_token_range("4000", "--isl");
  ASSERT_TRUE(fixed.ok());
  EXPECT_EQ(fixed->low, 4000);
  EXPECT_EQ(fixed->high, 4000);
  const auto both = parse_token_range("[1, 20]", "--isl");
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->mean(), 10.5);
  for (const char* bad : {"", "x", "0", "[1]", "[2,1]", "[1,2", "1,2", "[,]", "[1,2]]", "1e3"}) {
    const auto refused = parse_token_range(bad, "--isl");
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_TRUE(refused.error().message.starts_with("--isl must be")) << refused.error().message;
  }
  EXPECT_EQ(*parse_arrival_process("gamma"), ArrivalProcess::Gamma);
  EXPECT_NE(parse_arrival_process("poison").error().message.find("\"poisson\"?"),
            std::string::npos);
}

}  // namespace
}  // namespace pentafold
