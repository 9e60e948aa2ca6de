// Targets with their headroom, bounds no plan beats, risks, and the way to what is not met.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "planner/plan_report_parts.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

using U = FigureUnit;

constexpr double kTightMemory = 0.05;  // of the usable memory
constexpr double kTightTarget = 0.10;  // of a target
constexpr double kUneven = 1.25;       // busiest over mean expert group
constexpr double kMuchWaiting = 0.30;  // of the time in communication
constexpr double kMuchBubble = 0.10;   // of the time
constexpr double kSkewTried = 0.5;     // Zipf exponent

U unit_of(Limit limit) {
  switch (limit) {
    case Limit::Memory:
      return U::Bytes;
    case Limit::Ttft:
    case Limit::Tpot:
      return U::Seconds;
    case Limit::TokensPerGpu:
    case Limit::PrefillTokensPerGpu:
    case Limit::Tokens:
      return U::TokensPerSecond;
    case Limit::Rate:
      return U::RequestsPerSecond;
    case Limit::Cost:
      return U::Dollars;
    case Limit::Gpus:
    case Limit::None:
      break;
  }
  return U::Count;
}

const char* id_of(Limit limit) {
  switch (limit) {
    case Limit::Memory:
      return "memory";
    case Limit::Gpus:
      return "gpus";
    case Limit::Ttft:
      return "ttft";
    case Limit::Tpot:
      return "tpot";
    case Limit::TokensPerGpu:
      return "per_gpu";
    case Limit::PrefillTokensPerGpu:
      return "prefill_per_gpu";
    case Limit::Tokens:
      return "tokens";
    case Limit::Rate:
      return "rate";
    case Limit::Cost:
      return "cost";
    case Limit::None:
      break;
  }
  return "none";
}

struct TargetRow {
  const char* bound;    // figures
  const char* reached;  //
  Limit limit;
  bool upper;
};
constexpr std::array<TargetRow, 8> kTargetRows = {{
    {"workload.gpus", "plan.gpus", Limit::Gpus, true},
    {"target.ttft", "prefill.ttft", Limit::Ttft, true},
    {"target.tpot", "decode.tpot", Limit::Tpot, true},
    {"target.per_gpu", "throughput.per_gpu", Limit::TokensPerGpu, false},
    {"target.prefill_per_gpu", "throughput.prefill_per_gpu", Limit::PrefillTokensPerGpu, false},
    {"target.tokens", "throughput.tokens", Limit::Tokens, false},
    {"workload.rate", "throughput.requests", Limit::Rate, false},
    {"target.cost", "throughput.cost", Limit::Cost, true},
}};

void target_row(ReportContext& x, const std::string& bound, const std::string& reached,
                const std::string& id, bool upper, MarkdownTable& table) {
  const Figure* b = x.figures.find(bound);
  const Figure* r = x.figures.find(reached);
  if (b == nullptr || r == nullptr) return;
  const double over = r->value / b->value;
  const Figure headroom{"headroom." + id,
                        upper ? 1 - over : over - 1,
                        U::Share,
                        "left of the limit (beyond it)",
                        upper ? fmt::format("1 - {} / {}", reached, bound)
                              : fmt::format("{} / {} - 1", reached, bound),
                        ""};
  const std::string limit = x.figures.show(*b);
  const std::string got = x.figures.show(*r);
  table.add({r->what, (upper ? "at most " : "at least ") + limit, got, x.figures.show(headroom),
             headroom.value >= 0 ? "met" : "missed"});
}

std::string bounds_table(ReportContext& x) {
  MarkdownTable table({"limit", "no plan does better than", "because", "out of reach"});
  for (const Certificate& c : certificates(x.problem)) {
    std::string terms;
    for (const BoundTerm& term : c.terms) {
      if (term.seconds <= 0) continue;
      const U unit = c.limit == Limit::Memory ? U::Bytes : U::Seconds;
      terms += fmt::format("{}{}: {}", terms.empty() ? "" : "; ", term.what,
                           format_figure(term.seconds, unit));
    }
    table.add({to_string(c.limit),
               x.figures.show({fmt::format("bound.{}", id_of(c.limit)), c.bound, unit_of(c.limit),
                               std::string("bound on ") + to_string(c.limit), "",
                               "planner/why.h: " + terms}),
               terms, c.proves() ? "yes, the target is beyond it" : "not by this bound"});
  }
  if (table.empty()) return "";
  return "Bounds that hold for every plan of this fleet:\n\n" + table.text();
}

// Collects statements; each names its figure.
class Risks {
 public:
  explicit Risks(ReportContext& x) : x_(x) {}

