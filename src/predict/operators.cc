#include "predict/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace pentafold {
namespace {

constexpr double kBf16 = 2;  // bytes
// What another device's utilisation may be off by, in ln, 80 % of the time: measured between the
// devices that have tables (docs/operators.md).
constexpr double kTransferError = 0.35;
constexpr double kForeignKernelsError = 0.2;
// No table: a roofline at 60 % of the peak and 70 % of the bandwidth behind a 5 us start.
constexpr double kAnalyticError = 0.6;
constexpr double kAnalyticFloorS = 5e-6;
constexpr double kAnalyticCompute = 0.6;
constexpr double kAnalyticMemory = 0.7;
// Between nodes: two-node NCCL all-reduce on H100 moves 83 % of a NIC at 32 MiB (NVIDIA/nccl-tests
// issue 232), its engineers name 92-96 % as the most (issue 290).
constexpr double kOuterLink = 0.85;
constexpr double kOuterError = 0.4;
// Engines use their own all-reduce kernels where GPUs read each other's memory directly.
constexpr double kDirectLink = 100e9;
constexpr double kDirectRanks = 8;

double log2_or_nothing(double x) {
  return x > 0 ? std::log2(x) : kNothing;
}

double weight_bytes(KernelFormat format) {
  switch (format) {
    case KernelFormat::F32:
      return bytes_per_value(NumberFormat::F32);
    case KernelFormat::Bf16:
      return bytes_per_value(NumberFormat::BF16);
    case KernelFormat::Fp8:
      return 1;
    case KernelFormat::Fp8Block:
      return bytes_per_value(NumberFormat::FP8);
    case KernelFormat::Int8:
      return bytes_per_value(NumberFormat::INT8);
    case KernelFormat::Int4:
      return bytes_per_value(NumberFormat::INT4);
    case KernelFormat::Mxfp4:
      return bytes_per_value(NumberFormat::MXFP4);
    case KernelFormat::Nvfp4:
      return bytes_per_value(NumberFormat::NVFP4);
  }
  return kBf16;
}

double activation_bytes(KernelFormat format) {
  switch (format) {
    case KernelFormat::F32:
      return 4;
    case KernelFormat::Fp8:
    case KernelFormat::Fp8Block:
    case KernelFormat::Int8:
    case KernelFormat::Nvfp4:
      return 1;
    default:
      return kBf16;
  }
}

double peak_flops(const GpuSpec& gpu, KernelFormat format) {
  switch (format) {
    case KernelFormat::F32:
      return gpu.flops(NumberFormat::F32);
    case KernelFormat::Fp8:
    case KernelFormat::Fp8Block:
      return gpu.flops(NumberFormat::FP8);
    case KernelFormat::Int8:
      return gpu.flops(NumberFormat::INT8);
    case KernelFormat::Nvfp4:
      return gpu.flops(NumberFormat::NVFP4);
    default:  // weights widened to bf16
      return gpu.bf16_flops;
  }
}

// The formats whose surfaces stand in for one without, nearest first.
std::array<KernelFormat, 3> nearest_formats(KernelFormat format) {
  using enum KernelFormat;
  switch (format) {
    case Fp8:
    case Int8:
      return {Fp8, Fp8Block, Bf16};
    case Fp8Block:
    case Nvfp4:
      return {Fp8Block, Fp8, Bf16};
    case Int4:
    case Mxfp4:
      return {Mxfp4, Int4, Bf16};
    default:
      return {Bf16, Fp8, Fp8Block};
  }
}

// Operators that may stand in for `op`, itself first.
std::vector<Op> stand_ins(Op op) {
  if (op < Op::Prefill) {
    const Op base = op < Op::Experts ? Op::Gemm : Op::Experts;
    const auto format = static_cast<KernelFormat>(index_of(op) - index_of(base));
    std::vector<Op> out = {op};
    for (const KernelFormat near : nearest_formats(format)) out.push_back(with_format(base, near));
    return out;
  }
  if (op == Op::DecodeFp8) return {op, Op::Decode};
  if (op == Op::MlaDecodeFp8) return {op, Op::MlaDecode};
  return {op};
}

double ratio(double a, double b) {
  return a > 0 && b > 0 ? std::abs(std::log2(a / b)) : 0;
}

// How unlike two devices are, in doublings of what an operator leans on.
double distance(Op op, const GpuSpec& a, const GpuSpec& b) {
  if (a.name == b.name) return -1;
  if (uses_links(op)) {
    if (a.links.empty() || b.links.empty()) return ratio(a.bf16_flops, b.bf16_flops);
    return ratio(a.links.front().bytes_per_s, b.links.front().bytes_per_s) +
           ratio(a.links.front().latency_s, b.links.front().latency_s);
  }
  return ratio(a.bf16_flops, b.bf16_flops) + ratio(a.memory_bytes_per_s, b.memory_bytes_per_s);
}

Surface analytic_surface() {
  const auto flat = [](double x) { return Curve(0, 1, std::array<double, 1>{std::log2(x)}); };
  Surface out;
  out.floor = flat(kAnalyticFloorS);
  out.compute[0] = flat(kAnalyticCompute);
  out.memory[0] = flat(kAnalyticMemory);
  out.log_error = kAnalyticError;
  return out;
}

struct Choice {
  const Surface* surface = nullptr;
  bool foreign_kernels = false;
};

Choice choose_surface(const OperatorTables& tables, Op op, KernelSource kernels) {
  if (const Surface* own = tables.find(op, kernels)) return {own, false};
  return {tables.find(op, KernelSource::Any), tables.has_sources(op)};
}

double hypotenuse(double a, double b) {
  return std::sqrt(a * a + b * b);
}

// Different boxes that `picks` balls fall into, on average.
double different(double boxes, double picks) {
  return boxes <= 1 ? 1 : boxes * (1 - std::exp2(picks * std::log2(1 - 1 / boxes)));
}

}  // namespace

