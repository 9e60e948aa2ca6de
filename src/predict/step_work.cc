#include "predict/step_work.h"

#include <algorithm>
#include <numeric>

#include "base/split.h"

namespace pentafold {
namespace {

constexpr double kValueBytes = 4;    // of an activation
constexpr std::int64_t kPanel = 16;  // outputs that a product computes together
constexpr std::int64_t kCacheBlock = 16;
// Bytes between two readings of what another rank has just read: beyond a core's own caches.
constexpr double kJustRead = 4.0 * 1024 * 1024;
constexpr std::int64_t kLogitRows = 64;  // that meet at once

double real(std::int64_t n) {
  return static_cast<double>(n);
}

// The parts of `runs` that lie in `rows`, as runs.
std::vector<RowRun> cut(const std::vector<RowRun>& runs, Range rows) {
  std::vector<RowRun> out;
  std::int64_t first = 0;
  for (const RowRun& run : runs) {
    const Range mine{std::max(rows.begin, first), std::min(rows.end, first + run.count)};
    if (!mine.empty()) {
      out.push_back({run.start + mine.begin - first, mine.size(),
                     run.samples && mine.end == first + run.count});
    }
    first += run.count;
  }
  return out;
}

struct LeafCut {
  std::int64_t k = 0;
  std::int64_t leaf_width = 0;
};

class Pricer {
 public:
  explicit Pricer(const WorkContext& context)
      : model_(context.model),
        machine_(context.machine),
        product_(context.product),
        program_(context.program),
        load_(context.load),
        kv_(context.kv) {}

