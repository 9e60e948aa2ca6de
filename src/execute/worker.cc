#include "execute/worker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <latch>
#include <new>

#include "base/canonical_math.h"
#include "base/check.h"

namespace pentafold {

RankWorker::RankWorker(const RunContext& context, RankProgram program,
                       std::unique_ptr<Communicator> comm)
    : context_(context),
      ranks_(std::move(program)),
      stage_(context.plan.stages[ranks_.place.stage.index()]),
      comm_(std::move(comm)),
      team_(context.threads_per_rank),
      device_(context.make_device(team_)) {
  clear_statistics();
}

namespace {

// Vectors are read as fp32; everything with a second dimension is a matrix for gemm.
bool is_vector(const ModelSpec& model, const WeightSlice& slice) {
  return tensor_info(model, slice.id).cols == 1;  // a shard of a matrix may be one column wide
}

}  // namespace

// Each thread takes one part and waits for the others, so none takes two.
Status RankWorker::bind_team() {
  std::vector<Status> outcomes(static_cast<std::size_t>(team_.size()));
  std::latch all(team_.size());
  team_.run(team_.size(), [&](std::int64_t thread) {
    outcomes[static_cast<std::size_t>(thread)] = context_.pinning->bind(ranks_.rank.value, thread);
    all.arrive_and_wait();
  });
  for (const Status& outcome : outcomes) PF_TRY(outcome);
  return ok_status();
}

Status RankWorker::prepare() {
  if (context_.pinning != nullptr) PF_TRY(bind_team());
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    for (const GroupKind kind : {GroupKind::Tensor, GroupKind::Sequence, GroupKind::Stage}) {
      PF_ASSIGN(groups_[static_cast<std::size_t>(phase)][static_cast<std::size_t>(kind)],
                comm_.join(ranks_.of(phase).group(kind)));
    }
  }
  KvShape shape;
  shape.layers = context_.mesh.layers(ranks_.place.stage).size();
  const std::int64_t groups = (context_.schedule_groups + stage_.dp - 1) / stage_.dp;
  shape.blocks = groups * context_.blocks_per_group;
  shape.head_dim = context_.model.head_dim;
  for (const Step& s : ranks_.decode.steps) {
    if (const auto* attention = std::get_if<step::Attention>(&s)) kv_heads_ = attention->kv_heads;
  }
  shape.kv_heads = kv_heads_.size();
  shape.type = run_kv_type(context_.plan);
  kv_ = std::make_unique<KvCache>(shape);
  memory_.add(shape.bytes());
  memory_.add(static_cast<std::int64_t>(context_.rope_table.size_bytes()));
  return ok_status();
}

void RankWorker::clear_statistics() {
  comm_.clear();
  times_ = {};
  routing_ = {};
  routing_.resize(context_.model.num_layers(), context_.model.experts);
}

// In the forms that the program's steps read it in.
RankWorker::Held RankWorker::load_slice(const WeightSlice& slice) const {
  const TensorId embedding{TensorRole::Embedding, -1, -1};
  Held held{slice, nullptr, nullptr, nullptr};
  const bool looked_up =
      slice.id == embedding && std::holds_alternative<step::Embed>(ranks_.prefill.steps.front());
  const bool multiplied =
      slice.id != embedding || (context_.model.tied_embeddings &&
                                std::holds_alternative<step::LmHead>(ranks_.prefill.steps.back()));
  if (looked_up) held.table = context_.weights.table(slice);
  if (is_vector(context_.model, slice)) {
    held.vector = context_.weights.vector(slice);
  } else if (multiplied) {
    held.matrix = context_.weights.matrix(slice);
  }
  return held;
}

