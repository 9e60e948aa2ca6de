// plan_report: a strategy document for a search's answer, every number of which can be traced.
//
// What such documents contain: hardware, model (declared against computed), strategy and what binds
// it, division of the modules and rank map, memory, speed by prompt length, expert load,
// communication, bubbles, targets, risks, and the way to the targets where they are not met. Each
// number carries a name (report/figures.h); a formula over names wherever one holds it. Without a
// winner the document is about the candidate that came nearest, and says so first.
// Cost: a few hundred predictions of one worker, about a millisecond. Held by
// planner/plan_report_test.cc (formulas evaluated, sums, numbers against predict_worker).
#pragma once

#include <optional>
#include <string>

#include "planner/search.h"
#include "planner/why.h"
#include "report/figures.h"

namespace pentafold {

struct PlanReport {
  std::string text;  // Markdown
  Figures figures;
};

// `why`: for a search without a winner, its reasons; else nullopt.
PlanReport plan_report(const Problem& problem, const SearchResult& result,
                       const std::optional<WhyNot>& why);

}  // namespace pentafold