KernelSource kernel_source_of(std::string_view engine) {
  if (engine == "vllm") return KernelSource::Vllm;
  if (engine == "sglang") return KernelSource::Sglang;
  if (engine == "tensorrt-llm" || engine == "trtllm") return KernelSource::TensorRtLlm;
  return KernelSource::Any;
}

KernelFormat kernel_format(NumberFormat format, bool block_scaled) {
  switch (format) {
    case NumberFormat::F32:
      return KernelFormat::F32;
    case NumberFormat::BF16:
    case NumberFormat::F16:
      return KernelFormat::Bf16;
    case NumberFormat::FP8:
      return block_scaled ? KernelFormat::Fp8Block : KernelFormat::Fp8;
    case NumberFormat::INT8:
      return KernelFormat::Int8;
    case NumberFormat::INT4:
      return KernelFormat::Int4;
    case NumberFormat::NVFP4:
      return KernelFormat::Nvfp4;
    case NumberFormat::MXFP4:
      return KernelFormat::Mxfp4;
  }
  return KernelFormat::Bf16;
}

const char* to_string(Provenance provenance) {
  switch (provenance) {
    case Provenance::Measured:
      return "measured";
    case Provenance::Interpolated:
      return "interpolated";
    case Provenance::Extrapolated:
      return "extrapolated";
    case Provenance::Transferred:
      return "transferred";
    case Provenance::Analytic:
      return "analytic";
  }
  return "?";
}

Operators::Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links, KernelSource kernels)
    : Operators(gpu, links, kernels, catalog_operator_tables()) {}

Operators::Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links, KernelSource kernels,
                     std::span<const OperatorTables> tables)
    : log_bandwidth_(std::log2(gpu.memory_bytes_per_s)), links_(links) {
  for (std::size_t i = 0; i < kKernelFormats; ++i) {
    log_peak_[i] = std::log2(peak_flops(gpu, static_cast<KernelFormat>(i)));
  }
  for (std::size_t i = 0; i < kOps; ++i) choose(static_cast<Op>(i), kernels, gpu, tables);
}

void Operators::choose(Op op, KernelSource kernels, const GpuSpec& gpu,
                       std::span<const OperatorTables> tables) {
  Entry& entry = entries_[index_of(op)];
  entry.surface = analytic_surface();
  GpuSpec here = gpu;
  if (!links_.empty()) here.links = links_;
  for (const Op candidate : stand_ins(op)) {
    const OperatorTables* best = nullptr;
    double least = std::numeric_limits<double>::infinity();
    for (const OperatorTables& table : tables) {
      if (table.find(candidate, KernelSource::Any) == nullptr) continue;
      const auto there = find_gpu(table.gpu);
      const double far = there ? distance(op, here, *there) : 100;
      if (far < least) {
        least = far;
        best = &table;
      }
    }
    if (best == nullptr) continue;
    const Choice choice = choose_surface(*best, candidate, kernels);
    entry.surface = *choice.surface;
    entry.gpu = best->gpu;
    if (uses_links(op) && !links_.empty()) {
      entry.floor_scale = links_.front().latency_s / best->link_latency_s;
    }
    const bool foreign = choice.foreign_kernels || candidate != op;
    const bool here_measured = best->gpu == gpu.name;
    entry.provenance = !here_measured ? Provenance::Transferred
                       : foreign      ? Provenance::Interpolated
                                      : Provenance::Measured;
    double& error = entry.surface.log_error;
    if (!here_measured) error = hypotenuse(error, kTransferError);
    if (foreign) error = hypotenuse(error, kForeignKernelsError);
    return;
  }
}