Status RankWorker::load() {
  std::vector<WeightSlice> slices = held_weights(ranks_);
  context_.weights.sort(slices);
  std::vector<Held> loaded(slices.size());
  std::atomic<bool> refused{false};  // memory: a part of a team's work must not throw
  team_.run(std::ssize(slices), [&](std::int64_t i) {
    try {
      if (!refused)
        loaded[static_cast<std::size_t>(i)] = load_slice(slices[static_cast<std::size_t>(i)]);
    } catch (const std::bad_alloc&) {
      refused = true;
    }
  });
  if (refused) throw std::bad_alloc();
  bool in_integers = false;
  for (Held& held : loaded) {
    if (held.table) memory_.add(std::ssize(held.table->bytes));
    if (held.matrix) memory_.add(std::ssize(held.matrix->bytes));
    if (held.vector) memory_.add(std::ssize(*held.vector) * std::int64_t{sizeof(float)});
    in_integers = in_integers || (held.matrix && held.matrix->in_integers());
    held_.emplace(held.slice.id, std::move(held));
  }
  if (in_integers) device_memory_ = kIntegerRowBytes;
  memory_.add(device_memory_);
  return ok_status();
}

void RankWorker::reserve(const WorkingMemory& sizes) {
  if (work_ && work_->sizes() == sizes) return;  // its pages are there already
  if (work_) memory_.remove(work_->reserved());
  work_.reset();  // first give back, then take
  work_ = std::make_unique<WorkMemory>(sizes);
  memory_.add(work_->reserved());
}

Status RankWorker::run(const StepBatch& batch) {
  ledgers_.clear();
  work_->outbox.clear();  // a step ends when all its messages are read
  for (const Range& segments : batch.microbatches) {
    PF_TRY(run_microbatch(batch, segments, ranks_.of(batch.phase)));
  }
  return ok_status();
}

Status RankWorker::run_microbatch(const StepBatch& batch, Range segments, const Program& program) {
  batch_ = &batch;
  program_ = &program;
  segments_ = segments;
  RowTable& table = work_->table;
  fill_rows({batch, segments}, stage_, program.coord, context_.blocks_per_group, table);
  work_->positions.clear();
  work_->tables.clear();
  for (const TokenRow& row : table.group) {
    work_->positions.push_back(row.position);
    work_->tables.push_back(table.block_table(row));
  }
  for (const Step& s : program.steps) {
    comm_.set_label(step_name(s));
    PF_TRY(run_step(s, program.phase));
    work_->note_use();
    work_->scratch.rewind(0);
  }
  return ok_status();
}

Status RankWorker::run_step(const Step& s, Phase phase) {
  const auto run = [&] {
    return std::visit([this](const auto& concrete) { return operator_step(concrete); }, s);
  };
  if (!context_.time_operators) return run();
  const auto from = std::chrono::steady_clock::now();
  Status done = run();
  OperatorReport& time = times_[static_cast<std::size_t>(phase)][s.index()];
  ++time.calls;
  time.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  add_work(s, time);
  return done;
}

Rows RankWorker::reg(Register r) {
  const WorkMemory::Buffer& buffer = work_->registers[static_cast<std::size_t>(r)];
  return {buffer.data, buffer.width};
}

Rows RankWorker::resize(Register r, std::int64_t width) {
  WorkMemory::Buffer& buffer = work_->registers[static_cast<std::size_t>(r)];
  buffer.width = width;
  CHECK(rows(r) * width <= buffer.floats, "a register is planned for its largest rows");
  buffer.used = std::max(buffer.used, rows(r) * width);
  return reg(r);
}

std::span<const std::int64_t> RankWorker::positions(RowSet set) const {
  return std::span(work_->positions)
      .subspan(static_cast<std::size_t>(work_->table.first(set)),
               static_cast<std::size_t>(work_->table.rows(set)));
}

std::span<const std::int32_t* const> RankWorker::block_tables(RowSet set) const {
  return std::span(work_->tables)
      .subspan(static_cast<std::size_t>(work_->table.first(set)),
               static_cast<std::size_t>(work_->table.rows(set)));
}

MatrixPart RankWorker::matrix(const WeightSlice& slice) const {
  const Held& held = held_.at(slice.id);
  CHECK(held.matrix != nullptr);
  return {held.matrix.get(),
          {slice.rows.begin - held.slice.rows.begin, slice.rows.end - held.slice.rows.begin},
          {slice.cols.begin - held.slice.cols.begin, slice.cols.end - held.slice.cols.begin}};
}

const float* RankWorker::vector(const WeightSlice& slice) const {
  const Held& held = held_.at(slice.id);
  CHECK(held.vector != nullptr);
  return held.vector->data() + (slice.rows.begin - held.slice.rows.begin);
}

