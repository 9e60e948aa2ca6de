#include "predict/operator_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/quote.h"
#include "spec/embedded.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

constexpr std::array<std::string_view, kKernelFormats> kFormatNames = {
    "f32", "bf16", "fp8", "fp8-block", "int8", "int4", "mxfp4", "nvfp4"};
constexpr std::array<std::string_view, kOps - index_of(Op::Prefill)> kOtherNames = {
    "prefill",
    "decode",
    "decode-fp8",
    "mla-prefill",
    "mla-decode",
    "mla-decode-fp8",
    "elementwise",
    "custom-all-reduce",
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "send",
    "dispatch",
    "combine",
    "dispatch-low-latency",
    "combine-low-latency"};
constexpr std::array<std::string_view, kKernelSources> kSourceNames = {"any", "vllm", "sglang",
                                                                       "tensorrt-llm"};
// Knots are written with three decimals.
constexpr double kSlack = 1e-9;

// The greatest slope of each axis: the power with which work (traffic) grows along it.
struct AxisLimits {
  std::array<double, kAxes> compute{};
  std::array<double, kAxes> memory{};
};

AxisLimits limits_of(Op op) {
  if (op < Op::Prefill) return {{1, 1, 1}, {0, 1, 1}};  // rows do not add weights to read
  switch (op) {
    case Op::Prefill:
    case Op::MlaPrefill:  // pairs grow with all three axes: halves, so that no sum passes 1
      return {{0.5, 0.5, 0.5}, {0, 0, 0}};
    case Op::Decode:
    case Op::DecodeFp8:
    case Op::MlaDecode:
    case Op::MlaDecodeFp8:  // a wider cache row is no more to compute
      return {{1, 1, 0}, {1, 1, 1}};
    case Op::Dispatch:
    case Op::Combine:
    case Op::DispatchLowLatency:
    case Op::CombineLowLatency:
      return {{0, 1, 1}, {0, 1, 1}};
    default:  // bytes are the second axis; more ranks may use links better, as NVLink SHARP does
      return {{0, 0, 0}, {1, 1, 0}};
  }
}

// A word of a line, or none at its end.
std::string_view next_word(std::string_view& rest) {
  const std::size_t begin = std::min(rest.find_first_not_of(' '), rest.size());
  rest.remove_prefix(begin);
  const std::size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

// Reads one file line by line; every refusal names its line.
class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  Result<OperatorTables> read();

 private:
  bool next_line();  // of content: line_, key_
  Error refuse(std::string message) const {
    return make_error(ErrorCode::InvalidSpec, std::move(message), file_, number_);
  }
  Result<std::vector<double>> numbers(std::size_t least, std::size_t most);
  Result<double> one_number(double least, double greatest);
  Status begin_surface(OperatorTables& tables);
  Status read_part(FittedSurface& entry);
  Status read_floor(FittedSurface& entry);
  Status read_side(FittedSurface& entry, bool compute);
  Status finish(const FittedSurface& entry) const;

  std::string_view rest_;
  std::string_view line_;  // what follows the key
  std::string_view key_;
  std::string file_;
  int number_ = 0;
  std::array<bool, 2 * kAxes> seen_{};  // curves of the surface at hand
};

bool Reader::next_line() {
  while (!rest_.empty()) {
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    ++number_;
    key_ = next_word(line_);
    if (!key_.empty() && !key_.starts_with('#')) return true;
  }
  return false;
}

Result<std::vector<double>> Reader::numbers(std::size_t least, std::size_t most) {
  std::vector<double> out;
  for (std::string_view word = next_word(line_); !word.empty(); word = next_word(line_)) {
    const auto value = to_number(word);
    if (!value || std::abs(*value) > 1e6) {
      return refuse(fmt::format("{} holds {}, which is no number within [-1e6, 1e6]", key_,
                                quote_text(word)));
    }
    if (out.size() == most) return refuse(fmt::format("{} holds more than {} numbers", key_, most));
    out.push_back(*value);
  }
  if (out.size() < least) {
    return refuse(fmt::format("{} needs {} numbers; it holds {}", key_, least, out.size()));
  }
  return out;
}

Result<double> Reader::one_number(double least, double greatest) {
  PF_ASSIGN(const std::vector<double> values, numbers(1, 1));
  if (values[0] < least || values[0] > greatest) {
    return refuse(fmt::format("{} must be within [{}, {}]", key_, least, greatest));
  }
  return values[0];
}

Status Reader::begin_surface(OperatorTables& tables) {
  const std::string_view name = next_word(line_);
  const std::string_view source = next_word(line_);
  const auto kernels = std::ranges::find(kSourceNames, source);
  if (kernels == kSourceNames.end()) {
    return refuse(fmt::format("unknown kernels {}; known are any, vllm, sglang and tensorrt-llm",
                              quote_text(source)));
  }
  FittedSurface entry;
  for (std::size_t i = 0; i < kOps; ++i) {
    if (op_name(static_cast<Op>(i)) == name) entry.op = static_cast<Op>(i);
  }
  if (entry.op == Op::Count) return refuse(fmt::format("unknown operator {}", quote_text(name)));
  entry.kernels = static_cast<KernelSource>(kernels - kSourceNames.begin());
  entry.surface.p = 0;  // not read yet
  if (tables.find(entry.op, entry.kernels) != nullptr) {
    return refuse(fmt::format("{} of {} comes twice", name, source));
  }
  tables.surfaces.push_back(entry);
  seen_.fill(false);
  return ok_status();
}

