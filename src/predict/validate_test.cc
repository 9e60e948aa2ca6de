#include "predict/validate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <utility>

#include "base/result.h"

namespace pentafold {
namespace {

const std::string kFile =
    "id,engine,model,gpu,gpus_total,tp,ep,dp_attn,disagg,input_len,output_len,load,load_kind,"
    "metric,value,unit\n"
    // Two layouts of one job; the prediction below says 10 ms and 100 tokens/s/GPU for all.
    "a-1,vllm,openai/gpt-oss-120b,H100,4,4,1,1,n,1000,100,16,concurrency,mean_tpot,8,ms\n"
    "a-2,vllm,openai/gpt-oss-120b,H100,4,4,1,1,n,1000,100,16,concurrency,output_tput_per_gpu,125,"
    "tok/s/GPU\n"
    "b-1,vllm,openai/gpt-oss-120b,H100,4,4,4,1,n,1000,100,16,concurrency,mean_tpot,20,ms\n"
    "c-1,vllm,openai/gpt-oss-120b,H100,2,2,1,1,n,1000,100,16,concurrency,mean_tpot,12.5,ms\n"
    "d-1,sglang,openai/gpt-oss-120b,H100,8,8,1,1,n,1000,100,16,concurrency,median_ttft,50,ms\n"
    "e-1,sglang,unheard/of-it,H100,8,8,1,1,n,1000,100,16,concurrency,median_ttft,50,ms\n"
    "f-1,sglang,openai/gpt-oss-120b,L4,1,1,1,1,n,1000,100,16,concurrency,median_ttft,50,ms\n";

Result<PredictedMetrics> constant(const Measurement& m) {
  if (m.gpu_name == "l4") return make_error(ErrorCode::InfeasiblePlan, "too small");
  PredictedMetrics out;
  out.tpot_s.fill({0.010, 0.009, 0.0125});
  out.ttft_s.fill({0.050, 0.040, 0.060});
  // The wider the experts are spread, the slower, which is what was measured.
  if (m.pools[0].worker.ep > 1) out.tpot_s.fill({0.015, 0.01, 0.02});
  out.output_tokens = 100;
  out.requests_per_s = Interval{1, 1, 1} * static_cast<double>(m.gpus);
  return out;
}

Validation validated(int threads) {
  auto all = parse_measurements(kFile, "m.csv");
  EXPECT_TRUE(all.ok());
  ValidateOptions options;
  options.threads = threads;
  options.predict = constant;
  return validate_measurements(std::move(all).value(), options);
}

TEST(Validate, ErrorsByHand) {
  const Validation v = validated(1);
  ASSERT_EQ(v.rows.size(), 5U);
  EXPECT_EQ(v.configurations, 5);
  const ValidationSummary s = summarize(v);
  const ErrorStats& tpot = s.by_family[0];  // 10/8, 15/20, 10/12.5
  EXPECT_EQ(tpot.n, 3);
  EXPECT_NEAR(tpot.mean, (0.25 + 0.25 + 0.2) / 3, 1e-12);
  EXPECT_NEAR(tpot.bias, (0.25 - 0.25 - 0.2) / 3, 1e-12);
  EXPECT_NEAR(tpot.covered, 2.0 / 3, 1e-12);
  EXPECT_EQ(s.by_family[1].n, 1);
  EXPECT_NEAR(s.by_family[1].mean, 0, 1e-12);
  EXPECT_EQ(s.by_family[2].n, 1);
  EXPECT_NEAR(s.by_family[2].mean, 0.2, 1e-12);
  EXPECT_NEAR(s.coverage80, 3.0 / 5, 1e-12);
  EXPECT_EQ(s.skipped.at("unknown model"), 1);
  EXPECT_EQ(s.skipped.at("does not fit"), 1);
}

TEST(Validate, PairsAreLayoutsOfOneJob) {
  const ValidationSummary s = summarize(validated(1));
  EXPECT_EQ(s.pair_order_same_size.of, 1);  // tp4 against tp4 ep4
  EXPECT_EQ(s.pair_order_same_size.right, 1);
  EXPECT_EQ(s.pair_order.of, 3);
  EXPECT_EQ(s.pair_order.right, 2);  // tp2 is predicted no worse than tp4
}

TEST(Validate, AConfigurationIsPredictedOnceAndThreadsChangeNothing) {
  std::atomic<int> calls = 0;
  auto all = parse_measurements(kFile, "m.csv");
  ValidateOptions options;
  options.predict = [&](const Measurement& m) {
    ++calls;
    return constant(m);
  };
  std::int64_t last = 0;
  options.progress = [&](std::int64_t done, std::int64_t of) {
    EXPECT_EQ(done, last + 1);
    EXPECT_EQ(of, 5);
    last = done;
  };
  validate_measurements(std::move(all).value(), options);
  EXPECT_EQ(calls, 5) << "two metrics of one run share a prediction";
  EXPECT_EQ(last, 5);
  const Validation one = validated(1);
  const Validation many = validated(4);
  ASSERT_EQ(one.rows.size(), many.rows.size());
  for (std::size_t i = 0; i < one.rows.size(); ++i) {
    EXPECT_EQ(one.rows[i].measurement.id, many.rows[i].measurement.id);
    EXPECT_EQ(one.rows[i].predicted.value, many.rows[i].predicted.value);
  }
}

TEST(Validate, BreaksErrorsDown) {
  const Validation v = validated(1);
  const ErrorTable by_ep = errors_by(v, Property::Ep);
  ASSERT_EQ(by_ep.rows.size(), 2U);
  EXPECT_EQ(by_ep.rows[0].label, "1") << "most rows first";
  EXPECT_EQ(by_ep.rows[1].stats[0].n, 1);
  EXPECT_EQ(errors_by(v, Property::Engine).rows.size(), 2U);
  for (std::size_t p = 0; p < kProperties; ++p) {
    const auto property = static_cast<Property>(p);
    EXPECT_EQ(*parse_property(to_string(property)), property);
    std::int64_t n = 0;
    for (const auto& row : errors_by(v, property).rows) {
      for (const ErrorStats& stats : row.stats) n += stats.n;
    }
    EXPECT_EQ(n, 5) << to_string(property);
  }
  EXPECT_FALSE(parse_property("colour").ok());
}

}  // namespace
}  // namespace pentafold
