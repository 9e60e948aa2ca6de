// Plan text from strangers: a plan or a sentence, never a crash; what is accepted keeps its bounds.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "plan/plan_file.h"
#include "plan/plan_settings.h"
#include "plan/plan_write.h"

namespace {

using namespace pentafold;

constexpr std::size_t kMostWritten = 1'000'000;  // what one file may hold

void check_accepted(Plan plan) {
  CHECK(!plan.stages.empty());
  CHECK(plan.world() >= 1 && plan.world() <= kMaxWorld);
  for (const StagePlan& stage : plan.stages) CHECK(stage.ep >= 1 && stage.etp >= 1);
  CHECK(!describe(plan).empty());
  CHECK(one_rank_plan(plan, 1).world() == 1);
  // What is accepted is written so that it is accepted again, as the same text.
  if (std::ranges::none_of(plan.stages, [](const StagePlan& s) { return s.layers == 0; }) ||
      plan.stages.front().layers == 0) {
    const std::string written = format_plan(plan);
    if (written.size() < kMostWritten) {
      const auto again = parse_plan(written, plan.file);
      CHECK(again.ok());
      CHECK(format_plan(*again) == written);
    }
  }
  std::int64_t layers = 0;
  if (!resolve_layers(plan, 100).ok()) return;
  for (const StagePlan& stage : plan.stages) layers += stage.layers;
  CHECK(layers == 100);
}

void check_refused(const Error& error) {
  CHECK(!error.message.empty());
  CHECK(!error.file.empty());
  CHECK(error.line >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto& plan : {parse_plan(text, "fuzz.yaml"), parse_plan_shorthand(text)}) {
    if (plan.ok()) {
      check_accepted(*plan);
    } else {
      check_refused(plan.error());
    }
  }
  return 0;
}