  void memory() {
    for (const ReportPool& p : x_.pools) {
      const Figure* headroom = x_.figures.find(p.id("memory.headroom"));
      if (headroom->value < 0) {
        say("it does not fit{}: headroom {}", p.title(), shown(headroom->id));
        continue;
      }
      if (headroom->value < kTightMemory) {
        say("memory is tight{}: {} of the usable memory is left", p.title(), shown(headroom->id));
      }
      const Figure* admitted = x_.figures.find(p.id("memory.sequences"));
      if (p.decodes() && admitted != nullptr &&
          admitted->value < 1.1 * static_cast<double>(p.worker().batch)) {
        say("the batch uses nearly all of the cache{}: {} sequences fit, {} are planned; longer "
            "requests than asked for would be preempted",
            p.title(), shown(admitted->id), p.worker().batch);
      }
    }
  }

  void targets() {
    for (const TargetRow& row : kTargetRows) {
      if (row.limit == Limit::Gpus) continue;
      const std::string id = std::string("headroom.") + id_of(row.limit);
      const Figure* headroom = x_.figures.find(id);
      if (headroom == nullptr || headroom->value >= kTightTarget) continue;
      if (headroom->value < 0) {
        say("{} misses its target: headroom {}", to_string(row.limit), shown(id));
      } else {
        say("{} is near its target: headroom {}; means are predicted, tails are longer",
            to_string(row.limit), shown(id));
      }
    }
    if (x_.score && !x_.split() && !x_.problem.workload.rate_per_s) {
      say("no arrival rate is given, so TTFT [{}] has no queue in it", "prefill.ttft");
    }
  }

  void waiting() {
    for (const char* phase : {"prefill", "decode"}) {
      const std::string link = fmt::format("traffic.{}.share", phase);
      if (above(link, kMuchWaiting)) {
        say("{} spends {} of its time in communication", phase, shown(link));
      }
      const std::string bubble = fmt::format("{}.share.bubble", phase);
      if (above(bubble, kMuchBubble))
        say("{} idles {} of its time in bubbles", phase, shown(bubble));
    }
    for (const ReportPool& p : x_.pools) {
      const LinkLevel& inner = x_.problem.cluster.links.front();
      const Worker& w = p.worker();
      if (w.ep * w.etp > inner.domain) {
        say("the expert mesh{} of {} ranks reaches beyond {} ({} devices)", p.title(), w.ep * w.etp,
            markdown_cell(inner.name), inner.domain);
      }
    }
  }

  void balance() {
    for (const char* phase : {"prefill", "decode"}) {
      const Figure* mean = x_.figures.find(fmt::format("balance.{}.mean", phase));
      const Figure* busiest = x_.figures.find(fmt::format("balance.{}.busiest", phase));
      if (mean == nullptr || busiest == nullptr || busiest->value < kUneven * mean->value) continue;
      const std::string id = fmt::format("balance.{}.ratio", phase);
      say("the busiest expert group of {} has {} times the mean load", phase,
          x_.figures.show({id, busiest->value / mean->value, U::Ratio, "busiest over mean",
                           busiest->id + " / " + mean->id, ""}));
    }
    const Workload& asked = x_.problem.workload;
    const bool spread =
        std::ranges::any_of(x_.pools, [](const ReportPool& p) { return p.worker().ep > 1; });
    if (!x_.score || !spread || asked.skew >= kSkewTried || asked.expert_load) return;
    Workload skewed = asked;
    skewed.skew = kSkewTried;
    const LengthPoint now = at_workload(x_.problem, x_.pools, asked);
    const LengthPoint then = at_workload(x_.problem, x_.pools, skewed);
    if (now.tokens_per_s_per_gpu <= 0 || then.batch == 0) return;
    const std::string source =
        fmt::format("predict/worker_cost.h: predict_worker with workload.skew {}", kSkewTried);
    say("with experts as uneven as Zipf {} a GPU generates {} ({}), TPOT {}", kSkewTried,
        x_.figures.show({"risk.skew.per_gpu", then.tokens_per_s_per_gpu, U::TokensPerSecond,
                         "generated, per GPU in use", "", source}),
        x_.figures.show({"risk.skew.change",
                         then.tokens_per_s_per_gpu / now.tokens_per_s_per_gpu - 1, U::Share,
                         "against the load asked for", "", source}),
        x_.figures.show({"risk.skew.tpot", then.tpot_s, U::Seconds, "TPOT", "", source}));
  }

  void model() {
    for (const char* id : {"model.params.off", "model.params.active.off"}) {
      const Figure* off = x_.figures.find(id);
      if (off == nullptr || std::abs(off->value) <= 0.01) continue;
      say("the declared {} parameters differ from the computed by {}; all numbers here follow the "
          "computed",
          std::string_view(id).find("active") == std::string_view::npos ? "total" : "active",
          shown(id));
    }
    const ModelShape& m = x_.problem.model;
    if (!m.not_counted.empty()) say("parts of the model are not counted, see Model{}", "");
    const Workload& w = x_.problem.workload;
    if (m.max_positions > 0 && w.isl + w.osl > m.max_positions) {
      say("a request of {} tokens is longer than the model's {} [model.max_positions]",
          w.isl + w.osl, m.max_positions);
    }
  }

