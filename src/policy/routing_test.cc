#include "policy/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "support/tiny_models.h"

namespace pentafold {
namespace {

using Generator = std::mt19937;

std::vector<float> random_logits(Generator& random, std::int64_t experts) {
  std::vector<float> out;
  // Few distinct values, so that ties are common.
  for (std::int64_t e = 0; e < experts; ++e) {
    out.push_back(static_cast<float>(static_cast<int>(random() % 9)) * 0.75F - 3.0F);
  }
  return out;
}

struct Choice {
  std::vector<float> scores;
  std::vector<std::int32_t> experts;
  std::vector<float> weights;
};

Choice choose(const RouterRule& rule, const std::vector<float>& logits) {
  Choice out;
  out.scores.resize(logits.size());
  out.experts.resize(static_cast<std::size_t>(rule.top_k));
  out.weights.resize(out.experts.size());
  select_experts(rule, logits, out.scores, out.experts, out.weights);
  return out;
}

// The definition, in double: softmax over all, or over the chosen.
std::vector<double> softmax(const std::vector<double>& in) {
  double sum = 0;
  std::vector<double> out;
  for (const double v : in) sum += out.emplace_back(std::exp(v));
  for (double& v : out) v /= sum;
  return out;
}

TEST(Routing, SelectsAndWeighsLikeTheDefinition) {
  Generator random(1);
  for (int round = 0; round < 2000; ++round) {
    RouterRule rule;
    rule.experts = 1 + static_cast<std::int64_t>(random() % 32);
    rule.top_k = 1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(rule.experts));
    rule.order = random() % 2 == 0 ? RouterOrder::SoftmaxTopk : RouterOrder::TopkSoftmax;
    rule.norm_topk = random() % 2 == 0;
    const std::vector<float> logits = random_logits(random, rule.experts);
    const Choice got = choose(rule, logits);

    const std::vector<double> scores = softmax({logits.begin(), logits.end()});
    std::vector<std::int32_t> order(logits.size());
    for (std::size_t e = 0; e < order.size(); ++e) order[e] = static_cast<std::int32_t>(e);
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const float x = logits[static_cast<std::size_t>(a)];
      const float y = logits[static_cast<std::size_t>(b)];
      return x != y ? x > y : a < b;
    });
    order.resize(got.experts.size());
    EXPECT_EQ(got.experts, order);

    std::vector<double> picked;
    double sum = 0;
    for (const std::int32_t e : order) {
      picked.push_back(rule.order == RouterOrder::TopkSoftmax
                           ? logits[static_cast<std::size_t>(e)]
                           : scores[static_cast<std::size_t>(e)]);
      sum += picked.back();
    }
    if (rule.order == RouterOrder::TopkSoftmax) {
      picked = softmax(picked);
    } else if (rule.norm_topk) {
      for (double& w : picked) w /= sum;
    }
    for (std::size_t k = 0; k < picked.size(); ++k) EXPECT_NEAR(got.weights[k], picked[k], 1e-5);
    for (std::size_t e = 0; e < scores.size(); ++e) EXPECT_NEAR(got.scores[e], scores[e], 1e-5);
  }
}

TEST(Routing, TiesGoToTheLowerId) {
  for (const RouterOrder order : {RouterOrder::SoftmaxTopk, RouterOrder::TopkSoftmax}) {
    const RouterRule rule{6, 3, order, true};
    EXPECT_EQ(choose(rule, std::vector<float>(6, 0.5F)).experts,
              (std::vector<std::int32_t>{0, 1, 2}));
    EXPECT_EQ(choose(rule, {0, 2, 1, 2, 1, 2}).experts, (std::vector<std::int32_t>{1, 3, 5}));
  }
  EXPECT_EQ(rank_experts(std::vector<float>{0.1F, 0.4F, 0.1F, 0.4F}),
            (std::vector<std::int32_t>{1, 3, 0, 2}));
}