Status Reader::read_floor(FittedSurface& entry) {
  PF_ASSIGN(const std::vector<double> values, numbers(3, 2 + Curve::kMostKnots));
  if (values[1] <= 0) return refuse("the step between knots must be above 0");
  entry.surface.floor = Curve(values[0], values[1], std::span(values).subspan(2));
  if (entry.surface.floor.least_slope() < -kSlack) return refuse("the floor must never fall");
  return ok_status();
}

// One curve: its axis, first knot, step, and values within the operator's limits.
Status Reader::read_side(FittedSurface& entry, bool compute) {
  PF_ASSIGN(const std::vector<double> values, numbers(4, 3 + Curve::kMostKnots));
  const double place = values[0];
  if (place != 0 && place != 1 && place != 2) return refuse("axes are 0, 1 and 2");
  if (values[2] <= 0) return refuse("the step between knots must be above 0");
  const auto axis = static_cast<std::size_t>(place);
  if (std::exchange(seen_[axis + (compute ? 0 : kAxes)], true)) {
    return refuse(fmt::format("{} has two curves of axis {}", key_, axis));
  }
  const Curve curve(values[1], values[2], std::span(values).subspan(3));
  const AxisLimits limits = limits_of(entry.op);
  const double limit = compute ? limits.compute[axis] : limits.memory[axis];
  if (curve.greatest_slope() > limit + kSlack) {
    return refuse(fmt::format("a slope of {:.3f} is above {}: time would fall along axis {}",
                              curve.greatest_slope(), limit, axis));
  }
  // Fewer rows at the same number of pairs see a longer context each: they must not take longer.
  const bool prefill = entry.op == Op::Prefill || entry.op == Op::MlaPrefill;
  if (prefill && compute && axis == 0 && curve.least_slope() < -kSlack) {
    return refuse("efficiency must not fall with the context (axis 0)");
  }
  (compute ? entry.surface.compute : entry.surface.memory)[axis] = curve;
  return ok_status();
}

Status Reader::read_part(FittedSurface& entry) {
  Surface& surface = entry.surface;
  if (key_ == "points") {
    PF_TRY(one_number(1, 1e6));
  } else if (key_ == "error") {
    PF_ASSIGN(surface.log_error, one_number(0, 10));
  } else if (key_ == "blend") {
    PF_ASSIGN(surface.p, one_number(1, 64));
  } else if (key_ == "stream") {
    PF_ASSIGN(surface.stream, one_number(0, 1000));
  } else if (key_ == "from" || key_ == "to") {
    PF_ASSIGN(const std::vector<double> ends, numbers(kAxes, kAxes));
    std::ranges::copy(ends, (key_ == "from" ? surface.from : surface.to).begin());
  } else if (key_ == "floor") {
    return read_floor(entry);
  } else if (key_ == "compute" || key_ == "memory") {
    return read_side(entry, key_ == "compute");
  } else {
    return refuse(fmt::format("unknown key {}", quote_text(key_)));
  }
  return ok_status();
}

// What holds for a surface as a whole.
Status Reader::finish(const FittedSurface& entry) const {
  const std::string name = op_name(entry.op);
  if (entry.surface.p == 0) return refuse(fmt::format("{} has no blend", name));
  for (const auto* side : {&entry.surface.compute, &entry.surface.memory}) {
    double greatest = 0;
    for (const Curve& curve : *side) greatest += curve.greatest();
    if (greatest > kSlack) return refuse(fmt::format("{} reaches an efficiency above 1", name));
  }
  return ok_status();
}

Result<OperatorTables> Reader::read() {
  OperatorTables out;
  while (next_line()) {
    if (key_ == "gpu") {
      out.gpu = std::string(next_word(line_));
    } else if (key_ == "link_latency_us") {
      PF_ASSIGN(const double us, one_number(1e-3, 1e6));
      out.link_latency_s = us * 1e-6;
    } else if (key_ == "surface") {
      if (!out.surfaces.empty()) PF_TRY(finish(out.surfaces.back()));
      PF_TRY(begin_surface(out));
    } else if (out.surfaces.empty()) {
      return refuse(fmt::format("{} comes before the first surface", quote_text(key_)));
    } else {
      PF_TRY(read_part(out.surfaces.back()));
    }
  }
  if (out.gpu.empty() || out.link_latency_s == 0 || out.surfaces.empty()) {
    return refuse("the file must name its gpu, its link_latency_us and at least one surface");
  }
  PF_TRY(finish(out.surfaces.back()));
  return out;
}

}  // namespace

std::string op_name(Op op) {
  const std::size_t i = index_of(op);
  if (op < Op::Experts) return fmt::format("gemm-{}", kFormatNames[i]);
  if (op < Op::Prefill) return fmt::format("experts-{}", kFormatNames[i - kKernelFormats]);
  return std::string(kOtherNames[i - index_of(Op::Prefill)]);
}

const Surface* OperatorTables::find(Op op, KernelSource kernels) const {
  for (const FittedSurface& entry : surfaces) {
    if (entry.op == op && entry.kernels == kernels) return &entry.surface;
  }
  return nullptr;
}

bool OperatorTables::has_sources(Op op) const {
  return std::ranges::any_of(surfaces, [op](const FittedSurface& entry) {
    return entry.op == op && entry.kernels != KernelSource::Any;
  });
}

Result<OperatorTables> parse_operator_tables(std::string_view text, const std::string& file) {
  return Reader(text, file).read();
}

std::span<const OperatorTables> catalog_operator_tables() {
  static const std::vector<OperatorTables> kTables = [] {
    std::vector<OperatorTables> out;
    for (const EmbeddedFile& file : embedded_files()) {
      if (!file.path.starts_with("specs/operators/")) continue;
      out.push_back(parse_operator_tables(std::string(file.text), std::string(file.path)).value());
    }
    return out;
  }();
  return kTables;
}

}  // namespace pentafold