  void failures() {
    for (const ReportPool& p : x_.pools) {
      const double lost = 1 / static_cast<double>(std::max<std::int64_t>(p.pool.replicas, 1));
      if (lost < 0.25 || p.worker().gpus() == 1) continue;
      say("one lost GPU stops its worker{}, which is {} of that capacity", p.title(),
          x_.figures.show({p.id("risk.worker_share"), lost, U::Share,
                           "one worker's part of the pool",
                           fmt::format("1 / {}plan.replicas", p.prefix), ""}));
    }
  }

  const std::string& text() const { return text_; }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    text_ += "- " + fmt::format(format, std::forward<Args>(args)...) + ".\n";
  }
  std::string shown(const std::string& id) { return x_.figures.show(*x_.figures.find(id)); }
  bool above(const std::string& id, double limit) const {
    const Figure* figure = x_.figures.find(id);
    return figure != nullptr && figure->value > limit;
  }

  ReportContext& x_;
  std::string text_;
};

// "tpot" for "--target ..." with another TPOT, "gpus" for "--gpus 12", "precision_fp8".
std::string relaxation_name(const Relaxation& r) {
  if (r.option.starts_with("--target")) {
    return figure_name(r.change.substr(0, r.change.find_first_of("0123456789")));
  }
  const bool word = r.option.starts_with("--precision");
  return figure_name(word ? r.option : r.option.substr(0, r.option.find(' ')));
}

std::string relaxation_rows(ReportContext& x) {
  MarkdownTable table({"change", "say", "then: tokens/s per GPU", "TTFT", "TPOT", "GPUs", "note"});
  std::set<std::string> used;
  for (const Relaxation& r : x.why->relaxations) {
    std::string name = relaxation_name(r);
    while (!used.insert(name).second) name += "_again";
    const std::string start = "path." + name + ".";
    const std::string source = "planner/why.h: a search with " + r.option;
    const Score& s = r.found.score;
    table.add({r.change, r.option,
               x.figures.show({start + "per_gpu", s.tokens_per_s_per_gpu(), U::TokensPerSecond,
                               "generated, per GPU", "", source}),
               x.figures.show({start + "ttft", s.ttft_s, U::Seconds, "TTFT", "", source}),
               x.figures.show({start + "tpot", s.tpot_s, U::Seconds, "TPOT", "", source}),
               x.figures.show(
                   {start + "gpus", static_cast<double>(s.gpus), U::Count, "GPUs", "", source}),
               r.note.empty() ? "-" : r.note});
  }
  if (table.empty()) return "No single change that was tried makes a plan possible.\n\n";
  return "Each of these changes alone was searched and has a plan:\n\n" + table.text();
}

}  // namespace

std::string targets_section(ReportContext& x) {
  MarkdownTable table({"what", "limit", "reached", "headroom", "verdict"});
  for (const ReportPool& p : x.pools) {
    target_row(x, "hw.memory_limit", p.id("memory.total"), p.id("memory"), true, table);
  }
  for (const TargetRow& row : kTargetRows) {
    target_row(x, row.bound, row.reached, id_of(row.limit), row.upper, table);
  }
  return "## Targets and headroom\n\n" + table.text() + bounds_table(x);
}

std::string risks_section(ReportContext& x) {
  Risks risks(x);
  risks.memory();
  risks.targets();
  risks.waiting();
  risks.balance();
  risks.model();
  risks.failures();
  return "## Risks\n\n" +
         (risks.text().empty() ? "None of the conditions checked holds.\n" : risks.text()) + "\n";
}

std::string path_section(ReportContext& x) {
  std::string out = "## Path to the targets\n\n";
  if (x.result.winner) {
    out += "All limits hold.";
    const Figure* tightest = nullptr;
    for (const auto& [id, figure] : x.figures.all()) {
      const bool headroom = id.starts_with("headroom.") && id != "headroom.gpus";
      if (headroom && (tightest == nullptr || figure.value < tightest->value)) tightest = &figure;
    }
    if (tightest != nullptr) {
      out += fmt::format(" The tightest: {}.", x.figures.show(*tightest));
    }
    return out + "\n\n";
  }
  out += "No candidate of the lattice holds all limits at the stored precision.\n\n";
  if (!x.result.best.empty()) {
    out += fmt::format("At another precision one does: {}.\n\n", describe(x.result.best.front()));
  }
  if (x.why) out += relaxation_rows(x);
  return out;
}

}  // namespace pentafold
