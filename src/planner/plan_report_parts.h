// The sections of plan_report, and what they share. Each returns Markdown with its heading and adds
// its figures; later ones look up what earlier ones added, so they run in the order below.
// Held by planner/plan_report_test.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/plan_report.h"

namespace pentafold {

// A pool of the deployment with its prediction.
struct ReportPool {
  Pool pool;
  WorkerPrediction prediction;
  std::string prefix;  // of its figures: "", or "prefill." and "decode." where there are two pools
  std::int64_t fullest = 0;  // the stage with the most bytes

  const Worker& worker() const { return pool.worker; }
  bool prefills() const { return pool.role != Role::Decode; }
  bool decodes() const { return pool.role != Role::Prefill; }
  std::string id(std::string_view name) const { return prefix + std::string(name); }
  std::string title() const;  // ", prefill pool"; empty where there is one pool
};

struct ReportContext {
  const Problem& problem;
  const SearchResult& result;
  const std::optional<WhyNot>& why;
  const StepCost& costs;
  std::vector<ReportPool> pools;  // of the winner, else of the candidate that came nearest
  std::optional<Score> score;     // none where not even one worker fits into the fleet
  Figures figures;

  bool split() const { return pools.size() == 2; }
  const ReportPool& prefill() const { return pools.front(); }
  const ReportPool& decode() const { return pools.back(); }
};

// As part of a figure's id: "dense MLP" -> "dense_mlp".
std::string figure_name(std::string_view words);
const char* figure_name(Bound bound);  // "weights"

std::string hardware_section(ReportContext& context);
std::string request_section(ReportContext& context);  // workload and targets
std::string model_section(ReportContext& context);
std::string degrees_section(ReportContext& context);
std::string rank_map_section(ReportContext& context);
std::string memory_section(ReportContext& context);
std::string speed_section(ReportContext& context);
std::string lengths_section(ReportContext& context);
std::string balance_section(ReportContext& context);
std::string traffic_section(ReportContext& context);
std::string bubble_section(ReportContext& context);
std::string rationale_section(ReportContext& context);
std::string targets_section(ReportContext& context);
std::string risks_section(ReportContext& context);
std::string path_section(ReportContext& context);

// One pool or two: what a worker of each does at prompts of `isl` tokens, all else as planned; the
// batch shrinks to what memory admits.
struct LengthPoint {
  std::int64_t batch = 0;  // of a decoding worker's dp group; 0: not one sequence fits
  double ttft_s = 0;       // without queue
  double tpot_s = 0;
  double tokens_per_s_per_gpu = 0;
  double prefill_tokens_per_s_per_gpu = 0;
};
LengthPoint at_workload(const Problem& problem, const std::vector<ReportPool>& pools,
                        const Workload& workload);

}  // namespace pentafold
