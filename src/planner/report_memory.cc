// Bytes of the fullest rank of each pool, by tensor group and kind.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "planner/plan_report_parts.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

constexpr std::array<WeightPart, 8> kParts = {
    WeightPart::Embedding,    WeightPart::Head,   WeightPart::Attention, WeightPart::DenseMlp,
    WeightPart::SharedExpert, WeightPart::Expert, WeightPart::Router,    WeightPart::Norm};

// The groups with all parameters but those of `part` taken away.
std::vector<WeightGroup> only(std::vector<WeightGroup> groups, WeightPart part) {
  for (WeightGroup& group : groups) {
    if (group.part != part) group.params = 0;
  }
  return groups;
}

double part_bytes(const ModelShape& model, const ReportPool& p, WeightPart part) {
  const Worker& w = p.worker();
  ModelShape outer = model;
  outer.outer = only(model.outer, part);
  double bytes = outer_weight_bytes(outer, w, p.fullest == 0, p.fullest + 1 == w.pp());
  std::vector<double> by_kind;
  for (const LayerShape& kind : model.kinds) {
    LayerShape reduced = kind;
    reduced.weights = only(kind.weights, part);
    by_kind.push_back(layer_weight_bytes(reduced, w));
  }
  std::int64_t layer = 0;
  for (std::int64_t s = 0; s < p.fullest; ++s) layer += w.stage_layers[static_cast<std::size_t>(s)];
  const std::int64_t end = layer + w.stage_layers[static_cast<std::size_t>(p.fullest)];
  for (; layer < end; ++layer) {
    bytes += by_kind[static_cast<std::size_t>(model.layers[static_cast<std::size_t>(layer)])];
  }
  return bytes;
}

std::string weight_rows(ReportContext& x, const ReportPool& p, MarkdownTable& table) {
  std::string formula;
  for (const WeightPart part : kParts) {
    const double bytes = part_bytes(x.problem.model, p, part);
    if (bytes <= 0) continue;
    const std::string id = p.id("memory.weights." + figure_name(to_string(part)));
    table.add({"weights", to_string(part),
               x.figures.show({id, bytes, U::Bytes,
                               std::string(to_string(part)) + " weights on the fullest rank", "",
                               "plan/capacity.h: over the layers of its stage, parameters / ranks "
                               "that share them x bytes per value"})});
    formula += (formula.empty() ? "" : " + ") + id;
  }
  return formula;
}

std::string memory_table(ReportContext& x, const ReportPool& p) {
  Figures& f = x.figures;
  const RankBytes& m = p.prediction.memory;
  const auto batch = static_cast<double>(p.worker().batch);
  MarkdownTable table({"kind", "what", "bytes"});
  const std::string weights = weight_rows(x, p, table);
  table.add({"weights", "all",
             f.show({p.id("memory.weights"), m.weights, U::Bytes, "weights on the fullest rank",
                     weights, ""})});
  const std::string tokens = p.decodes() ? "prompt and answer" : "the prompt";
  table.add({"KV cache", "a sequence, " + tokens,
             f.show({p.id("memory.kv_sequence"), m.kv / batch, U::Bytes,
                     "KV of a sequence on the fullest rank", "",
                     "plan/capacity.h: KV heads held by the rank, in whole blocks, windows and "
                     "states included"})});
  table.add({"KV cache", fmt::format("{} sequences", p.worker().batch),
             f.show({p.id("memory.kv"), m.kv, U::Bytes, "KV cache on the fullest rank",
                     fmt::format("{0}memory.kv_sequence * {0}plan.batch", p.prefix), ""})});
  const auto row = [&](const char* name, double bytes, const char* what, const char* source) {
    table.add({name, what,
               f.show({p.id(std::string("memory.") + name), bytes, U::Bytes, what, "", source})});
  };
  row("activations", m.activations, "two residual copies and the widest intermediate",
      "plan/capacity.h, of the largest microbatch");
  row("buffers", m.buffers, "dispatched and gathered rows, logits", "plan/capacity.h");
  row("reserve", m.reserve, "driver, libraries, graphs", "plan/capacity.h: kRuntimeReserveBytes");
  table.add({"all", "",
             f.show({p.id("memory.total"), m.total(), U::Bytes, "the fullest rank",
                     fmt::format("{0}memory.weights + {0}memory.kv + "
                                 "{0}memory.activations + {0}memory.buffers + "
                                 "{0}memory.reserve",
                                 p.prefix),
                     ""})});
  const double limit = x.problem.memory_limit();
  table.add({"free", "of the usable memory [hw.memory_limit]",
             f.show({p.id("memory.free"), limit - m.total(), U::Bytes, "left (missing) on it",
                     fmt::format("hw.memory_limit - {}memory.total", p.prefix), ""})});
  return table.text();
}

}  // namespace

std::string memory_section(ReportContext& x) {
  std::string out;
  for (const ReportPool& p : x.pools) {
    const RankBytes& m = p.prediction.memory;
    const double limit = x.problem.memory_limit();
    out += fmt::format("## Memory{}\n\nOf the fullest rank, in stage {} of {}.\n\n", p.title(),
                       p.fullest, p.worker().pp());
    out += memory_table(x, p);
    out += fmt::format(
        "Headroom {}.",
        x.figures.show({p.id("memory.headroom"), 1 - m.total() / limit, U::Share,
                        "usable memory left",
                        fmt::format("{0}memory.free / hw.memory_limit", p.prefix), ""}));
    const double each = m.kv / static_cast<double>(p.worker().batch);
    if (each > 0) {
      const double admitted = std::floor((limit - (m.total() - m.kv)) / each);
      out += fmt::format(
          " Sequences admitted per dp group: {}, planned {}.",
          x.figures.show({p.id("memory.sequences"), std::max(admitted, 0.0), U::Count,
                          "sequences that fit beside the rest",
                          fmt::format("max(0, floor((hw.memory_limit - ({0}memory.total - "
                                      "{0}memory.kv)) / {0}memory.kv_sequence))",
                                      p.prefix),
                          "buffers as for the planned batch"}),
          p.worker().batch);
    }
    out += "\n\n";
  }
  return out;
}

}  // namespace pentafold
