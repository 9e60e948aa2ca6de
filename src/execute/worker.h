// RankWorker: one rank at work, the interpreter that turns a Program's steps into bytes.
//
// A worker owns the rank's working memory and KV cache, shares immutable weights, and
// visits the steps of each microbatch in order. It sees every batch of its replica whole (the
// schedule is common knowledge) and works on its own rows. Used by one thread, which shares kernels
// with the rank's team. Step kinds are handled in worker_attention.cc, worker_experts.cc and
// worker_exchange.cc; worker_work.cc counts what they do.
// Source: DESIGN section 1. Cost: that of its steps. Held by tests/equivalence.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "comm/recording.h"
#include "execute/kv_cache.h"
#include "execute/pinning.h"
#include "execute/weight_store.h"
#include "execute/work_memory.h"
#include "kernels/device.h"
#include "plan/lower.h"
#include "policy/routing.h"
#include "report/report.h"
#include "report/routing_stats.h"

namespace pentafold {

// One row of logits, on the rank that gathered it. Called from rank threads, concurrently.
struct LogitRow {
  RequestId request;
  std::int64_t position = 0;      // of the token that was fed
  bool samples = false;           // chooses the token at position + 1
  std::span<const float> logits;  // (vocab), valid during the call
};
using LogitSink = std::function<void(const LogitRow&)>;

// What all ranks of a run share. Outlives the workers.
struct RunContext {
  const Plan& plan;
  const ModelSpec& model;
  const Mesh& mesh;
  // A device for the rank whose team it is.
  std::function<std::unique_ptr<Device>(Team&)> make_device;
  std::int64_t threads_per_rank = 1;
  const Pinning* pinning = nullptr;  // null: threads go where the system puts them
  WeightStore& weights;
  std::span<const float> rope_table;
  std::int64_t blocks_per_group = 0;
  std::int64_t schedule_groups = 1;
  bool all_logits = false;  // prompt positions too, not only rows that sample
  bool time_operators = false;
  LogitSink on_logits;
};

class RankWorker {
 public:
  RankWorker(const RunContext& context, RankProgram program, std::unique_ptr<Communicator> comm);

  Status prepare();  // binds its threads, joins groups, makes the KV cache
  Status load();     // weights
  // Working memory of `sizes` for the steps to come; what is there stays if it has them. Not while
  // a step runs.
  void reserve(const WorkingMemory& sizes);
  Status run(const StepBatch& batch);

  void clear_statistics();
  // While no step is to come; between calls of run().
  void rest(bool at_rest) { team_.rest(at_rest); }
  const KvCache& kv_cache() const { return *kv_; }
  Range kv_heads() const { return kv_heads_; }  // of the model, in the cache
  const RoutingStats& routing() const { return routing_; }
  // Seconds by kind of step, if the context asks for them.
  using OperatorTimes = std::array<OperatorReport, std::variant_size_v<Step>>;
  const OperatorTimes& operator_times(Phase phase) const {
    return times_[static_cast<std::size_t>(phase)];
  }
  const std::map<std::string, Traffic>& traffic() const { return comm_.traffic(); }
  const RankProgram& program() const { return ranks_; }
  // Bytes this rank holds, as if no other rank shared its weights and its rope table.
  const ByteCount& memory() const { return memory_; }
  // What the device takes for itself with the first product.
  std::int64_t device_memory() const { return device_memory_; }
  // Working memory: what is reserved, and the most that steps used of it.
  const WorkMemory& work_memory() const { return *work_; }

 private:
  Status bind_team();
  Status run_step(const Step& s, Phase phase);
  class WorkCounter;
  // What the step, which has just run, computed and had to read.
  void add_work(const Step& s, OperatorReport& sum) const;
  Status run_microbatch(const StepBatch& batch, Range segments, const Program& program);

