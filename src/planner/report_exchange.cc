// What the ranks make each other wait for: expert load, communication, bubbles.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planner/plan_report_parts.h"
#include "predict/skew_report.h"
#include "predict/traffic.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

constexpr std::array<const char*, kCollectives> kCollectiveIds = {"tensor", "experts", "pipeline",
                                                                  "sequence"};

// Load of one microbatch of `rows` rows per dp group on the experts of a layer of `kind`.
void balance_rows(ReportContext& x, const ReportPool& p, std::size_t kind, const char* phase,
                  std::int64_t rows, MarkdownTable& table) {
  Figures& f = x.figures;
  const Worker& w = p.worker();
  const FfnShape& ffn = x.problem.model.kinds[kind].ffn;
  const ExpertLoad load = expert_load(x.problem.model, kind, x.problem.workload);
  const double peak = load.peak_share(w.ep, w.redundant);
  const double group_rows = static_cast<double>(rows * w.dp) / static_cast<double>(w.edp());
  const std::int64_t slots = expert_slots(ffn.experts, w);
  const auto busiest = load.busiest(group_rows, w.ep, slots, peak);
  const std::string start = fmt::format("balance.{}.", phase);
  const std::string mean = start + "mean";
  const std::string rows_id = start + "rows";
  f.value({rows_id, static_cast<double>(rows), U::Count, "rows of a dp group in a microbatch", "",
           "batch over microbatches; or the chunk"});
  f.value({start + "top_k", static_cast<double>(ffn.top_k), U::Count, "experts of a row", "",
           "model config"});
  table.add(
      {phase,
       f.show({mean, group_rows * static_cast<double>(ffn.top_k) / static_cast<double>(w.ep),
               U::Count, "(row, expert) pairs of a mean expert group",
               fmt::format("{0} * {1}plan.dp / {1}plan.edp * {2}top_k / {1}plan.ep", rows_id,
                           p.prefix, start),
               ""}),
       f.show({start + "busiest", busiest.rows, U::Count,
               "(row, expert) pairs of the busiest expert group", "",
               "predict/expert_load.h: mean x share, and chance: m + sqrt(2 m ln ep)"}),
       f.show({start + "distinct", busiest.experts, U::Count,
               "different experts that the busiest group reads", "",
               "predict/expert_load.h: E (1 - (1 - k / E)^rows) over the groups, and chance"}),
       fmt::format("{}", slots)});
}

// When to cut experts instead.
std::string break_even_line(ReportContext& x, const ReportPool& p) {
  const auto balance = expert_balance(x.costs, p.worker());
  if (!balance) return "";
  const auto line = [&](const char* phase, const std::optional<double>& skew) {
    if (!skew || *skew == 0) return fmt::format("- {}: {}\n", phase, break_even_text(skew));
    return fmt::format(
        "- {}: from a Zipf exponent of {} on\n", phase,
        x.figures.show({p.id(fmt::format("balance.{}.break_even", phase)), *skew, U::Ratio,
                        "smallest Zipf exponent at which cut experts are faster", "",
                        "predict/skew_report.h"}));
  };
  return fmt::format("Every expert cut over the {} ranks of its group would be faster{}{}:\n\n",
                     balance->cut.etp, p.title(),
                     balance->cut_folds ? "" : ", could these experts be cut that far") +
         (p.decodes() ? line("decode", balance->decode_skew) : "") +
         (p.prefills() ? line("prefill", balance->prefill_skew) : "") + "\n";
}

std::string traffic_table(ReportContext& x, const ReportPool& p, const char* phase,
                          const TrafficByKind& traffic, const Cost& cost) {
  const bool decoding = std::string_view(phase) == "decode";
  const std::string whole = decoding ? "decode.step" : "prefill.pass";
  MarkdownTable table({"kind", "calls", "bytes sent by a rank", "seconds", "share of the time"});
  std::string sum;
  double seconds = 0;
  for (std::size_t i = 0; i < kCollectives; ++i) {
    const Traffic& t = traffic[i];
    if (t.calls == 0) continue;
    const std::string start = fmt::format("traffic.{}.{}.", phase, kCollectiveIds[i]);
    table.add(
        {to_string(static_cast<Collective>(i)),
         x.figures.show({start + "calls", t.calls, U::Count, "collectives", "",
                         "predict/traffic.h: layers x microbatches"}),
         x.figures.show({start + "bytes", t.bytes, U::Bytes, "sent by one rank to others", "",
                         "predict/traffic.h, as if links were flat"}),
         x.figures.show({start + "seconds", t.seconds, U::Seconds, "transfer and latency", "",
                         "predict/operators.h over hw.link.*"}),
         x.figures.show({start + "share", t.seconds / cost.seconds, U::Share, "part of the time",
                         fmt::format("{}seconds / {}", start, whole), ""})});
    sum += fmt::format("{}{}seconds", sum.empty() ? "" : " + ", start);
    seconds += t.seconds;
  }
  if (table.empty()) return fmt::format("{}{}: nothing is sent.\n\n", phase, p.title());
  table.add({"all", "", "",
             x.figures.show({fmt::format("traffic.{}.seconds", phase), seconds, U::Seconds,
                             "all communication that is waited for", sum, ""}),
             x.figures.show({fmt::format("traffic.{}.share", phase), seconds / cost.seconds,
                             U::Share, "part of the time",
                             fmt::format("traffic.{}.seconds / {}", phase, whole), ""})});
  return fmt::format("One {}{}:\n\n", decoding ? "decode step" : "prefill pass", p.title()) +
         table.text();
}

}  // namespace

