// Hardware, request and model: the leaves that everything else is derived from.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/units.h"
#include "planner/plan_report_parts.h"
#include "predict/reach.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

constexpr const char* kConstants = "specs/engines.yaml";
constexpr const char* kOperators = "predict/reach.h over specs/operators/";

struct Peak {
  const char* name;
  double flops;
};

std::array<Peak, 4> peaks(const GpuSpec& gpu) {
  return {{{"bf16", gpu.bf16_flops},
           {"fp8", gpu.fp8_flops},
           {"int8", gpu.int8_flops},
           {"fp4", gpu.fp4_flops}}};
}

std::string weights_table(ReportContext& x) {
  Figures& f = x.figures;
  const ModelShape& m = x.problem.model;
  using U = FigureUnit;
  const Precision& precision = x.decode().worker().precision;
  std::map<WeightPart, double> parts;
  const auto count = [&](const std::vector<WeightGroup>& groups) {
    for (const WeightGroup& g : groups) parts[g.part] += static_cast<double>(g.params);
  };
  count(m.outer);
  for (std::int64_t l = 0; l < m.num_layers(); ++l) count(m.layer(l).weights);
  MarkdownTable table({"weights", "parameters", "held as", "bytes"});
  std::string params_formula;
  std::string bytes_formula;
  for (const auto& [part, params] : parts) {
    const std::string name = figure_name(to_string(part));
    const std::string id = "model.params." + name;
    const NumberFormat format = precision.of(part);
    const std::string width = fmt::format("format.{}", to_string(format));
    f.value({width, bytes_per_value(format), U::Bytes, "bytes of one value, scales included", "",
             "spec/number_format.h"});
    table.add({to_string(part),
               f.show({id, params, U::Count, "parameters of all layers", "",
                       "model config, matrix by matrix (spec/layer_dims.h)"}),
               to_string(format),
               f.show({"model.bytes." + name, params * bytes_per_value(format), U::Bytes,
                       "weights of all layers", fmt::format("{} * {}", id, width), ""})});
    params_formula += (params_formula.empty() ? "" : " + ") + id;
    bytes_formula += fmt::format("{}model.bytes.{}", bytes_formula.empty() ? "" : " + ", name);
  }
  const ParamCounts counts = count_params(m);
  table.add({"all",
             f.show({"model.params", static_cast<double>(counts.total), U::Count,
                     "parameters, each once", params_formula, ""}),
             to_string(precision),
             f.show({"model.bytes", weight_bytes(m, precision), U::Bytes, "weights, each once",
                     bytes_formula, ""})});
  return table.text();
}

std::string parameter_notes(ReportContext& x) {
  Figures& f = x.figures;
  const ModelShape& m = x.problem.model;
  using U = FigureUnit;
  const ParamCounts counts = count_params(m);
  std::string out;
  out += fmt::format("- Active for one token: {}.\n",
                     f.show({"model.params.active", static_cast<double>(counts.active), U::Count,
                             "parameters that one token uses", "",
                             "model config: top_k of the experts, all else"}));
  const auto declared = [&](const char* what, const std::optional<double>& value,
                            const std::string& computed, double truth) {
    if (!value) {
      out += fmt::format("- Declared {} parameters: none to check against.\n", what);
      return;
    }
    const std::string id = computed + ".declared";
    out += fmt::format(
        "- Declared {} parameters: {}, {} against the computed.\n", what,
        f.show({id, *value, U::Count, "as the author says", "", "model file"}),
        f.show({computed + ".off", *value / truth - 1, U::Share, "declared above (below) computed",
                id + " / " + computed + " - 1", ""}));
  };
  declared("total", m.declared_total_params, "model.params", static_cast<double>(counts.total));
  declared("active", m.declared_active_params, "model.params.active",
           static_cast<double>(counts.active));
  return out;
}

std::string work_notes(ReportContext& x) {
  Figures& f = x.figures;
  const ModelShape& m = x.problem.model;
  using U = FigureUnit;
  const Precision& precision = x.decode().worker().precision;
  const Workload& w = x.problem.workload;
  std::string out =
      fmt::format("- KV cache: {} a token, {} for a request at its longest ({}).\n",
                  f.show({"model.kv_token", kv_bytes_per_token(m, precision.kv), U::Bytes,
                          "KV of one token in all layers, as if no window cut it off", "",
                          "model config, cached values x bytes per value"}),
                  f.show({"model.kv_request", kv_bytes_of_sequence(m, precision.kv, w.isl + w.osl),
                          U::Bytes, "KV of a whole request, windows and states included", "",
                          "model config, at workload.isl + workload.osl tokens"}),
                  to_string(precision.kv));
  out +=
      fmt::format("- Work of one prompt token: {} through weights, {} of attention at {} keys.\n",
                  f.show({"model.flops_token", weight_flops_per_token(m), U::Operations,
                          "operations of one token through all weights it uses", "",
                          "2 per active parameter that multiplies"}),
                  f.show({"model.flops_attention", attention_flops(m, w.isl, true), U::Operations,
                          "operations of one token's attention over workload.isl keys", "",
                          "model config, per (query, key) pair"}),
                  w.isl);
  return out;
}