GroupId RankWorker::group(GroupKind kind) const {
  return groups_[static_cast<std::size_t>(program_->phase)][static_cast<std::size_t>(kind)];
}

Status RankWorker::operator_step(const step::Norm& s) {
  const std::int64_t d = s.weight.rows.size();
  const std::int64_t n = rows(s.in);
  const Rows out = resize(s.out, d);
  std::pmr::vector<float> sums = passing<float>(n);
  device_->sum_squares(n, d, reg(s.in), sums.data());
  device_->normalise(n, d, reg(s.in), sums.data(), static_cast<float>(d),
                     static_cast<float>(context_.model.norm_eps), vector(s.weight), out);
  return ok_status();
}

Status RankWorker::operator_step(const step::HeadNorm& s) {
  const std::int64_t head_dim = context_.model.head_dim;
  const std::int64_t n = rows(s.reg) * s.heads;
  const Rows heads{reg(s.reg).data, head_dim};  // heads of a row are contiguous
  std::pmr::vector<float> sums = passing<float>(n);
  device_->sum_squares(n, head_dim, heads, sums.data());
  device_->normalise(n, head_dim, heads, sums.data(), static_cast<float>(head_dim),
                     static_cast<float>(context_.model.norm_eps), vector(s.weight), heads);
  return ok_status();
}

Status RankWorker::operator_step(const step::Clamp& s) {
  const Rows x = reg(s.reg);
  const auto limit = static_cast<float>(s.limit);
  for (std::int64_t r = 0; r < rows(s.reg); ++r) {
    for (std::int64_t i = 0; i < s.width; ++i) {
      x.row(r)[i] = std::clamp(x.row(r)[i], -limit, limit);
    }
  }
  return ok_status();
}

Status RankWorker::operator_step(const step::Gemm& s) {
  const MatrixPart w = matrix(s.w);
  GemmArgs args;
  args.rows = rows(s.out);
  const std::int64_t skip = work_->table.first(row_set(s.out)) - work_->table.first(row_set(s.in));
  const ConstRows in = reg(s.in);
  args.x = {in.data + skip * in.ld, in.ld};
  args.w = w.w;
  args.n = w.n;
  args.k = w.k;
  if (s.has_bias) args.bias = vector({s.bias, s.w.rows, {0, 1}});
  args.y = resize(s.out, s.w.rows.size());
  device_->gemm(args);
  return ok_status();
}

Status RankWorker::operator_step(const step::LeafGemm& s) {
  const MatrixPart w = matrix(s.w);
  LeafGemmArgs args;
  args.rows = rows(s.in);
  args.x = reg(s.in);
  args.w = w.w;
  args.k = w.k;
  args.leaf_width = s.leaf_width;
  args.nodes = s.nodes;
  args.y = resize(Register::Partial, w.n.size() * static_cast<std::int64_t>(s.nodes.size())).data;
  device_->leaf_gemm(args);
  return ok_status();
}

Status RankWorker::operator_step(const step::Rope& s) {
  device_->rope(rows(s.reg), s.heads, context_.model.head_dim, positions(row_set(s.reg)),
                context_.rope_table.data(), reg(s.reg));
  return ok_status();
}

void RankWorker::activate(std::int64_t rows, std::int64_t width, bool gated, ConstRows gate,
                          Rows up) const {
  const bool silu = context_.model.activation == Activation::Silu;
  if (gated && silu) {
    device_->silu_mul(rows, width, gate, up, up);
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < width; ++i) {
      float& y = up.row(r)[i];
      const float x = gated ? gate.row(r)[i] : y;
      const float activated = silu ? canonical_silu(x) : std::max(x, 0.0F);
      y = gated ? activated * y : activated;
    }
  }
}

Status RankWorker::operator_step(const step::Activate& s) {
  activate(rows(Register::Up), s.width, s.gated, reg(Register::Gate), reg(Register::Up));
  return ok_status();
}

Status RankWorker::operator_step(const step::Residual& s) {
  device_->add(rows(Register::Hidden), width(Register::Hidden), reg(s.in), reg(Register::Hidden));
  return ok_status();
}

}  // namespace pentafold
