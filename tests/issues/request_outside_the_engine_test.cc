// Engine::generate believed its requests: a token outside the vocabulary or a position beyond the
// rope table read foreign memory, an id given twice or an empty prompt ended the process.
#include <gtest/gtest.h>

#include <limits>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

TEST(Issues, ARequestOutsideTheEngineIsRefusedAndTheEngineLives) {
  const ModelSpec model = tiny_mixtral();
  EngineOptions options;
  options.max_positions = 12;
  options.blocks_per_group = 64;
  auto engine = Engine::start(make_plan({1, 1, 1, 2, 1, 1}, model), model,
                              WeightSource::synthetic(model), options);
  ASSERT_TRUE(engine.ok());
  const std::vector<Request> sound = make_requests(model, {4, 2}, 9);  // 4 + 9: 12 are fed
  const auto expect_refusal = [&](void (*spoil)(Request&), const std::string& word) {
    std::vector<Request> requests = sound;
    spoil(requests[1]);
    const auto report = (*engine)->generate(requests, {}, {});
    ASSERT_FALSE(report.ok()) << word;
    EXPECT_EQ(report.error().code, ErrorCode::InvalidSpec);
    EXPECT_NE(report.error().message.find(word), std::string::npos) << report.error().message;
  };
  expect_refusal([](Request& r) { r.prompt[1] = 53; }, "vocabulary of 53");
  expect_refusal([](Request& r) { r.prompt[0] = -1; }, "vocabulary of 53");
  expect_refusal([](Request& r) { r.prompt.clear(); }, "prompt is empty");
  expect_refusal([](Request& r) { r.max_tokens = 0; }, "max_tokens");
  expect_refusal([](Request& r) { r.max_tokens = 12; }, "exceed the engine's 12 positions");
  expect_refusal([](Request& r) { r.max_tokens = std::numeric_limits<std::int64_t>::max(); },
                 "exceed");
  expect_refusal([](Request& r) { r.prompt.resize(40); }, "exceed");
  expect_refusal([](Request& r) { r.id = RequestId(0); }, "given twice");
  expect_refusal([](Request& r) { r.id = RequestId(-2); }, "ids count from 0");
  EXPECT_TRUE((*engine)->generate(sound, {}, {}).ok());
}

}  // namespace
}  // namespace pentafold::testing
