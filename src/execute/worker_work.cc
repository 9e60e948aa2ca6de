// What the steps of a worker compute and have to read, counted when they have run: with the true
// rows, routing and cache. Operations are those of products and attention. Bytes are weights and
// cache: where ranks share weights (dp, replicas) each is charged its part, so the sum over ranks
// is what memory has to deliver at least.
#include <algorithm>
#include <concepts>

#include "execute/worker.h"

namespace pentafold {
namespace {

template <class Step, class... Steps>
concept OneOf = (std::same_as<Step, Steps> || ...);

// They move activations, which are not counted.
template <class Step>
concept Moves = OneOf<Step, step::Embed, step::Norm, step::HeadNorm, step::WidthNorm, step::Clamp,
                      step::AllReduce, step::Rope, step::SeqToHeads, step::HeadsToSeq,
                      step::Activate, step::Route, step::Capacity, step::Dispatch, step::Combine,
                      step::GatherSlices, step::Residual, step::Send, step::Recv>;

double real(std::int64_t n) {
  return static_cast<double>(n);
}

}  // namespace

class RankWorker::WorkCounter {
 public:
  WorkCounter(const RankWorker& worker, OperatorReport& sum) : worker_(worker), sum_(sum) {}

  void operator()(const Moves auto&) const {}
  void operator()(const step::Gemm& s) const {
    const bool on_all = row_set(s.out) == RowSet::Slice;  // each rank has the whole for its rows
    product(worker_.rows(s.out), s.w, sharers() * (on_all ? tensor_group() : 1));
  }
  void operator()(const step::LeafGemm& s) const { product(worker_.rows(s.in), s.w, sharers()); }
  void operator()(const step::AddShared& s) const {
    if (s.gated) product(worker_.rows(Register::MoeOut), s.gate, sharers() * tensor_group());
  }
  void operator()(const step::LmHead& s) const {
    const RowTable& table = worker_.work_->table;
    std::int64_t wanted = 0;
    for (std::int64_t r = table.local.begin; r < table.local.end; ++r) {
      const bool samples = table.group[static_cast<std::size_t>(r)].samples;
      wanted += worker_.context_.all_logits || samples ? 1 : 0;
    }
    if (somebody_wants_logits()) product(wanted, s.w, sharers());
  }
  void operator()(const step::ExpertMlp& s) const {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(worker_.context_.model.experts));
    for (const Arrived& arrived : worker_.work_->moe.arrived) {
      ++rows[static_cast<std::size_t>(arrived.expert)];
    }
    for (const step::LocalExpert& expert : s.experts) {
      for (const WeightSlice* slice : {&expert.gate, &expert.up, &expert.down}) {
        const std::int64_t n = rows[expert.expert.index()];
        if (n > 0 && slice->count() > 0) product(n, *slice, 1);
      }
    }
  }
  void operator()(const step::Attention& s) const {
    const auto positions = worker_.positions(s.rows);
    const auto tables = worker_.block_tables(s.rows);
    std::int64_t pairs = 0;
    std::int64_t cached = 0;     // keys that some row reads
    std::int64_t read_from = 0;  // the first of them, of the request at hand
    for (std::size_t r = 0; r < positions.size(); ++r) {
      const std::int64_t end = positions[r] + 1;
      const std::int64_t begin = s.window > 0 ? std::max<std::int64_t>(0, end - s.window) : 0;
      pairs += end - begin;
      const bool goes_on = r > 0 && tables[r] == tables[r - 1];
      if (!goes_on) read_from = begin;
      if (r + 1 == positions.size() || tables[r + 1] != tables[r]) cached += end - read_from;
    }
    const KvShape& cache = worker_.kv_->shape();
    const std::int64_t tokens = cache.layers * cache.blocks * kKvBlockTokens;
    sum_.flop += 4 * real(pairs * s.q_heads.size() * cache.head_dim);
    if (tokens > 0) sum_.bytes += real(cached) * real(cache.bytes()) / real(tokens);
  }

 private:
  void product(std::int64_t rows, const WeightSlice& slice, std::int64_t sharers) const {
    const WeightMatrix& stored = *worker_.matrix(slice).w;
    const std::int64_t panels = panels_of(stored.n);
    const std::int64_t stored_rows =
        stored.layout == WeightLayout::RowMajor ? stored.n : panels * kPanelWidth;
    const double value_bytes = real(std::ssize(stored.bytes)) / real(stored_rows * stored.k);
    sum_.flop += 2 * real(rows) * real(slice.count());
    sum_.bytes += real(slice.count()) * value_bytes / real(sharers);
  }
  bool somebody_wants_logits() const {
    if (worker_.context_.all_logits) return true;
    const auto segments = std::span(worker_.batch_->segments)
                              .subspan(static_cast<std::size_t>(worker_.segments_.begin),
                                       static_cast<std::size_t>(worker_.segments_.size()));
    return std::ranges::any_of(segments, &Segment::samples);
  }
  std::int64_t tensor_group() const { return worker_.group_size(GroupKind::Tensor); }
  // Ranks that read the same part of what the tensor group shares out.
  std::int64_t sharers() const { return worker_.group_size(GroupKind::Stage) / tensor_group(); }

  const RankWorker& worker_;
  OperatorReport& sum_;
};

void RankWorker::add_work(const Step& s, OperatorReport& sum) const {
  std::visit(WorkCounter(*this, sum), s);
}

}  // namespace pentafold