// Broken weights give NaN logits; the choice must stay distinct experts of the model.
TEST(Routing, NotANumberStillChoosesExpertsThatExist) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& logits : {std::vector<float>{nan, nan, nan, nan},
                                           {1, nan, 2, nan},
                                           {-inf, -inf, -inf, -inf},
                                           {inf, inf, 0, -inf}}) {
    for (const RouterOrder order : {RouterOrder::SoftmaxTopk, RouterOrder::TopkSoftmax}) {
      std::vector<std::int32_t> got = choose({4, 3, order, true}, logits).experts;
      std::sort(got.begin(), got.end());
      EXPECT_EQ(std::adjacent_find(got.begin(), got.end()), got.end());
      EXPECT_GE(got.front(), 0);
      EXPECT_LT(got.back(), 4);
    }
  }
}

TEST(Routing, CapacityIsTheDocumentedCeiling) {
  const RouterRule rule{8, 2, RouterOrder::SoftmaxTopk, true};
  EXPECT_EQ(expert_capacity(1.0, 16, rule), 4);
  EXPECT_EQ(expert_capacity(1.0, 17, rule), 5);
  EXPECT_EQ(expert_capacity(1.25, 16, rule), 5);
  EXPECT_EQ(expert_capacity(0.01, 1, rule), 1);
}

struct Token {
  std::vector<std::int32_t> chosen;
  std::vector<std::int32_t> preference;
};

// Rule 7 read aloud: each choice in turn, room or not, then the best unchosen expert with room.
std::vector<std::vector<std::int32_t>> admit_slowly(const std::vector<Token>& tokens,
                                                    OverflowPolicy policy, std::int64_t capacity,
                                                    std::int64_t experts) {
  std::vector<std::int64_t> room(static_cast<std::size_t>(experts), capacity);
  std::vector<std::vector<std::int32_t>> out;
  for (const Token& token : tokens) {
    std::vector<std::int32_t> now = token.chosen;
    for (std::size_t k = 0; k < now.size(); ++k) {
      const std::int32_t asked = now[k];
      if (room[static_cast<std::size_t>(asked)] > 0) {
        --room[static_cast<std::size_t>(asked)];
        continue;
      }
      now[k] = kDropped;
      if (policy == OverflowPolicy::Drop) continue;
      for (const std::int32_t e : token.preference) {
        if (room[static_cast<std::size_t>(e)] == 0) continue;
        if (std::count(now.begin(), now.end(), e) > 0) continue;
        --room[static_cast<std::size_t>(e)];
        now[k] = e;
        break;
      }
    }
    out.push_back(now);
  }
  return out;
}

TEST(Routing, LedgerAdmitsLikeTheRuleReadAloud) {
  Generator random(2);
  for (int round = 0; round < 500; ++round) {
    RouterRule rule;
    rule.experts = 2 + static_cast<std::int64_t>(random() % 8);
    rule.top_k = 1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(rule.experts));
    const auto capacity = static_cast<std::int64_t>(random() % 6);
    std::vector<Token> tokens;
    for (int t = 0; t < 20; ++t) {
      const Choice choice = choose(rule, random_logits(random, rule.experts));
      tokens.push_back({choice.experts, rank_experts(choice.scores)});
    }
    for (const OverflowPolicy policy : {OverflowPolicy::Drop, OverflowPolicy::NextBest}) {
      const auto wanted = admit_slowly(tokens, policy, capacity, rule.experts);
      CapacityLedger ledger(capacity, rule.experts);
      std::vector<std::int64_t> used(static_cast<std::size_t>(rule.experts), 0);
      for (std::size_t t = 0; t < tokens.size(); ++t) {
        std::vector<std::int32_t> got = tokens[t].chosen;
        const std::vector<std::int32_t> none;
        ledger.admit(policy, got, policy == OverflowPolicy::Drop ? none : tokens[t].preference);
        EXPECT_EQ(got, wanted[t]) << "round " << round << " token " << t;
        for (const std::int32_t e : got) {
          if (e != kDropped) ++used[static_cast<std::size_t>(e)];
        }
      }
      for (const std::int64_t u : used) EXPECT_LE(u, capacity);
    }
  }
}