  StepWork operator()(const step::Embed& s) const {
    StepWork work = meet(GroupKind::Tensor);
    const double values = real(local() * model_.d);
    work.units = values * real(s.table.rows.size()) / real(model_.vocab);
    work.remote_bytes = values * kValueBytes - work.units * kValueBytes;
    return work;
  }
  StepWork operator()(const step::Norm& s) const {
    return plain(real(load_.rows(row_set(s.in)) * s.weight.rows.size()));
  }
  StepWork operator()(const step::HeadNorm& s) const {
    return plain(real(load_.rows(row_set(s.reg)) * s.heads * model_.head_dim));
  }
  StepWork operator()(const step::WidthNorm& s) const {
    StepWork work = meet(GroupKind::Tensor);
    work.units = real(load_.rows(row_set(s.reg)) * s.heads.size() * model_.head_dim);
    return work;
  }
  StepWork operator()(const step::Clamp& s) const {
    return plain(real(load_.rows(row_set(s.reg)) * s.width));
  }
  StepWork operator()(const step::Gemm& s) const {
    StepWork work;
    work.kernel_s =
        product(load_.rows(row_set(s.out)), s.w.rows.size(), s.w.cols.size(), load_.sharers);
    return work;
  }
  StepWork operator()(const step::LeafGemm& s) const {
    StepWork work;
    work.kernel_s =
        leaf_product(local(), s.w.rows.size(), {s.w.cols.size(), s.leaf_width}, load_.sharers);
    return work;
  }
  StepWork operator()(const step::AllReduce& s) const {
    StepWork work = meet(GroupKind::Tensor);
    work.exchanges *= 2;
    const std::int64_t members = size(GroupKind::Tensor);
    const auto mine = real(s.member_nodes[static_cast<std::size_t>(self(GroupKind::Tensor))]);
    const double all =
        real(std::accumulate(s.member_nodes.begin(), s.member_nodes.end(), std::int64_t{0}));
    const double values = real(local() * s.width);
    const double share = values / real(members);
    // Packed unless it is one node, gathered in slots, added, and gathered again.
    work.units = (mine > 1 ? values * mine : 0) + share * (2 * all - 1) + values;
    work.remote_bytes = ((all - mine) * share + values - share) * kValueBytes;
    return work;
  }
  StepWork operator()(const step::Rope& s) const {
    return plain(real(load_.rows(row_set(s.reg)) * s.heads * model_.head_dim));
  }
  StepWork operator()(const step::SeqToHeads& s) const {
    StepWork work = meet(GroupKind::Sequence);
    std::int64_t heads = 0;
    for (std::size_t m = 0; m < s.q_heads.size(); ++m) {
      heads += s.q_heads[m].size() + 2 * s.kv_heads[m].size();
    }
    const auto me = static_cast<std::size_t>(s.self);
    const double taken = real(load_.rows(RowSet::Group) *
                              (s.q_heads[me].size() + 2 * s.kv_heads[me].size()) * model_.head_dim);
    work.units = real(local() * heads * model_.head_dim) + taken;
    work.remote_bytes = taken * kValueBytes * away(GroupKind::Sequence);
    return work;
  }
  StepWork operator()(const step::HeadsToSeq& s) const {
    StepWork work = meet(GroupKind::Sequence);
    work.units = real(local() * s.q_held * model_.head_dim);
    work.remote_bytes = work.units * kValueBytes * away(GroupKind::Sequence);
    return work;
  }
  StepWork operator()(const step::Attention& s) const {
    const bool decode = program_.phase == Phase::Decode;
    const LineCost& line = decode ? machine_.attend_one : machine_.attend_many;
    const double one_block = line.call_s + line.unit_s * real(model_.head_dim);
    const Range rows = s.rows == RowSet::Group ? Range{0, load_.rows(RowSet::Group)} : load_.local;
    double blocks = 0;
    double cached = 0;  // tokens of earlier steps
    for (const RowRun& run : cut(load_.group, rows)) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        const std::int64_t end = run.start + i + 1;
        const std::int64_t begin = s.window > 0 ? std::max<std::int64_t>(end - s.window, 0) : 0;
        blocks += real((end - 1) / kCacheBlock - begin / kCacheBlock + 1);
      }
      cached += real(s.window > 0 ? std::min(run.start, s.window) : run.start);
    }
    StepWork work;
    const double bytes =
        cached * real(2 * s.kv_heads.size() * kv_tile_bytes(kv_, 1, model_.head_dim));
    work.kernel_s = blocks * real(s.q_heads.size()) * one_block +
                    bytes * machine_.cache_byte.at(std::max(load_.working_set, 1.0));
    work.units = real(rows.size() * s.kv_heads.size() * model_.head_dim * 2);
    return work;
  }
  StepWork operator()(const step::Activate& s) const { return plain(real(local() * s.width)); }
  StepWork operator()(const step::Route&) const {
    return plain(real(load_.rows(RowSet::Slice) * model_.experts));
  }
  StepWork operator()(const step::Capacity&) const {
    StepWork work = meet(GroupKind::Stage);
    work.units = real(load_.rows(RowSet::Group) * model_.top_k * size(GroupKind::Stage));
    return work;
  }
  StepWork operator()(const step::Dispatch& s) const {
    StepWork work = meet(GroupKind::Stage);
    const RankExperts& experts = *load_.experts[s.layer.index()];
    work.units = real((experts.rows_sent + experts.rows_received) * s.width);
    work.remote_bytes = real(experts.remote_rows * s.width) * kValueBytes;
    return work;
  }
  StepWork operator()(const step::ExpertMlp& s) const {
    const RankExperts& experts = *load_.experts[s.layer.index()];
    StepWork work;
    work.calls = 0;
    for (const step::LocalExpert& expert : s.experts) {
      const std::int64_t rows = experts.rows_of_expert[expert.expert.index()];
      if (rows == 0) continue;
      const std::int64_t hidden = expert.up.rows.size();
      const double up = product(rows, hidden, model_.d, 1);
      work.kernel_s +=
          (model_.gated_mlp ? 2 : 1) * up + leaf_product(rows, model_.d, {hidden, s.leaf_width}, 1);
      work.calls += 1;
      work.units += real(rows * (model_.d * (1 + std::ssize(expert.nodes)) + 2 * hidden));
    }
    return work;
  }
  StepWork operator()(const step::Combine& s) const {
    StepWork work = meet(GroupKind::Stage);
    const RankExperts& experts = *load_.experts[s.layer.index()];
    const double nodes = real(std::ssize(s.nodes)) / real(std::ssize(s.shard_nodes));
    work.units = real(experts.answers_received * s.width) * nodes;
    work.remote_bytes = real(experts.remote_answers * s.width) * nodes * kValueBytes;
    return work;
  }
  StepWork operator()(const step::GatherSlices& s) const {
    StepWork work = meet(GroupKind::Tensor);
    work.units = real(local() * s.width);
    work.remote_bytes = work.units * kValueBytes * away(GroupKind::Tensor);
    return work;
  }
  StepWork operator()(const step::AddShared& s) const {
    StepWork work = plain(real(local() * model_.d));
    if (s.gated) work.kernel_s = product(local(), 1, model_.d, load_.sharers);
    return work;
  }
  StepWork operator()(const step::Residual&) const { return plain(real(local() * model_.d)); }
  StepWork operator()(const step::Send& s) const {
    return plain(real(local() * model_.d * std::ssize(s.to)));
  }
  StepWork operator()(const step::Recv&) const {
    StepWork work = plain(real(local() * model_.d));
    work.remote_bytes = work.units * kValueBytes;
    return work;
  }
  StepWork operator()(const step::LmHead& s) const {
    const std::int64_t rows = load_.sampled();
    StepWork work = meet(GroupKind::Tensor);
    const std::int64_t meetings = (rows + kLogitRows - 1) / kLogitRows;
    work.exchanges *= static_cast<int>(meetings);
    for (std::int64_t first = 0; first < rows; first += kLogitRows) {
      work.kernel_s += product(std::min(kLogitRows, rows - first), s.w.rows.size(), s.w.cols.size(),
                               load_.sharers);
    }
    if (self(GroupKind::Tensor) != 0) return work;
    work.units = work.late_units = real(rows * model_.vocab);
    work.remote_bytes = work.units * kValueBytes * away(GroupKind::Tensor);
    return work;
  }

