#include "predict/operators.h"

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

constexpr double kBf16 = 2;  // bytes
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

// Different boxes that `picks` balls fall into, on average.
double different(double boxes, double picks) {
  return boxes <= 1 ? 1 : boxes * (1 - std::exp2(picks * std::log2(1 - 1 / boxes)));
}

}  // namespace

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

constexpr const char* kUnknownDevice = "h100-sxm";

Operators::Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links, KernelSource kernels)
    : Operators(gpu, links, kernels, catalog_operator_tables()) {}

Operators::Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links, KernelSource kernels,
                     std::span<const OperatorTables> tables)
    : log_bandwidth_(std::log2(gpu.memory_bytes_per_s)), links_(links) {
  for (std::size_t i = 0; i < kKernelFormats; ++i) {
    log_peak_[i] = std::log2(peak_flops(gpu, static_cast<KernelFormat>(i)));
  }
  // Neighbours are chosen by the catalog's figures, so that changing a peak changes times and not
  // whose tables they come from: a better device is never slower. One that the catalog does not
  // know takes the tables of kUnknownDevice for the same reason.
  const auto known = find_gpu(gpu.name);
  GpuSpec here = known && known->name == gpu.name ? *known : find_gpu(kUnknownDevice).value();
  here.name = gpu.name;
  const std::vector<MeasuredDevice> devices = measured_devices(tables);
  for (std::size_t i = 0; i < kOps; ++i) {
    entries_[i] = choose_operator(static_cast<Op>(i), kernels, here, devices);
  }
}

OpTime Operators::evaluate(Op op, const Surface::Load& load) const {
  const OperatorChoice& entry = entries_[index_of(op)];
  const Surface::Time time = entry.surface.time(load);
  OpTime out{time.seconds, entry.provenance, entry.surface.log_error, time.binding};
  const bool measured = out.provenance <= Provenance::Interpolated;
  if (measured && !entry.surface.covers(load.axes)) {
    out.provenance = Provenance::Extrapolated;
    out.log_error = combined_error(out.log_error, kForeignError);
  }
  return out;
}

double Operators::most_of_peak(Op op) const {
  double log = 0;
  for (const Curve& curve : entries_[index_of(op)].surface.compute) log += curve.greatest();
  return std::min(1.0, std::exp2(log));
}

double Operators::most_of_bandwidth(Op op) const {
  double log = 0;
  for (const Curve& curve : entries_[index_of(op)].surface.memory) log += curve.greatest();
  return std::min(1.0, std::exp2(log));
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

double Operators::floor_scale(Op op) const {
  const double measured = entries_[index_of(op)].link_latency_s;
  return measured > 0 ? links_.front().latency_s / measured : 1;
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
                       floor_scale(op)});
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
  return evaluate(
      Op::Send,
      {{size, size, size}, kNothing, size - std::log2(link.bytes_per_s), 0, floor_scale(Op::Send)});
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
                   floor_scale(op)});
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
