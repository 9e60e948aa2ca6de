#include "predict/operator_tables.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/quote.h"
#include "spec/embedded.h"
#include "spec/quantity.h"
#include "spec/yaml_reader.h"

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
    case Op::MlaDecodeFp8:
      return {{1, 1, 1}, {1, 1, 1}};
    case Op::Dispatch:
    case Op::Combine:
    case Op::DispatchLowLatency:
    case Op::CombineLowLatency:
      return {{0, 1, 1}, {0, 1, 1}};
    default:  // bytes are the second axis; more ranks may use links better, as NVLink SHARP does
      return {{0, 0, 0}, {1, 1, 0}};
  }
}

struct AxisCurve {
  std::size_t axis = 0;
  Curve curve;
};

Result<std::vector<double>> read_numbers(const YamlMap& map, std::string_view key,
                                         std::size_t most) {
  PF_ASSIGN(const std::vector<YAML::Node> nodes, map.sequence(key));
  std::vector<double> out;
  for (const YAML::Node& node : nodes) {
    const auto value = node.IsScalar() ? to_number(node.Scalar()) : std::nullopt;
    if (!value || std::abs(*value) > 100) {
      return map.error_at(key, fmt::format("{} must hold numbers within [-100, 100]", key));
    }
    out.push_back(*value);
  }
  if (out.empty() || out.size() > most) {
    return map.error_at(
        key, fmt::format("{} must hold 1 to {} numbers; it holds {}", key, most, out.size()));
  }
  return out;
}

Result<AxisCurve> read_curve(const YamlMap& map) {
  PF_TRY(map.refuse_unknown(std::array<std::string_view, 4>{"axis", "from", "step", "log2"}));
  PF_ASSIGN(const std::int64_t axis, map.integer("axis", std::nullopt, 0, kAxes - 1));
  PF_ASSIGN(const double from, map.number("from", std::nullopt, -100, 100));
  PF_ASSIGN(const double step, map.number("step", std::nullopt, 0.01, 100));
  PF_ASSIGN(const std::vector<double> values, read_numbers(map, "log2", Curve::kMostKnots));
  return AxisCurve{static_cast<std::size_t>(axis), Curve(from, step, values)};
}

// One side of the roofline: curves of different axes, within `limits`, that sum to 0 at most.
Result<std::array<Curve, kAxes>> read_side(const YamlMap& map, std::string_view key,
                                           const std::array<double, kAxes>& limits) {
  std::array<Curve, kAxes> out;
  if (!map.has(key)) return out;
  PF_ASSIGN(const std::vector<YAML::Node> nodes, map.sequence(key));
  double greatest = 0;
  std::array<bool, kAxes> seen{};
  for (const YAML::Node& node : nodes) {
    PF_ASSIGN(const YamlMap entry, YamlMap::of(node, map.file()));
    PF_ASSIGN(const AxisCurve read, read_curve(entry));
    if (std::exchange(seen[read.axis], true)) {
      return entry.error_at("axis", fmt::format("{} has two curves of axis {}", key, read.axis));
    }
    if (read.curve.greatest_slope() > limits[read.axis] + kSlack) {
      return entry.error_at(
          "log2", fmt::format("a slope of {:.3f} is above {}: time would fall along axis {}",
                              read.curve.greatest_slope(), limits[read.axis], read.axis));
    }
    greatest += read.curve.greatest();
    out[read.axis] = read.curve;
  }
  if (greatest > kSlack) {
    return map.error_at(key, fmt::format("{} reaches an efficiency above 1", key));
  }
  return out;
}

Result<std::array<double, kAxes>> read_ends(const YamlMap& map, std::string_view key) {
  PF_ASSIGN(const std::vector<double> ends, read_numbers(map, key, kAxes));
  if (ends.size() != kAxes) {
    return map.error_at(key, fmt::format("{} must hold {} numbers", key, kAxes));
  }
  return std::array<double, kAxes>{ends[0], ends[1], ends[2]};
}

Result<Op> read_op(const YamlMap& map) {
  PF_ASSIGN(const std::string name, map.text("op", std::nullopt));
  for (std::size_t i = 0; i < kOps; ++i) {
    if (op_name(static_cast<Op>(i)) == name) return static_cast<Op>(i);
  }
  return map.error_at("op", fmt::format("unknown operator {}", quote_text(name)));
}

Result<FittedSurface> read_surface(const YamlMap& map) {
  PF_TRY(map.refuse_unknown(std::array<std::string_view, 11>{"op", "kernels", "points", "log_error",
                                                             "p", "stream", "from", "to", "floor",
                                                             "compute", "memory"}));
  FittedSurface out;
  PF_ASSIGN(out.op, read_op(map));
  PF_ASSIGN(const std::size_t kernels, map.choice("kernels", kSourceNames, std::nullopt));
  out.kernels = static_cast<KernelSource>(kernels);
  Surface& surface = out.surface;
  PF_ASSIGN(surface.log_error, map.number("log_error", std::nullopt, 0, 10));
  PF_ASSIGN(surface.p, map.number("p", std::nullopt, 1, 64));
  PF_ASSIGN(surface.stream, map.number("stream", std::nullopt, 0, 1000));
  PF_ASSIGN(surface.from, read_ends(map, "from"));
  PF_ASSIGN(surface.to, read_ends(map, "to"));
  PF_ASSIGN(const YamlMap floor, map.map("floor"));
  PF_ASSIGN(const AxisCurve read, read_curve(floor));
  if (read.axis != 0 || read.curve.least_slope() < -kSlack) {
    return map.error_at("floor", "the floor must be over axis 0 and never fall");
  }
  surface.floor = read.curve;
  const AxisLimits limits = limits_of(out.op);
  PF_ASSIGN(surface.compute, read_side(map, "compute", limits.compute));
  PF_ASSIGN(surface.memory, read_side(map, "memory", limits.memory));
  // Fewer rows at the same number of pairs see a longer context each: they must not take longer.
  const bool prefill = out.op == Op::Prefill || out.op == Op::MlaPrefill;
  if (prefill && surface.compute[0].least_slope() < -kSlack) {
    return map.error_at("compute", "efficiency must not fall with the context (axis 0)");
  }
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

Result<OperatorTables> parse_operator_tables(const std::string& yaml_text,
                                             const std::string& file) {
  PF_ASSIGN(const YAML::Node root, load_yaml(yaml_text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(root, file));
  PF_TRY(map.refuse_unknown(std::array<std::string_view, 3>{"gpu", "link_latency", "surfaces"}));
  OperatorTables out;
  PF_ASSIGN(out.gpu, map.text("gpu", std::nullopt));
  PF_ASSIGN(const std::string latency, map.text("link_latency", std::nullopt));
  const auto seconds = parse_seconds(latency, "link_latency");
  if (!seconds) return map.error_at("link_latency", seconds.error().message);
  if (*seconds <= 0) return map.error_at("link_latency", "link_latency must be above 0");
  out.link_latency_s = *seconds;
  PF_ASSIGN(const std::vector<YAML::Node> entries, map.sequence("surfaces"));
  for (const YAML::Node& entry : entries) {
    PF_ASSIGN(const YamlMap surface, YamlMap::of(entry, file));
    PF_ASSIGN(out.surfaces.emplace_back(), read_surface(surface));
  }
  return out;
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