constexpr double kLargeMessage = 1e9;

void link_rows(ReportContext& x, const Operators& operators, const std::string& sheet,
               MarkdownTable& table) {
  Figures& f = x.figures;
  using U = FigureUnit;
  int level = 0;
  for (const LinkLevel& link : x.problem.cluster.links) {
    const std::string id = fmt::format("hw.link.{}", ++level);
    const std::string reach =
        link.domain >= kEveryDevice ? "all devices" : fmt::format("{} devices", link.domain);
    table.add(
        {fmt::format("{}, {}", link.name, reach),
         f.show({id, link.bytes_per_s, U::BytesPerSecond, "one way, per device", "", sheet}),
         f.show({fmt::format("hw.reached.link.{}", level),
                 kLargeMessage /
                     operators.send(static_cast<std::size_t>(level - 1), kLargeMessage).seconds,
                 U::BytesPerSecond, "large messages", "", kOperators}),
         "latency " +
             f.show({id + ".latency", link.latency_s, U::Seconds, "of a message", "", sheet})});
  }
}

// What the operators make of the device, beside its peaks.
void reach_rows(ReportContext& x, const Reach& reach, const std::string& sheet,
                MarkdownTable& table) {
  Figures& f = x.figures;
  const GpuSpec& gpu = x.problem.cluster.gpu;
  using U = FigureUnit;
  const auto reached = [&](const char* name, double value, U unit, const char* what) {
    return f.show({fmt::format("hw.reached.{}", name), value, unit, what, "", kOperators});
  };
  const std::string bandwidth = f.show(
      {"hw.bandwidth", gpu.memory_bytes_per_s, U::BytesPerSecond, "memory bandwidth", "", sheet});
  table.add({"bandwidth, weights", bandwidth,
             reached("weights", reach.weight_bytes_per_s, U::BytesPerSecond, "reading weights"),
             "[cost.weights]"});
  table.add({"bandwidth, experts", bandwidth,
             reached("experts", reach.expert_bytes_per_s, U::BytesPerSecond, "reading experts"),
             "[cost.experts]"});
  table.add({"bandwidth, KV", bandwidth,
             reached("kv", reach.kv_bytes_per_s, U::BytesPerSecond, "reading KV"),
             "[cost.attention]"});
  for (const Peak& peak : peaks(gpu)) {
    if (peak.flops <= 0) continue;
    const std::string id = fmt::format("hw.flops.{}", peak.name);
    table.add({fmt::format("{} products", peak.name),
               f.show({id, peak.flops, U::OperationsPerSecond, "dense peak", "", sheet}), "", ""});
  }
  const auto product = [&](const char* name, const char* what, double flops) {
    table.add({what, "", reached(name, flops, U::OperationsPerSecond, what), "[cost.weights]"});
  };
  product("linear", "products of dense weights, as held", reach.linear_flops);
  product("expert_products", "products of experts, as held", reach.expert_flops);
  product("attention", "attention of prompts", reach.attention_flops);
}

}  // namespace

std::string hardware_section(ReportContext& x) {
  Figures& f = x.figures;
  const ClusterSpec& cluster = x.problem.cluster;
  const GpuSpec& gpu = cluster.gpu;
  const std::string sheet =
      "datasheet of " + gpu.name + (gpu.source.empty() ? "" : " (" + gpu.source + ")");
  using U = FigureUnit;
  const std::string out = fmt::format("## Hardware\n\nDevice {}, {} to a node.\n\n",
                                      markdown_cell(gpu.name), cluster.gpus_per_node);
  MarkdownTable table({"quantity", "datasheet", "reached", "why"});
  table.add({"memory", f.show({"hw.memory", gpu.memory_bytes, U::Bytes, "memory", "", sheet}),
             f.show({"target.memory_fraction", x.problem.targets.memory_fraction, U::Share,
                     "part of the memory that may be used", "", "targets"}) +
                 ": " +
                 f.show({"hw.memory_limit", x.problem.memory_limit(), U::Bytes, "usable memory",
                         "hw.memory * target.memory_fraction", ""}),
             "the part that a plan may fill"});
  for (const ProfileConstant& constant : profile_constants()) {
    f.value({fmt::format("cost.{}", constant.key), x.problem.engine.*constant.value,
             constant.seconds ? U::Seconds : U::Share, constant.what, "", kConstants});
  }
  const Operators operators(gpu, x.problem.cluster.links, kernel_source_of(x.problem.engine.name));
  const Precision& precision =
      x.pools.empty() ? x.problem.precisions.front() : x.decode().worker().precision;
  const Reach reach = reach_of(operators, gpu, x.problem.engine, x.problem.model, precision);
  reach_rows(x, reach, sheet, table);
  link_rows(x, operators, sheet, table);
  const double ridge =
      reach.linear_flops / reach.weight_bytes_per_s * bytes_per_value(precision.linear) / 2;
  return out + table.text() +
         fmt::format("A product of dense weights is bound by reading them below {} rows.\n\n",
                     f.show({"hw.ridge_rows", ridge, U::Count,
                             "rows at which a product takes as long as reading its weights", "",
                             kOperators}));
}