OpTime Operators::evaluate(Op op, const Surface::Load& load) const {
  const Entry& entry = entries_[index_of(op)];
  const Surface::Time time = entry.surface.time(load);
  OpTime out{time.seconds, entry.provenance, entry.surface.log_error, time.binding};
  const bool measured = out.provenance <= Provenance::Interpolated;
  if (measured && !entry.surface.covers(load.axes)) {
    out.provenance = Provenance::Extrapolated;
    out.log_error = hypotenuse(out.log_error, kForeignKernelsError);
  }
  return out;
}

OpTime Operators::gemm(const Gemm& shape) const {
  if (shape.rows <= 0 || shape.n <= 0 || shape.k <= 0) return {};
  const auto format = static_cast<std::size_t>(shape.format);
  const double rows = std::log2(shape.rows);
  const double n = std::log2(shape.n);
  const double k = std::log2(shape.k);
  const double moved = shape.rows * (shape.k * activation_bytes(shape.format) + shape.n * kBf16);
  const Surface::Load load{{rows, n, k},
                           1 + rows + n + k - log_peak_[format],
                           n + k + std::log2(weight_bytes(shape.format)) - log_bandwidth_,
                           moved * std::exp2(-log_bandwidth_)};
  return evaluate(with_format(Op::Gemm, shape.format), load);
}

OpTime Operators::grouped_gemm(const GroupedGemm& shape) const {
  if (shape.rows <= 0 || shape.experts <= 0 || shape.params <= 0) return {};
  const auto format = static_cast<std::size_t>(shape.format);
  const double rows = std::log2(shape.rows);
  const double experts = std::log2(shape.experts);
  const double params = std::log2(shape.params);
  const double moved = std::max(shape.pairs, shape.rows * shape.experts) * shape.width * kBf16;
  const Surface::Load load{
      {rows, experts, params},
      1 + rows + experts + params - log_peak_[format],
      experts + params + std::log2(weight_bytes(shape.format)) - log_bandwidth_,
      moved * std::exp2(-log_bandwidth_)};
  return evaluate(with_format(Op::Experts, shape.format), load);
}

OpTime Operators::prefill(Op op, const PrefillAttention& shape) const {
  if (shape.rows <= 0 || shape.pairs <= 0) return {};
  const double pairs = std::log2(shape.pairs);
  const double flops = 2 + pairs + log2_or_nothing(shape.heads * shape.head_dim);
  return evaluate(
      op, {{pairs - std::log2(shape.rows), flops, log2_or_nothing(shape.head_dim)},
           flops - log_peak_[static_cast<std::size_t>(KernelFormat::Bf16)],
           log2_or_nothing(shape.rows * shape.row_bytes + shape.cached_bytes) - log_bandwidth_});
}

OpTime Operators::prefill_attention(const PrefillAttention& shape) const {
  return prefill(Op::Prefill, shape);
}

OpTime Operators::mla_prefill(const PrefillAttention& shape) const {
  return prefill(Op::MlaPrefill, shape);
}

OpTime Operators::decode(Op op, const DecodeAttention& shape) const {
  if (shape.sequences <= 0 || shape.context <= 0 || shape.token_bytes <= 0) return {};
  const double sequences = std::log2(shape.sequences);
  const double context = std::log2(shape.context);
  const double width = std::log2(shape.token_bytes);
  return evaluate(op, {{sequences, context, width},
                       sequences + context + log2_or_nothing(shape.pair_flops) -
                           log_peak_[static_cast<std::size_t>(KernelFormat::Bf16)],
                       sequences + context + width - log_bandwidth_});
}

OpTime Operators::decode_attention(const DecodeAttention& shape) const {
  return decode(shape.fp8_cache ? Op::DecodeFp8 : Op::Decode, shape);
}

OpTime Operators::mla_decode(const DecodeAttention& shape) const {
  return decode(shape.fp8_cache ? Op::MlaDecodeFp8 : Op::MlaDecode, shape);
}

OpTime Operators::elementwise(double bytes) const {
  if (bytes <= 0) return {};
  const double moved = std::log2(bytes);
  return evaluate(Op::Elementwise, {{moved, moved, moved}, kNothing, moved - log_bandwidth_});
}

// One collective within the innermost domain.
OpTime Operators::inside(Op op, double ranks, double bytes) const {
  const bool reduce = op == Op::AllReduce || op == Op::CustomAllReduce;
  const double wire = (reduce ? 2 : 1) * (ranks - 1) / ranks * bytes;
  const double size = log2_or_nothing(bytes);
  return evaluate(op, {{std::log2(ranks), size, size},
                       kNothing,
                       log2_or_nothing(wire) - std::log2(links_.front().bytes_per_s),
                       0,
                       entries_[index_of(op)].floor_scale});
}

