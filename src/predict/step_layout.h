// step_layout: one step of a replica as its ranks' threads: work, exchanges, messages.
//
// Internal to predict/run_prediction.cc. Held by predict/run_prediction_test.cc.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "predict/core_sharing.h"
#include "predict/run_prediction.h"
#include "predict/step_work.h"

namespace pentafold {

using OperatorTimes = std::array<std::map<std::string, OperatorReport>, 2>;  // by StepKind

class StepLayout {
 public:
  // All must outlive it.
  StepLayout(const RunToPredict& run, const LoweringContext& lowering);

  // Appends the threads of the replica's ranks in this step; times go to `operators`.
  void add(std::int64_t replica, const StepBatch& batch, ThreadPlan& threads,
           OperatorTimes& operators);

 private:
  // Routing of one microbatch: by stage, layer of the model, rank of the stage.
  using Draws = std::vector<std::vector<std::vector<RankExperts>>>;
  struct PlacedRow {
    RowPlace row;
    std::int64_t group = 0;  // of the scheduler
  };

  Draws draw(const StepBatch& batch, Range segments, Phase phase) const;
  RankLoad load_of(const StepBatch& batch, Range segments, const RankProgram& program,
                   const Draws& draws) const;
  double working_set(const StepBatch& batch) const;
  // At once, at most; the others wait for earlier stages or the next step.
  std::int64_t ranks_computing(const StepBatch& batch) const;
  void add_step(const Step& step, const WorkContext& context, std::vector<ThreadAction>& actions,
                OperatorReport& report);
  std::int64_t group_number(const std::vector<Rank>& members);

  const RunToPredict& run_;
  const LoweringContext& lowering_;
  std::vector<RankProgram> programs_;  // by rank
  double weight_bytes_ = 0;            // that steps read
  std::int64_t computing_ = 0;         // ranks_computing of the step that is being laid out
  std::map<std::vector<Rank>, std::int64_t> groups_;
  std::vector<std::int64_t> group_sizes_;
};

}  // namespace pentafold