std::string request_section(ReportContext& x) {
  Figures& f = x.figures;
  const Workload& w = x.problem.workload;
  const Targets& t = x.problem.targets;
  using U = FigureUnit;
  MarkdownTable table({"asked for", "value"});
  const auto given = [&](const char* id, double value, U unit, const char* what) {
    table.add({what, f.show({id, value, unit, what, "",
                             std::string(id).starts_with("target") ? "targets" : "workload"})});
  };
  given("workload.isl", static_cast<double>(w.isl), U::Count, "prompt tokens of a request");
  given("workload.osl", static_cast<double>(w.osl), U::Count, "generated tokens of a request");
  if (w.batch) given("workload.batch", static_cast<double>(*w.batch), U::Count, "requests at once");
  if (w.rate_per_s) {
    given("workload.rate", *w.rate_per_s, U::RequestsPerSecond, "requests arriving");
  }
  if (w.expert_load) {
    given("workload.expert_load", static_cast<double>(w.expert_load->layers.size()), U::Count,
          "layers whose experts' load was counted");
  } else {
    given("workload.skew", w.skew, U::Ratio, "Zipf exponent of the experts' load (0: even)");
  }
  if (x.problem.cluster.gpus > 0) {
    given("workload.gpus", static_cast<double>(x.problem.cluster.gpus), U::Count, "GPUs there are");
  }
  if (t.ttft_s) given("target.ttft", *t.ttft_s, U::Seconds, "TTFT, at most");
  if (t.tpot_s) given("target.tpot", *t.tpot_s, U::Seconds, "TPOT, at most");
  if (t.tokens_per_s_per_gpu) {
    given("target.per_gpu", *t.tokens_per_s_per_gpu, U::TokensPerSecond, "per GPU, at least");
  }
  if (t.prefill_tokens_per_s_per_gpu) {
    given("target.prefill_per_gpu", *t.prefill_tokens_per_s_per_gpu, U::TokensPerSecond,
          "prompt tokens per GPU, at least");
  }
  if (t.tokens_per_s) {
    given("target.tokens", *t.tokens_per_s, U::TokensPerSecond, "in all, at least");
  }
  if (t.dollars_per_mtok) {
    given("target.cost", *t.dollars_per_mtok, U::Dollars, "per million generated tokens, at most");
  }
  return fmt::format("## Request\n\n{}Among plans that hold all limits, the best by: {}.\n\n",
                     table.text(), to_string(t.objective));
}

std::string model_section(ReportContext& x) {
  Figures& f = x.figures;
  const ModelShape& m = x.problem.model;
  using U = FigureUnit;
  const std::string config = "model config";
  std::string out =
      fmt::format("## Model\n\n{} ({}).\n\n", markdown_cell(m.name), markdown_cell(m.family));
  MarkdownTable dims({"dimension", "value"});
  const auto dim = [&](const char* id, std::int64_t value, const char* what) {
    dims.add({what, f.show({id, static_cast<double>(value), U::Count, what, "", config})});
  };
  dim("model.layers", m.num_layers(), "layers");
  dim("model.width", m.d, "width of the residual stream");
  dim("model.vocab", m.vocab, "vocabulary");
  if (m.experts() > 0) {
    dim("model.experts", m.experts(), "routed experts of a layer");
    dim("model.top_k", m.top_k(), "experts of a token");
  }
  if (m.max_positions > 0) dim("model.max_positions", m.max_positions, "longest sequence");
  out += dims.text() + weights_table(x) + parameter_notes(x) + work_notes(x);
  for (const std::string& missing : m.not_counted) {
    out += fmt::format("- Not counted: {}.\n", markdown_cell(missing));
  }
  return out + "\n";
}

}  // namespace pentafold
