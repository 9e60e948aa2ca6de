#include "predict/predict_measurement.h"

#include <gtest/gtest.h>

#include <string>

namespace pentafold {
namespace {

const std::string kColumns =
    "id,engine,model,gpu,gpus_total,tp,ep,dp_attn,disagg,prefill_cfg,decode_cfg,input_len,"
    "output_len,load,load_kind,metric,value,unit\n";

Measurement measurement(const std::string& fields) {
  auto all = parse_measurements(kColumns + fields + "\n", "m.csv");
  EXPECT_TRUE(all.ok() && all->rows.size() == 1) << fields;
  return all.ok() && !all->rows.empty() ? all->rows.front() : Measurement{};
}

Measurement aggregated(const std::string& load, const std::string& kind) {
  return measurement("r-1,vllm,Qwen/Qwen3-32B,H100,4,4,1,1,n,,,1024,512," + load + "," + kind +
                     ",mean_tpot,10,ms");
}

PredictedMetrics predicted(const Measurement& m) {
  const auto out = predict_measurement(m);
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  return out.ok() ? *out : PredictedMetrics{};
}

TEST(PredictMeasurement, RatesOfOneRunAgreeWithEachOther) {
  const PredictedMetrics p = predicted(aggregated("64", "concurrency"));
  const auto rate = [&](Quantity quantity, bool per_gpu) {
    return p.of({quantity, Statistic::Mean, per_gpu}, 4).value;
  };
  const double requests = rate(Quantity::Requests, false);
  EXPECT_GT(requests, 0);
  EXPECT_DOUBLE_EQ(rate(Quantity::OutputTokens, false), 512 * requests);
  EXPECT_DOUBLE_EQ(rate(Quantity::InputTokens, false), 1024 * requests);
  EXPECT_DOUBLE_EQ(rate(Quantity::TotalTokens, false), 1536 * requests);
  EXPECT_DOUBLE_EQ(rate(Quantity::TotalTokens, true), 384 * requests);
  const Interval tpot = p.of({Quantity::Tpot, Statistic::Median, false}, 4);
  EXPECT_LT(tpot.low, tpot.value);
  EXPECT_LT(tpot.value, tpot.high);
}

TEST(PredictMeasurement, MoreInFlightIsSlowerForEachAndFasterForAll) {
  double tpot = 0;
  double rate = 0;
  for (const char* load : {"1", "4", "16", "64", "256"}) {
    const PredictedMetrics p = predicted(aggregated(load, "concurrency"));
    EXPECT_GT(p.tpot_s[0].value, tpot) << load;
    EXPECT_GT(p.requests_per_s.value, rate) << load;
    tpot = p.tpot_s[0].value;
    rate = p.requests_per_s.value;
  }
  EXPECT_GE(predicted(aggregated("all", "offline")).requests_per_s.value, 0.9 * rate)
      << "filling and draining the batch cost some";
}

TEST(PredictMeasurement, ABatchThatNobodyJoinsObeysLittlesLawExactly) {
  const PredictedMetrics p = predicted(aggregated("8", "static batch"));
  EXPECT_NEAR(p.requests_per_s.value * p.e2e_s[0].value, 8, 1e-9);
}

TEST(PredictMeasurement, TheSlowerPoolSetsTheRateOfASplit) {
  const auto rate = [](const std::string& prefill, const std::string& decode,
                       const std::string& gpus) {
    return predicted(measurement("r-1,trtllm,deepseek-ai/DeepSeek-R1-0528,B200," + gpus + ",,,,y," +
                                 "\"" + prefill + "\",\"" + decode +
                                 "\",8192,1024,1024,concurrency,mean_tpot,10,ms"))
        .requests_per_s.value;
  };
  const double one = rate("1x(tp8)", "1x(tp8)", "16");
  EXPECT_GT(rate("1x(tp8)", "4x(tp8)", "40"), 1.5 * one) << "decode was the slower one";
  EXPECT_NEAR(rate("4x(tp8)", "1x(tp8)", "40"), one, 0.02 * one);
}

TEST(PredictMeasurement, AnEngineIsPredictedAsItWasInTheMonthOfTheRun) {
  Measurement m = measurement(
      "r-1,sglang,deepseek-ai/DeepSeek-R1-0528,B200,8,8,1,off,n,,,1024,1024,16,concurrency,"
      "mean_tpot,10,ms");
  const PredictedMetrics now = predicted(m);
  m.month = "2025-11";
  EXPECT_GT(predicted(m).tpot_s[0].value, now.tpot_s[0].value);
  m.month = "2999-01";
  EXPECT_EQ(predicted(m).tpot_s[0].value, now.tpot_s[0].value);
}

TEST(PredictMeasurement, NothingOfTheValueIsRead) {
  Measurement m = aggregated("64", "concurrency");
  const double before = predicted(m).tpot_s[0].value;
  m.value *= 1000;
  EXPECT_EQ(predicted(m).tpot_s[0].value, before);
}

}  // namespace
}  // namespace pentafold