std::string balance_section(ReportContext& x) {
  std::string out = "## Expert load\n\n";
  const auto layer = std::ranges::find_if(
      x.problem.model.kinds, [](const LayerShape& kind) { return kind.ffn.experts > 0; });
  if (layer == x.problem.model.kinds.end()) return out + "The model has no experts.\n\n";
  const auto kind = static_cast<std::size_t>(layer - x.problem.model.kinds.begin());
  MarkdownTable table({"microbatch of", "pairs of a mean group", "of the busiest group",
                       "different experts it reads", "experts it holds"});
  for (const ReportPool& p : x.pools) {
    const Worker& w = p.worker();
    out += fmt::format(
        "Busiest expert group{}: {} times the even share, from placement alone.\n", p.title(),
        x.figures.show({p.id("balance.peak_share"), p.prediction.peak_share, U::Ratio,
                        "busiest group's part over the even share", "",
                        "predict/expert_load.h, at the workload's load and the redundant copies"}));
    const ExpertLoad load = expert_load(x.problem.model, kind, x.problem.workload);
    if (const double worst = load.worst_peak_share(w.ep, w.redundant);
        worst > load.peak_share(w.ep, w.redundant)) {
      out += fmt::format("That is the mean over the layers counted; in the worst it is {} times.\n",
                         x.figures.show({p.id("balance.worst_layer"), worst, U::Ratio,
                                         "busiest group's part over the even share, worst layer",
                                         "", "predict/expert_load.h, at the workload's load"}));
    }
    if (p.decodes()) {
      balance_rows(x, p, kind, "decode", (w.batch + w.microbatches - 1) / w.microbatches, table);
    }
    if (p.prefills()) {
      const ChunkCount chunks =
          chunks_of(x.problem.workload.isl, p.prediction.timing.prompts, w.chunk);
      balance_rows(x, p, kind, "prefill", chunks.full > 0 ? w.chunk : chunks.rest, table);
    }
  }
  out += "\n" + table.text();
  for (const ReportPool& p : x.pools) out += break_even_line(x, p);
  return out;
}

std::string traffic_section(ReportContext& x) {
  std::string out = "## Communication\n\n";
  for (const ReportPool& p : x.pools) {
    if (p.prefills()) {
      out += traffic_table(x, p, "prefill",
                           prefill_traffic(x.costs, p.worker(), p.prediction.timing.prompts),
                           p.prediction.prefill);
    }
    if (p.decodes()) {
      out +=
          traffic_table(x, p, "decode", decode_traffic(x.costs, p.worker()), p.prediction.decode);
    }
  }
  return out;
}

std::string bubble_section(ReportContext& x) {
  std::string out = "## Pipeline bubbles\n\n";
  for (const ReportPool& p : x.pools) {
    const Worker& w = p.worker();
    if (w.pp() == 1) {
      out += fmt::format("One stage{}: no bubble.\n", p.title());
      continue;
    }
    const auto stages = static_cast<double>(w.pp());
    if (p.prefills()) {
      const auto m = static_cast<double>(
          chunks_of(x.problem.workload.isl, p.prediction.timing.prompts, w.chunk).count());
      out += fmt::format(
          "Prefill: {} microbatches; equal stages would idle {} of the time, these idle {}.\n",
          x.figures.show({"bubble.prefill.microbatches", m, U::Count, "chunks of a pass", "",
                          "prompt tokens over plan.chunk, rounded up"}),
          x.figures.show({"bubble.prefill.equal", (stages - 1) / (m + stages - 1), U::Share,
                          "bubble of equal stages (GPipe)",
                          fmt::format("({0}plan.pp - 1) / (bubble.prefill.microbatches + "
                                      "{0}plan.pp - 1)",
                                      p.prefix),
                          ""}),
          x.figures.show(*x.figures.find("prefill.share.bubble")));
    }
    if (p.decodes()) {
      const auto m = static_cast<double>(w.microbatches);
      out += fmt::format(
          "Decode: equal stages would idle {} of a step, these idle {}.\n",
          x.figures.show(
              {"bubble.decode.equal", std::max(0.0, (stages - m) / stages), U::Share,
               "bubble of equal stages",
               fmt::format("max(0, ({0}plan.pp - {0}plan.microbatches) / {0}plan.pp)", p.prefix),
               ""}),
          x.figures.show(*x.figures.find("decode.share.bubble")));
    }
  }
  return out + "\n";
}

}  // namespace pentafold
