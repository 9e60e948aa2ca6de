#include "planner/plan_report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "planner/plan_report_parts.h"
#include "spec/load_shape.h"
#include "verify/audit_expression.h"

namespace pentafold {
namespace {

struct Asked {
  const char* model;
  const char* gpu;
  std::int64_t gpus;
  double ttft_s, tpot_s;
  bool aggregated, disaggregated;
};

struct Answer {
  Problem problem;
  SearchResult result;
  PlanReport report;
};

Answer answer(const Asked& asked, const std::function<void(Problem&)>& change = {}) {
  Answer out;
  Problem& p = out.problem;
  p.model = load_shape(asked.model).value().model;
  p.cluster = default_cluster(find_gpu(asked.gpu).value(), asked.gpus);
  p.workload.isl = 4000;
  p.workload.osl = 1000;
  p.targets.ttft_s = asked.ttft_s;
  p.targets.tpot_s = asked.tpot_s;
  p.aggregated = asked.aggregated;
  p.disaggregated = asked.disaggregated;
  p.precisions = {p.model.stored};
  if (change) change(p);
  out.result = search(p, {});
  std::optional<WhyNot> why;
  if (!out.result.winner) why = why_not(p, out.result, {});
  out.report = plan_report(p, out.result, why);
  return out;
}

const std::vector<Answer>& answers() {
  static const std::vector<Answer> kAnswers = [] {
    std::vector<Answer> all;
    for (const Asked& asked : std::vector<Asked>{
             {"qwen3-30b-a3b", "h200", 32, 1, 0.02, true, true},      // two pools
             {"qwen3-30b-a3b", "h200", 32, 1, 0.02, true, false},     // one
             {"deepseek-v3", "h200", 64, 2, 0.05, true, false},       // latent attention
             {"gpt-oss-20b", "h100", 8, 1, 0.02, true, false},        // windows
             {"qwen3-30b-a3b", "h100", 8, 0.02, 0.001, true, false},  // impossible
             {"qwen3-30b-a3b", "h100", 8, 0.02, 0.001, false, true},  // with a decode worker
             {"deepseek-v3", "h100", 8, 2, 0.05, true, false},        // does not fit
         }) {
      all.push_back(answer(asked));
    }
    const Asked usual{"qwen3-30b-a3b", "h100", 16, 1, 0.03, true, false};
    all.push_back(answer(usual, [](Problem& p) { p.workload.batch = 100; }));
    all.push_back(answer(usual, [](Problem& p) { p.workload.rate_per_s = 5; }));
    all.push_back(answer(usual, [](Problem& p) { p.workload.skew = 0.7; }));
    all.push_back(answer(usual, [](Problem& p) {
      ExpertHistogram counts{"counts.csv", 128, {0, 7}, {}};
      for (std::int64_t i = 0; i < 2 * 128; ++i) counts.counts.push_back(100 + i * i % 173);
      p.workload.expert_load = std::make_shared<const ExpertHistogram>(std::move(counts));
    }));
    all.push_back(answer(usual, [](Problem& p) {
      p.workload.osl = 1;
      p.targets.tpot_s.reset();
    }));
    all.push_back(answer(usual, [](Problem& p) {
      p.cluster.gpus = 0;
      p.targets.tokens_per_s = 20000;
      p.targets.objective = Objective::Gpus;
      p.cluster.gpu.dollars_per_hour = 2;
    }));
    return all;
  }();
  return kAnswers;
}

double value_of(const Figures& figures, const std::string& id) {
  const Figure* figure = figures.find(id);
  EXPECT_NE(figure, nullptr) << id;
  return figure == nullptr ? NAN : figure->value;
}

std::string flat(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

// What is in brackets in the text before the table of figures.
std::set<std::string> ids_in(const std::string& text) {
  const std::string body = text.substr(0, text.find("## Figures"));
  std::set<std::string> ids;
  for (std::size_t open = body.find('['); open != std::string::npos;
       open = body.find('[', open + 1)) {
    const std::size_t close = body.find(']', open);
    ids.insert(body.substr(open + 1, close - open - 1));
  }
  return ids;
}

TEST(PlanReport, EveryFormulaGivesItsValue) {
  for (const Answer& a : answers()) {
    const Figures& figures = a.report.figures;
    EXPECT_TRUE(figures.missing().empty());
    int formulas = 0;
    for (const auto& [id, figure] : figures.all()) {
      if (figure.formula.empty()) continue;
      ++formulas;
      std::string formula = figure.formula;
      // muParser's names have no dots; longest first, so that no name is cut.
      std::vector<std::string> names = inputs_of(formula);
      std::ranges::sort(names, [](const auto& x, const auto& y) { return x.size() > y.size(); });
      std::map<std::string, double> values;
      for (const std::string& name : names) {
        for (std::size_t at = formula.find(name); at != std::string::npos;
             at = formula.find(name, at + 1)) {
          formula.replace(at, name.size(), flat(name));
        }
        values[flat(name)] = value_of(figures, name);
      }
      const auto evaluated = evaluate(
          formula, [&](const std::string& name) -> Result<double> { return values.at(name); });
      ASSERT_TRUE(evaluated.ok()) << id << " = " << formula << ": " << evaluated.error().message;
      EXPECT_NEAR(evaluated->value, figure.value, 1e-9 * std::abs(figure.value) + 1e-12)
          << id << " = " << figure.formula;
    }
    EXPECT_GT(formulas, 40);
  }
}

TEST(PlanReport, EveryNameUsedHasADerivation) {
  for (const Answer& a : answers()) {
    const auto ids = ids_in(a.report.text);
    EXPECT_GT(ids.size(), 100U);
    for (const std::string& id : ids) {
      EXPECT_EQ(explain_number(a.report.figures, id).find("no figure is called"), std::string::npos)
          << id;
    }
  }
}

// Reads "18.22 ms [decode.tpot]" back from the text.
double read_back(const std::string& text, const std::string& id) {
  const std::size_t close = text.find(" [" + id + "]");
  EXPECT_NE(close, std::string::npos) << id;
  const std::size_t unit_at = text.rfind(' ', close - 1);
  const std::string unit = text.substr(unit_at + 1, close - unit_at - 1);
  const std::size_t number_at = text.find_last_of(" |*", unit_at - 1) + 1;
  const double number = std::stod(text.substr(number_at, unit_at - number_at));
  const std::map<std::string, double> scale = {{"us", 1e-6}, {"ms", 1e-3},   {"s", 1},
                                               {"kB", 1e3},  {"MB", 1e6},    {"GB", 1e9},
                                               {"TB", 1e12}, {"tokens/s", 1}};
  EXPECT_TRUE(scale.contains(unit)) << unit;
  return number * scale.at(unit);
}

TEST(PlanReport, TheTextSaysWhatThePredictionSays) {
  for (const Answer& a : answers()) {
    if (!a.result.winner) continue;
    const Problem& p = a.problem;
    const StepCost costs(p.model, p.cluster, p.engine, p.workload);
    const Deployment& d = *a.result.winner;
    const auto near = [&](const std::string& id, double truth) {
      EXPECT_NEAR(read_back(a.report.text, id), truth, 0.01 * truth) << id;
    };
    near("prefill.ttft", d.score.ttft_s);
    if (p.workload.osl > 1) near("decode.tpot", d.score.tpot_s);
    near("throughput.per_gpu", d.score.tokens_per_s_per_gpu());
    for (const Pool& pool : d.pools) {
      const WorkerPrediction w = predict_worker(costs, pool.worker, pool.role);
      const std::string prefix = d.disaggregated() ? std::string(to_string(pool.role)) + "." : "";
      near(prefix + "memory.total", w.memory.total());
      near(prefix + "memory.kv", w.memory.kv);
      near(prefix + "memory.weights", w.memory.weights);
      if (pool.role != Role::Decode) near("prefill.pass", w.timing.prefill_s);
      if (pool.role != Role::Prefill) near("decode.step", w.timing.decode_s);
    }
  }
}

TEST(PlanReport, MemoryByPartSumsToTheFullestRank) {
  for (const Answer& a : answers()) {
    for (const char* prefix : {"", "prefill.", "decode."}) {
      const std::string start = std::string(prefix) + "memory.weights";
      if (a.report.figures.find(start) == nullptr) continue;
      double parts = 0;
      for (const auto& [id, figure] : a.report.figures.all()) {
        if (id.starts_with(start + ".")) parts += figure.value;
      }
      const double whole = value_of(a.report.figures, start);
      EXPECT_NEAR(parts, whole, 1e-9 * whole);
    }
  }
}

TEST(PlanReport, SequencesAdmittedFitAndOneMoreDoesNot) {
  for (const Answer& a : answers()) {
    if (!a.result.winner) continue;
    for (const Pool& pool : a.result.winner->pools) {
      const bool split = a.result.winner->disaggregated();
      const std::string prefix = split ? std::string(to_string(pool.role)) + "." : "";
      const double n = value_of(a.report.figures, prefix + "memory.sequences");
      const double each = value_of(a.report.figures, prefix + "memory.kv_sequence");
      const double rest = value_of(a.report.figures, prefix + "memory.total") -
                          value_of(a.report.figures, prefix + "memory.kv");
      const double limit = a.problem.memory_limit();
      EXPECT_LE(rest + n * each, limit * (1 + 1e-12));
      EXPECT_GT(rest + (n + 1) * each, limit);
      EXPECT_GE(n, static_cast<double>(pool.worker.batch));
    }
  }
}

TEST(PlanReport, AllSectionsAreThere) {
  for (const Answer& a : answers()) {
    for (const char* section :
         {"## Hardware", "## Request", "## Model", "## Strategy", "## Module division",
          "## Rank map", "## Memory", "## Speed", "## Why this plan", "## By prompt length",
          "## Expert load", "## Communication", "## Pipeline bubbles", "## Targets and headroom",
          "## Risks", "## Path to the targets", "## Figures"}) {
      EXPECT_NE(a.report.text.find(section), std::string::npos) << section;
    }
  }
}

TEST(PlanReport, WithoutAWinnerItSaysSoAndWhatWouldDo) {
  for (const Answer& a : answers()) {
    const bool says = a.report.text.find("No plan of the lattice") != std::string::npos;
    EXPECT_EQ(says, !a.result.winner.has_value());
    if (a.result.winner) continue;
    EXPECT_NE(a.report.text.find("was searched and has a plan"), std::string::npos);
    EXPECT_NE(a.report.text.find(" missed |"), std::string::npos);
  }
}

TEST(PlanReport, LengthsAreThePlannedWorkersAtOtherLengths) {
  const Answer& a = answers()[1];
  const Pool& pool = a.result.winner->pools.front();
  for (const std::int64_t isl : {128, 512, 1024, 4096, 10240}) {
    Workload w = a.problem.workload;
    w.isl = isl;
    const StepCost costs(a.problem.model, a.problem.cluster, a.problem.engine, w);
    const std::string row = fmt::format("length.{}.", isl);
    Worker worker = pool.worker;
    worker.batch = static_cast<std::int64_t>(value_of(a.report.figures, row + "batch"));
    EXPECT_LE(worker.batch, pool.worker.batch);
    const WorkerPrediction p = predict_worker(costs, worker, pool.role);
    EXPECT_LE(p.memory.total(), a.problem.memory_limit());
    EXPECT_DOUBLE_EQ(value_of(a.report.figures, row + "tpot"), p.rates.tpot_s);
    EXPECT_DOUBLE_EQ(value_of(a.report.figures, row + "ttft"), p.rates.ttft_s);
    EXPECT_DOUBLE_EQ(value_of(a.report.figures, row + "per_gpu"),
                     p.rates.tokens_per_s / static_cast<double>(worker.gpus()));
  }
}

TEST(PlanReport, AStrangersNamesCannotBreakTheDocument) {
  Answer a = answers()[1];
  a.problem.model.name = "x\n# y | \x1b[31m";
  const PlanReport report = plan_report(a.problem, a.result, std::nullopt);
  EXPECT_EQ(report.text.find('\x1b'), std::string::npos);
  EXPECT_EQ(report.text.find("\n# y"), std::string::npos);
}

TEST(PlanReport, AFleetThatHoldsNothingStillGetsAnAnswer) {
  Answer a = answers()[1];
  a.result = SearchResult{};
  const PlanReport report = plan_report(a.problem, a.result, std::nullopt);
  EXPECT_NE(report.text.find("No candidate fits"), std::string::npos);
  EXPECT_TRUE(report.figures.missing().empty());
}

}  // namespace
}  // namespace pentafold