 private:
  static StepWork plain(double units) {
    StepWork work;
    work.units = units;
    return work;
  }
  StepWork meet(GroupKind group) const {
    StepWork work;
    work.group = group;
    work.exchanges = size(group) > 1 ? 1 : 0;
    return work;
  }
  std::int64_t size(GroupKind group) const { return std::ssize(program_.group(group)); }
  std::int64_t self(GroupKind group) const {
    return program_.self[static_cast<std::size_t>(group)];
  }
  // The part of what a group holds that lies with the others.
  double away(GroupKind group) const { return 1 - 1 / real(size(group)); }
  std::int64_t local() const { return load_.local.size(); }

  // Of weights that `sharers` ranks read at about the same time: one of them finds them far away,
  // the others where it has just put them.
  double product(std::int64_t rows, std::int64_t n, std::int64_t k, std::int64_t sharers) const {
    if (rows == 0 || n == 0) return 0;
    const std::int64_t outputs = (n + kPanel - 1) / kPanel * kPanel;
    const double far_bytes = std::max(load_.working_set, 1.0);
    const double far = product_.at(real(rows), far_bytes);
    const double near = product_.at(real(rows), std::min(far_bytes, kJustRead));
    const double each = near + (far - near) / real(sharers);
    return machine_.product_call_s + machine_.product_start.at(far_bytes) / real(sharers) +
           real(rows * outputs * k) * each;
  }
  double leaf_product(std::int64_t rows, std::int64_t n, const LeafCut& cut,
                      std::int64_t sharers) const {
    if (rows == 0 || cut.k == 0) return 0;
    return product(rows, n, cut.k, sharers) +
           machine_.leaf.at(real(rows)) * real(rows * n * (cut.k / cut.leaf_width));
  }

  const ModelSpec& model_;
  const MachineSpec& machine_;
  const ProductTable& product_;
  const Program& program_;
  const RankLoad& load_;
  KvType kv_;
};

}  // namespace

std::int64_t RankLoad::rows(RowSet set) const {
  if (set == RowSet::Local) return local.size();
  if (set == RowSet::Slice) return slice.size();
  std::int64_t sum = 0;
  for (const RowRun& run : group) sum += run.count;
  return sum;
}

std::int64_t RankLoad::sampled() const {
  std::int64_t sum = 0;
  for (const RowRun& run : cut(group, local)) sum += run.samples ? 1 : 0;
  return sum;
}

StepWork work_of(const Step& step, const WorkContext& context) {
  return std::visit(Pricer(context), step);
}

StepSeconds seconds_of(const Step& step, const StepWork& work, const MachineSpec& machine) {
  LineCost line;
  if (const auto known = machine.host.find(step_name(step)); known != machine.host.end()) {
    line = known->second;
  }
  const double host = work.calls * line.call_s + (work.units - work.late_units) * line.unit_s;
  return {work.kernel_s + host,
          work.late_units * line.unit_s + work.remote_bytes * machine.message.unit_s};
}

}  // namespace pentafold
