// How many GPUs, how the modules are divided over them, and who holds what.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "plan/mesh.h"
#include "planner/plan_report_parts.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

constexpr std::int64_t kRanksShown = 16;  // of a stage, from the first
constexpr std::int64_t kStagesShown = 32;

std::string span(std::int64_t first, std::int64_t count, std::int64_t total) {
  if (count >= total) return fmt::format("all {}", total);
  return count == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + count - 1);
}

std::string ways(Split split, const LayerShape* layer, const Worker& w) {
  switch (split) {
    case Split::Tensor:
    case Split::Vocab:
      return w.tp == 1 ? "whole on every rank" : fmt::format("1/{} each (tp)", w.tp);
    case Split::KvHeads: {
      const std::int64_t held = kv_heads_held(layer->mixer, w.tp);
      return fmt::format("{} of {} KV heads each", held,
                         std::max<std::int64_t>(layer->mixer.kv_heads, 1));
    }
    case Split::Experts: {
      const std::int64_t slots = expert_slots(layer->ffn.experts, w);
      return fmt::format("{} of {} experts each{}", slots, layer->ffn.experts,
                         w.etp > 1 ? fmt::format(", 1/{} of each (etp)", w.etp) : "");
    }
    case Split::None:
      return "whole on every rank";
  }
  return "?";
}

void division_rows(const std::vector<WeightGroup>& groups, const std::string& where,
                   const LayerShape* layer, const Worker& w, MarkdownTable& table) {
  for (const WeightGroup& group : groups) {
    table.add({where, group.name, to_string(group.part),
               format_count(static_cast<double>(group.params)), ways(group.split, layer, w),
               to_string(w.precision.of(group.part))});
  }
}

std::string division(const ModelShape& model, const Worker& w) {
  MarkdownTable table({"where", "weights", "part", "parameters", "division over a stage", "as"});
  division_rows(model.outer, "first and last stage", nullptr, w, table);
  std::vector<std::int64_t> layers(model.kinds.size(), 0);
  for (const std::int32_t kind : model.layers) ++layers[static_cast<std::size_t>(kind)];
  for (std::size_t k = 0; k < model.kinds.size(); ++k) {
    const std::string where = model.kinds.size() == 1
                                  ? "every layer"
                                  : fmt::format("kind {}: {} layers", k + 1, layers[k]);
    division_rows(model.kinds[k].weights, where, &model.kinds[k], w, table);
  }
  return table.text();
}

std::string stage_table(const Worker& w) {
  MarkdownTable table({"stage", "layers", "ranks of a replica"});
  std::int64_t layer = 0;
  for (std::int64_t s = 0; s < w.pp(); ++s) {
    const std::int64_t count = w.stage_layers[static_cast<std::size_t>(s)];
    if (s < kStagesShown || s + 1 == w.pp()) {
      table.add({fmt::format("{}", s), span(layer, count, INT64_MAX),
                 span(s * w.stage_ranks(), w.stage_ranks(), INT64_MAX)});
    }
    layer += count;
  }
  return table.text();
}

// Slots [group's] of the experts, copies after the last expert (plan/worker.h).
std::string experts_of(const Worker& w, std::int64_t experts, std::int64_t group) {
  const std::int64_t slots = expert_slots(experts, w);
  const std::int64_t first = group * slots;
  const std::int64_t end = std::min(first + slots, experts + w.redundant);
  std::string text;
  if (first < experts) text = span(first, std::min(end, experts) - first, experts);
  if (end > experts) {
    const std::int64_t copy = std::max(first, experts) - experts;
    text += fmt::format("{}copies of {}", text.empty() ? "" : " and ",
                        span(copy, end - experts - copy, experts));
  }
  return text;
}

std::string rank_table(const ModelShape& model, const Worker& w) {
  const Plan plan = plan_of(w, model, 1);
  const StagePlan& stage = plan.stages.front();
  const MixerShape& mixer = model.layer(0).mixer;
  MarkdownTable table({"rank in its stage", "dp group", "sequence slice", "query heads",
                       "vocabulary", "experts", "expert shard"});
  const std::int64_t ranks = w.stage_ranks();
  for (std::int64_t r = 0; r < ranks; ++r) {
    if (r >= kRanksShown && r + 1 < ranks) continue;
    const PhaseCoord at = phase_coord(stage, Phase::Prefill, r);
    const Range heads = tensor_shard(stage, Phase::Prefill, mixer.heads, at.t);
    const Range words = tensor_shard(stage, Phase::Prefill, model.vocab, at.t);
    const std::int64_t group = r / w.etp % w.ep;
    table.add({fmt::format("{}", r), fmt::format("{}", at.d), fmt::format("{} of {}", at.s, w.sp),
               mixer.heads > 0 ? span(heads.begin, heads.size(), mixer.heads) : "-",
               span(words.begin, words.size(), model.vocab),
               model.experts() > 0 ? experts_of(w, model.experts(), group) : "-",
               fmt::format("{} of {}", r % w.etp, w.etp)});
  }
  std::string out = table.text();
  if (ranks > kRanksShown + 1) {
    out += fmt::format("Ranks {} to {} go on likewise.\n", kRanksShown, ranks - 2);
  }
  return out;
}

