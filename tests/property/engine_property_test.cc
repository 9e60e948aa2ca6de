// What an engine promises of its answers, beside equality across plans: causality, independence of
// company and order, samples that are functions of their key, and conservation.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "base/hash.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

using Position = std::pair<std::int64_t, std::int64_t>;  // (request, position)

struct Answers {
  std::map<Position, std::vector<float>> logits;
  std::map<std::int64_t, std::vector<std::int32_t>> tokens;
};

constexpr std::int64_t kBlocks = 64;

Answers answer(const Plan& plan, const ModelSpec& model, std::vector<Request> requests,
               std::int64_t chunk = 512, const SamplingOptions& sampling = {}) {
  EngineOptions options;
  options.all_logits = true;
  options.max_positions = 96;
  options.blocks_per_group = kBlocks;
  Answers out;
  auto engine = Engine::start(plan, model, WeightSource::synthetic(model), options);
  EXPECT_TRUE(engine.ok());
  SchedulerLimits limits = scheduler_limits(plan, kBlocks);
  limits.prefill_chunk = chunk;
  (*engine)->set_limits(limits);
  GenerateCallbacks callbacks;
  callbacks.on_logits = [&](const LogitRow& row) {
    const auto [at, fresh] = out.logits.try_emplace(Position{row.request.value, row.position},
                                                    row.logits.begin(), row.logits.end());
    EXPECT_TRUE(fresh) << "a position's logits came twice";
  };
  callbacks.on_token = [&](RequestId id, std::int32_t token) {
    out.tokens[id.value].push_back(token);
  };
  auto report = (*engine)->generate(std::move(requests), sampling, callbacks);
  EXPECT_TRUE(report.ok());
  if (report.ok()) {
    EXPECT_EQ(report->logit_rows, std::ssize(out.logits));
    for (const RequestReport& r : report->requests) EXPECT_EQ(r.tokens, out.tokens[r.id]);
  }
  return out;
}

std::uint64_t bits(const std::vector<float>& row) {
  return hash_floats(row);
}

std::vector<Plan> some_plans(const ModelSpec& model) {
  std::vector<Plan> plans;
  for (const Degrees& d : {Degrees{}, Degrees{2, 1, 1, 2, 1, 1}, Degrees{1, 2, 2, 1, 1, 1}}) {
    plans.push_back(make_plan(d, model));
  }
  return plans;
}

// Two prompts that share their first tokens have the same logits there, bit for bit, and other
// logits after the first difference.
TEST(EngineProperty, AFutureTokenNeverChangesAnEarlierLogit) {
  constexpr std::int64_t kCommon = 21;
  for (const ModelSpec& model : tiny_models()) {
    std::vector<Request> one = make_requests(model, {33}, 1);
    std::vector<Request> two = make_requests(model, {40}, 1);
    for (std::size_t i = kCommon; i < two[0].prompt.size(); ++i) {
      two[0].prompt[i] = static_cast<std::int32_t>((two[0].prompt[i] + 1) % model.vocab);
    }
    for (const Plan& plan : some_plans(model)) {
      for (const std::int64_t chunk : {7, 512}) {
        const Answers a = answer(plan, model, one, chunk);
        const Answers b = answer(plan, model, two, chunk);
        for (std::int64_t p = 0; p < kCommon; ++p) {
          ASSERT_EQ(bits(a.logits.at({0, p})), bits(b.logits.at({0, p})))
              << model.name << " " << describe(plan) << " position " << p;
        }
        EXPECT_NE(bits(a.logits.at({0, kCommon})), bits(b.logits.at({0, kCommon}))) << model.name;
      }
    }
  }
}

// Dropless: who shares the batch, and in which order they were submitted, changes nothing.
TEST(EngineProperty, AnswersDoNotDependOnCompanyOrOrder) {
  for (const ModelSpec& model : {tiny_qwen2_moe(), tiny_qwen3_moe(), tiny_llama()}) {
    const std::vector<Request> all = make_requests(model, {18, 3, 27, 9, 1}, 4);
    std::map<std::int64_t, Answers> alone;
    for (const Request& r : all) alone[r.id.value] = answer(make_plan({}, model), model, {r});
    for (const Plan& plan : some_plans(model)) {
      std::vector<Request> order = all;
      for (int turn = 0; turn < 3; ++turn) {
        std::rotate(order.begin(), order.begin() + 2, order.end());
        const Answers together = answer(plan, model, order, turn == 1 ? 8 : 512);
        std::size_t rows = 0;
        for (const auto& [id, mine] : alone) {
          EXPECT_EQ(together.tokens.at(id), mine.tokens.at(id)) << describe(plan);
          for (const auto& [position, row] : mine.logits) {
            ASSERT_EQ(bits(together.logits.at(position)), bits(row)) << describe(plan);
            ++rows;
          }
        }
        EXPECT_EQ(rows, together.logits.size());
      }
    }
  }
}

TEST(EngineProperty, SampledTokensAreEqualUnderEveryPlanAndFollowTheirSeed) {
  const ModelSpec model = tiny_mixtral();
  const std::vector<Request> requests = make_requests(model, {6, 13, 2}, 12);
  const Plan one = make_plan({}, model);
  SamplingOptions sampling{1.0, 20, 0.95, 77};
  const auto wanted = answer(one, model, requests, 512, sampling).tokens;
  for (const Degrees& degrees : legal_degrees(model, 4, PlacementStyle::Blocked)) {
    const Plan plan = make_plan(degrees, model);
    EXPECT_EQ(answer(plan, model, requests, 512, sampling).tokens, wanted) << to_string(degrees);
  }
  Plan twice = make_plan({1, 1, 1, 2, 2, 1}, model);
  twice.replicas = 2;
  EXPECT_EQ(answer(twice, model, requests, 5, sampling).tokens, wanted);
  sampling.seed = 78;
  EXPECT_NE(answer(one, model, requests, 512, sampling).tokens, wanted);
}

// Every request comes back once, with every position it fed and every token it asked for.
TEST(EngineProperty, RequestsAreConserved) {
  const ModelSpec model = tiny_mixtral();
  std::vector<Request> requests = make_requests(model, {5, 17, 1, 30, 8, 2, 11}, 5);
  const Answers free_run = answer(make_plan({}, model), model, requests);
  requests[1].stop_ids = {free_run.tokens.at(1)[2]};
  requests[3].max_tokens = 1;
  for (const std::int64_t replicas : {1, 2}) {
    Plan plan = make_plan({2, 2, 1, 1, 2, 1}, model);
    plan.replicas = replicas;
    plan.microbatches = 2;
    const Answers got = answer(plan, model, requests, 6);
    ASSERT_EQ(got.tokens.size(), requests.size());
    for (const Request& r : requests) {
      std::vector<std::int32_t> wanted = free_run.tokens.at(r.id.value);
      wanted.resize(static_cast<std::size_t>(r.max_tokens));
      if (!r.stop_ids.empty()) {
        const auto stop = std::find(wanted.begin(), wanted.end(), r.stop_ids[0]);
        wanted.erase(stop + 1, wanted.end());
      }
      EXPECT_EQ(got.tokens.at(r.id.value), wanted) << "request " << r.id.value;
      const auto fed = static_cast<std::int64_t>(r.prompt.size() + wanted.size()) - 1;
      for (std::int64_t p = 0; p < fed; ++p) EXPECT_TRUE(got.logits.contains({r.id.value, p}));
      EXPECT_FALSE(got.logits.contains({r.id.value, fed}));
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
