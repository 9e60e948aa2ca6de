// step_work: what one program step asks of a rank's core, and whom it makes the rank wait for.
//
// The third interpreter of a program (plan/program.h): each step is visited, none is forgotten.
// Its kernels are priced by measured tables; the rest of it, copying and bookkeeping, is a measured
// line over `units`, a count that grows with that work (values moved, rows times experts).
// Cost: O(experts + segments) a step. Held by predict/run_prediction_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/kv_type.h"
#include "plan/program.h"
#include "predict/routing_draw.h"
#include "spec/machine.h"
#include "spec/model.h"

namespace pentafold {

// Consecutive rows of one request in a rank's dp group.
struct RowRun {
  std::int64_t start = 0;  // position of the first
  std::int64_t count = 0;
  bool samples = false;  // the last one gives a token
};

// What a rank works on in one microbatch.
struct RankLoad {
  std::vector<RowRun> group;                // rows of its dp group, in order
  Range local;                              // of those rows
  Range slice;                              // likewise, inside local
  std::vector<const RankExperts*> experts;  // by layer of the model; null where it has none
  double working_set = 0;                   // bytes the step reads before it reads the same again
  std::int64_t sharers = 1;                 // ranks that read the same weights, experts' aside

  std::int64_t rows(RowSet set) const;
  std::int64_t sampled() const;  // rows of local that give a token
};

struct StepWork {
  double kernel_s = 0;
  double calls = 1;         // of the host line
  double units = 0;         // likewise
  double late_units = 0;    // those of the units that come after the exchange, on this rank alone
  double remote_bytes = 0;  // read from other ranks
  int exchanges = 0;
  GroupKind group = GroupKind::Tensor;
};

// Prices kernels as of `product`: alone or shared.
struct WorkContext {
  const ModelSpec& model;
  const MachineSpec& machine;
  const ProductTable& product;
  const Program& program;
  const RankLoad& load;
  KvType kv = KvType::F32;  // of the rank's cache
};
StepWork work_of(const Step& step, const WorkContext& context);

// Seconds of the step on the rank's core, all of it; and the part of it after the exchange.
struct StepSeconds {
  double before = 0;
  double after = 0;
};
StepSeconds seconds_of(const Step& step, const StepWork& work, const MachineSpec& machine);

}  // namespace pentafold
