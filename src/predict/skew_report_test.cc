#include "predict/skew_report.h"

#include <gtest/gtest.h>

#include "predict/worker_cost.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

struct SkewReportTest : ::testing::Test {
  ModelShape model = load_shape("mixtral-8x7b").value().model;
  ClusterSpec cluster = default_cluster(find_gpu("h100").value(), 8);
  EngineProfile engine;
  Workload workload{4000, 1000, {}, {}, 0};

  Worker worker(std::int64_t ep, std::int64_t etp) const {
    Worker w;
    w.stage_layers = {model.num_layers()};
    w.dp = 8;
    w.ep = ep;
    w.etp = etp;
    w.batch = 64;
    w.chunk = 4096;
    return w;
  }
  std::optional<ExpertBalance> balance(const Worker& w) const {
    const StepCost costs(model, cluster, engine, workload);
    return expert_balance(costs, w);
  }
  // Expert part of a decode step of 64 rows in each dp group, told plainly.
  double decode_seconds(const Worker& w, double skew) const {
    Workload skewed = workload;
    skewed.skew = skew;
    const StepCost costs(model, cluster, engine, skewed);
    return costs.experts(0, w, 64, costs.peak_share(0, w)).seconds *
           static_cast<double>(model.num_layers());
  }
};

TEST_F(SkewReportTest, CutsAllThatIsSpread) {
  EXPECT_FALSE(balance(worker(1, 8)));
  const auto b = balance(worker(4, 2));
  ASSERT_TRUE(b);
  EXPECT_EQ(b->cut.ep, 1);
  EXPECT_EQ(b->cut.etp, 8);
  EXPECT_EQ(b->cut.edp(), b->spread.edp());
}

// The slower the links, the more uneven the load must be; somewhere between it turns.
TEST_F(SkewReportTest, BreaksEvenWhereTheTimesCross) {
  int crossings = 0;
  for (int halved = 0; halved < 10; ++halved) {
    const auto b = balance(worker(8, 1));
    ASSERT_TRUE(b);
    if (b->decode_skew && *b->decode_skew > 0.01) {
      const double at = *b->decode_skew;
      EXPECT_GE(decode_seconds(b->cut, at - 0.002), decode_seconds(b->spread, at - 0.002));
      EXPECT_LT(decode_seconds(b->cut, at), decode_seconds(b->spread, at));
      ++crossings;
    }
    for (LinkLevel& link : cluster.links) link.bytes_per_s /= 2;
  }
  EXPECT_GT(crossings, 0);
}

TEST_F(SkewReportTest, TableIsTheTwoCosts) {
  workload.skew = 0.7;
  const auto b = balance(worker(8, 1));
  ASSERT_TRUE(b);
  EXPECT_DOUBLE_EQ(b->asked.spread_decode_s, decode_seconds(b->spread, 0.7));
  EXPECT_DOUBLE_EQ(b->asked.cut_decode_s, decode_seconds(b->cut, 0.7));
  ASSERT_GE(b->points.size(), 5U);
  EXPECT_EQ(b->points.front().skew, 0);
  EXPECT_NEAR(b->points.back().skew, kHighestSkew, 1e-9);
  for (const ExpertBalance::Point& point : b->points) {
    EXPECT_DOUBLE_EQ(point.seconds.spread_decode_s, decode_seconds(b->spread, point.skew));
    EXPECT_DOUBLE_EQ(point.seconds.cut_decode_s, decode_seconds(b->cut, point.skew));
  }
}

// Cut experts are even: only fewer different ones can change their time, and never to more.
TEST_F(SkewReportTest, SkewNeverSlowsCutExperts) {
  const auto b = balance(worker(8, 1));
  ASSERT_TRUE(b);
  for (std::size_t i = 1; i < b->points.size(); ++i) {
    EXPECT_LE(b->points[i].seconds.cut_decode_s,
              b->points[i - 1].seconds.cut_decode_s * (1 + 1e-12));
  }
}

// Sending every row everywhere costs most where links are slow.
TEST_F(SkewReportTest, SlowLinksFavourWholeExperts) {
  const auto fast = balance(worker(8, 1));
  for (LinkLevel& link : cluster.links) link.bytes_per_s /= 20;
  const auto slow = balance(worker(8, 1));
  ASSERT_TRUE(fast && slow && fast->prefill_skew);
  EXPECT_GE(slow->prefill_skew.value_or(kHighestSkew + 1), *fast->prefill_skew);
}

TEST_F(SkewReportTest, SaysTheBreakEvenAndBothTimes) {
  const auto b = balance(worker(8, 1));
  ASSERT_TRUE(b);
  const std::string text = describe(*b);
  EXPECT_NE(text.find(break_even_text(b->decode_skew)), std::string::npos) << text;
  EXPECT_NE(text.find("decode, etp 8"), std::string::npos) << text;
  EXPECT_NE(text.find("| Zipf 1.5 |"), std::string::npos) << text;
  EXPECT_EQ(break_even_text(std::nullopt), "never (up to 3)");
  EXPECT_EQ(break_even_text(0.0), "always");
}

}  // namespace
}  // namespace pentafold