void degree_rows(ReportContext& x, const ReportPool& p, MarkdownTable& table) {
  const Worker& w = p.worker();
  const auto row = [&](const char* name, std::int64_t value, const char* what) {
    table.add({what, x.figures.show({p.id(std::string("plan.") + name), static_cast<double>(value),
                                     U::Count, what, "", "the plan"})});
  };
  row("pp", w.pp(), "pipeline stages");
  row("dp", w.dp, "attention data parallel groups");
  row("sp", w.sp, "sequence slices of a prefill (joins tp in decode)");
  row("tp", w.tp, "attention tensor shards");
  row("ep", w.ep, "expert groups");
  row("etp", w.etp, "shards of an expert");
  row("redundant", w.redundant, "redundant expert copies, per layer");
  row("batch", w.batch, "sequences in flight, per dp group");
  if (p.decodes()) row("microbatches", w.microbatches, "microbatches of a decode step");
  if (p.prefills()) row("chunk", w.chunk, "prompt tokens of a microbatch");
  row("replicas", p.pool.replicas, "workers side by side");
  const std::string gpus =
      fmt::format("{0}plan.pp * {0}plan.dp * {0}plan.sp * {0}plan.tp", p.prefix);
  table.add({"GPUs of a worker",
             x.figures.show({p.id("plan.worker_gpus"), static_cast<double>(w.gpus()), U::Count,
                             "GPUs of a worker", gpus, "experts fold onto the same ranks"})});
  table.add({"repeats of the expert mesh in a stage",
             x.figures.show({p.id("plan.edp"), static_cast<double>(w.edp()), U::Count,
                             "expert meshes side by side in a stage",
                             fmt::format("{0}plan.dp * {0}plan.sp * {0}plan.tp / ({0}plan.ep * "
                                         "{0}plan.etp)",
                                         p.prefix),
                             ""})});
  if (x.problem.model.experts() > 0) {
    table.add(
        {"experts held by a rank",
         x.figures.show(
             {p.id("plan.slots"), static_cast<double>(expert_slots(x.problem.model.experts(), w)),
              U::Count, "experts (copies included) of each rank and layer",
              fmt::format("ceil((model.experts + {0}plan.redundant) / {0}plan.ep)", p.prefix),
              ""})});
  }
}

}  // namespace

std::string degrees_section(ReportContext& x) {
  std::string out = "## Strategy\n\n";
  std::string formula;
  double gpus = 0;
  for (const ReportPool& p : x.pools) {
    out += fmt::format("{} x ({}), {}.\n\n", p.pool.replicas, describe(p.worker()),
                       to_string(p.pool.role));
    MarkdownTable table({"decision", "value"});
    degree_rows(x, p, table);
    out += table.text();
    formula += fmt::format("{1}{0}plan.replicas * {0}plan.worker_gpus", p.prefix,
                           formula.empty() ? "" : " + ");
    gpus += static_cast<double>(p.pool.gpus());
  }
  out += fmt::format("GPUs in use: {}, workers times their stages times their ranks.",
                     x.figures.show({"plan.gpus", gpus, U::Count, "GPUs in use", formula, ""}));
  const double floor = std::ceil(weight_bytes(x.problem.model, x.decode().worker().precision) /
                                 x.problem.memory_limit());
  return out + fmt::format(" The weights alone need {}.\n\n",
                           x.figures.show({"plan.gpus_floor", floor, U::Count,
                                           "GPUs that hold every weight once and nothing else",
                                           "ceil(model.bytes / hw.memory_limit)", ""}));
}

std::string rank_map_section(ReportContext& x) {
  std::string out;
  for (const ReportPool& p : x.pools) {
    const Worker& w = p.worker();
    out += fmt::format("## Module division{}\n\n", p.title());
    out += division(x.problem.model, w);
    out += fmt::format("## Rank map{}\n\n", p.title());
    if (p.pool.replicas > 1) {
      out += fmt::format("Replica k begins at rank {} k.\n\n", w.gpus());
    }
    out += stage_table(w) + rank_table(x.problem.model, w) + "\n";
  }
  return out;
}

}  // namespace pentafold