OpTime Operators::collective(Op op, const CommGroup& group, double bytes) const {
  if (group.ranks <= 1 || bytes < 0 || links_.empty()) return {};
  const double near = std::clamp(group.inside, 1.0, group.ranks);
  OpTime time;
  if (near > 1) {
    time = inside(op, near, bytes);
    const bool direct = near <= kDirectRanks && links_.front().bytes_per_s >= kDirectLink;
    if (op == Op::AllReduce && direct) {
      const OpTime custom = inside(Op::CustomAllReduce, near, bytes);
      if (custom.seconds < time.seconds) time = custom;
    }
  }
  if (near >= group.ranks) return time;
  // The outer level carries each rank's share of what its domain sends, each domain once.
  const LinkLevel& link = links_[std::min(group.outer, links_.size() - 1)];
  const double domains = group.ranks / near;
  const double share = op == Op::AllToAll ? bytes : bytes / near;
  const double passes = op == Op::AllReduce ? 2 : 1;
  const double steps = passes * std::ceil(std::log2(domains));
  const double outer = steps * link.latency_s +
                       passes * (domains - 1) / domains * share / (link.bytes_per_s * kOuterLink);
  // An all-to-all uses both levels at once; the others pass from one to the next.
  const double seconds = op == Op::AllToAll ? std::max(time.seconds, outer) : time.seconds + outer;
  return {seconds, Provenance::Analytic, kOuterError, Binding::Memory};
}

OpTime Operators::all_reduce(const CommGroup& group, double bytes) const {
  return collective(Op::AllReduce, group, bytes);
}

OpTime Operators::all_gather(const CommGroup& group, double bytes) const {
  return collective(Op::AllGather, group, bytes);
}

OpTime Operators::reduce_scatter(const CommGroup& group, double bytes) const {
  return collective(Op::ReduceScatter, group, bytes);
}

OpTime Operators::all_to_all(const CommGroup& group, double bytes) const {
  return collective(Op::AllToAll, group, bytes);
}

OpTime Operators::send(std::size_t level, double bytes) const {
  if (links_.empty() || bytes < 0) return {};
  const LinkLevel& link = links_[std::min(level, links_.size() - 1)];
  if (level > 0) {
    return {link.latency_s + bytes / (link.bytes_per_s * kOuterLink), Provenance::Analytic,
            kOuterError, Binding::Memory};
  }
  const double size = log2_or_nothing(bytes);
  return evaluate(Op::Send, {{size, size, size},
                             kNothing,
                             size - std::log2(link.bytes_per_s),
                             0,
                             entries_[index_of(Op::Send)].floor_scale});
}

OpTime Operators::exchange(Op op, const CommGroup& group, const ExpertExchange& exchange) const {
  if (group.ranks <= 1 || exchange.rows <= 0 || links_.empty()) return {};
  const double near = std::clamp(group.inside, 1.0, group.ranks);
  const double nodes = group.ranks / near;
  const bool each_expert = op == Op::DispatchLowLatency || op == Op::CombineLowLatency;
  const double copies = each_expert ? exchange.topk : different(group.ranks, exchange.topk);
  const double hops = each_expert ? exchange.topk : different(nodes, exchange.topk);
  const double within =
      each_expert ? copies * (near - 1) / group.ranks : copies * (near - 1) / near;
  const double across = hops * (nodes - 1) / nodes;
  const double moved = exchange.rows * exchange.width * exchange.bytes_per_value;
  const LinkLevel& outer =
      links_[std::min(std::max<std::size_t>(group.outer, 1), links_.size() - 1)];
  return evaluate(op,
                  {{std::log2(nodes), std::log2(exchange.rows), log2_or_nothing(exchange.width)},
                   log2_or_nothing(across * moved / outer.bytes_per_s),
                   log2_or_nothing(within * moved / links_.front().bytes_per_s),
                   0,
                   entries_[index_of(op)].floor_scale});
}

OpTime Operators::dispatch(const CommGroup& group, const ExpertExchange& rows) const {
  return exchange(Op::Dispatch, group, rows);
}

OpTime Operators::combine(const CommGroup& group, const ExpertExchange& rows) const {
  return exchange(Op::Combine, group, rows);
}

OpTime Operators::dispatch_low_latency(const CommGroup& group, const ExpertExchange& rows) const {
  return exchange(Op::DispatchLowLatency, group, rows);
}

OpTime Operators::combine_low_latency(const CommGroup& group, const ExpertExchange& rows) const {
  return exchange(Op::CombineLowLatency, group, rows);
}

}  // namespace pentafold