// With next_best nothing is dropped while any expert that the token does not use has room.
TEST(Routing, NextBestDropsOnlyWhenAllOthersAreFull) {
  const RouterRule rule{4, 2, RouterOrder::SoftmaxTopk, true};
  CapacityLedger ledger(3, 4);  // room for 12 choices, six tokens ask for 12
  const Choice choice = choose(rule, {4, 3, 2, 1});
  std::vector<std::int64_t> used(4, 0);
  for (int token = 0; token < 6; ++token) {
    std::vector<std::int32_t> got = choice.experts;
    ledger.admit(OverflowPolicy::NextBest, got, rank_experts(choice.scores));
    for (const std::int32_t e : got) {
      ASSERT_NE(e, kDropped);
      ++used[static_cast<std::size_t>(e)];
    }
  }
  EXPECT_EQ(used, (std::vector<std::int64_t>{3, 3, 3, 3}));
}

// A token's choice is a function of its logits: nothing carries over from token to token except
// the ledger, and the ledger of one layer is none of another's.
TEST(Routing, SelectionDoesNotDependOnOrder) {
  Generator random(3);
  const RouterRule rule = router_rule(testing::tiny_qwen3_moe());
  std::vector<std::vector<float>> logits;
  for (int i = 0; i < 50; ++i) logits.push_back(random_logits(random, rule.experts));
  std::vector<Choice> forward;
  for (const auto& l : logits) forward.push_back(choose(rule, l));
  for (std::size_t i = logits.size(); i-- > 0;) {
    const Choice again = choose(rule, logits[i]);
    EXPECT_EQ(again.experts, forward[i].experts);
    EXPECT_EQ(again.weights, forward[i].weights);
    EXPECT_EQ(again.scores, forward[i].scores);
  }
}

TEST(Routing, DroppedChoicesWeighNothingAndOthersKeepTheirBits) {
  Generator random(4);
  for (int round = 0; round < 200; ++round) {
    const RouterRule rule{
        8, 3, round % 2 == 0 ? RouterOrder::SoftmaxTopk : RouterOrder::TopkSoftmax, round % 3 == 0};
    const Choice choice = choose(rule, random_logits(random, rule.experts));
    std::vector<std::int32_t> after = choice.experts;
    after[random() % 3] = kDropped;
    std::vector<float> weights = choice.weights;
    reweight(rule, choice.scores, choice.experts, after, weights);
    for (std::size_t k = 0; k < after.size(); ++k) {
      EXPECT_EQ(weights[k], after[k] == kDropped ? 0.0F : choice.weights[k]);
    }
  }
}

TEST(Routing, AReplacementWeighsItsOwnScore) {
  Generator random(5);
  for (int round = 0; round < 300; ++round) {
    const RouterRule rule{
        8, 3, round % 2 == 0 ? RouterOrder::SoftmaxTopk : RouterOrder::TopkSoftmax, round % 3 == 0};
    const Choice choice = choose(rule, random_logits(random, rule.experts));
    std::vector<std::int32_t> after = choice.experts;
    after[0] = rank_experts(choice.scores)[4];
    if (round % 5 == 0) after[1] = kDropped;
    std::vector<float> weights = choice.weights;
    reweight(rule, choice.scores, choice.experts, after, weights);
    double sum = 0;
    for (const std::int32_t e : after) {
      if (e != kDropped) sum += choice.scores[static_cast<std::size_t>(e)];
    }
    const bool norm = rule.norm_topk || rule.order == RouterOrder::TopkSoftmax;
    for (std::size_t k = 0; k < after.size(); ++k) {
      const double score =
          after[k] == kDropped ? 0 : choice.scores[static_cast<std::size_t>(after[k])];
      EXPECT_NEAR(weights[k], norm ? score / sum : score, 1e-6);
    }
  }
}

}  // namespace
}  // namespace pentafold