  Status operator_step(const step::Embed& s);
  Status operator_step(const step::Norm& s);
  Status operator_step(const step::HeadNorm& s);
  Status operator_step(const step::WidthNorm& s);
  Status operator_step(const step::Clamp& s);
  Status operator_step(const step::Gemm& s);
  Status operator_step(const step::LeafGemm& s);
  Status operator_step(const step::AllReduce& s);
  Status operator_step(const step::Rope& s);
  Status operator_step(const step::SeqToHeads& s);
  Status operator_step(const step::HeadsToSeq& s);
  Status operator_step(const step::Attention& s);
  Status operator_step(const step::Activate& s);
  Status operator_step(const step::Route& s);
  Status operator_step(const step::Capacity& s);
  Status operator_step(const step::Dispatch& s);
  Status operator_step(const step::ExpertMlp& s);
  Status operator_step(const step::Combine& s);
  Status operator_step(const step::GatherSlices& s);
  Status operator_step(const step::AddShared& s);
  Status operator_step(const step::Residual& s);
  Status operator_step(const step::Send& s);
  Status operator_step(const step::Recv& s);
  Status operator_step(const step::LmHead& s);

  // Register access: rows of its row set, width floats each.
  Rows reg(Register r);
  Rows resize(Register r, std::int64_t width);
  std::int64_t width(Register r) const {
    return work_->registers[static_cast<std::size_t>(r)].width;
  }
  std::int64_t rows(Register r) const { return work_->table.rows(row_set(r)); }
  // A buffer of this step that is written before it is read, one of zeros, or room for one that is
  // appended to.
  template <class T>
  std::span<T> cut(std::int64_t count) {
    const auto size = static_cast<std::size_t>(count);
    return {static_cast<T*>(work_->scratch.allocate(size * sizeof(T), alignof(T))), size};
  }
  template <class T>
  std::pmr::vector<T> passing(std::int64_t count) {
    return std::pmr::vector<T>(static_cast<std::size_t>(count), &work_->scratch);
  }
  template <class T>
  std::pmr::vector<T> passing_room(std::int64_t count) {
    std::pmr::vector<T> room(&work_->scratch);
    room.reserve(static_cast<std::size_t>(count));
    return room;
  }
  std::span<const std::int64_t> positions(RowSet set) const;
  std::span<const std::int32_t* const> block_tables(RowSet set) const;

  MatrixPart matrix(const WeightSlice& slice) const;
  const float* vector(const WeightSlice& slice) const;
  GroupId group(GroupKind kind) const;
  std::int64_t group_size(GroupKind kind) const {
    return static_cast<std::int64_t>(program_->group(kind).size());
  }
  std::int64_t self(GroupKind kind) const { return program_->self[static_cast<std::size_t>(kind)]; }
  // up = act(gate) * up, or act(up) without a gate matrix.
  void activate(std::int64_t rows, std::int64_t width, bool gated, ConstRows gate, Rows up) const;
  ExpertRows expert_rows(const step::LocalExpert& expert, std::span<const float* const> x,
                         std::span<float* const> y);
  std::pmr::vector<std::int32_t> capacity_entries(const RouterRule& rule, bool ranked);
  void reweight_rows(const RouterRule& rule, std::span<const std::int32_t> before);
  void count_routing(LayerId layer, std::span<const std::int32_t> before);
  // Lists what every member is asked for and encodes the messages to them into scratch.
  void encode_requests(const step::Dispatch& s, std::pmr::vector<Bytes>& views);
  Status emit_logits(const step::LmHead& s, std::span<const std::int64_t> wanted);

  const RunContext& context_;
  RankProgram ranks_;
  const StagePlan& stage_;
  RecordingCommunicator comm_;
  Team team_;
  std::unique_ptr<Device> device_;

  struct Held {
    WeightSlice slice;
    std::shared_ptr<const WeightMatrix> matrix;
    std::shared_ptr<const WeightMatrix> table;
    std::shared_ptr<const std::vector<float>> vector;
  };
  Held load_slice(const WeightSlice& slice) const;
  std::map<TensorId, Held> held_;
  std::unique_ptr<KvCache> kv_;
  Range kv_heads_;                                  // of the model, in the cache
  std::array<std::array<GroupId, 3>, 2> groups_{};  // by phase, kind

  // State of the microbatch at hand.
  const StepBatch* batch_ = nullptr;
  const Program* program_ = nullptr;
  Range segments_;
  std::unique_ptr<WorkMemory> work_;
  std::map<std::int32_t, CapacityLedger> ledgers_;  // by layer, of the step at hand
  RoutingStats routing_;
  std::array<OperatorTimes, 2> times_{};
  ByteCount memory_;
  std::int64_t device_memory_ = 0;
};

}  // namespace pentafold
