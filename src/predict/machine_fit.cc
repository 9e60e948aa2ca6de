#include "predict/machine_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

namespace pentafold {
namespace {

constexpr std::array<StepKind, 2> kKinds = {StepKind::Prefill, StepKind::Decode};

// Of a call or of a unit, in a prediction that shows how many there are: about what they cost.
constexpr double kTrial = 1e-9;

// One equation: what is left of a kind of step in one kind of run.
struct Equation {
  double left_s = 0;
  double calls = 0;
  double units = 0;
};

using Operators = std::array<std::map<std::string, OperatorReport>, 2>;

double seconds_of(const Operators& operators, StepKind kind, const std::string& name) {
  const auto& times = operators[static_cast<std::size_t>(kind)];
  const auto at = times.find(name);
  return at == times.end() ? 0 : at->second.seconds;
}

// The line through both. Where one part of it would be below 0, the other explains what it can: a
// unit what the larger run took, or a call what the smaller one took.
LineCost solve(Equation a, Equation b) {
  const bool first = a.units * b.calls > b.units * a.calls;  // more units a call
  const Equation& large = first ? a : b;
  const Equation& small = first ? b : a;
  const double unit_s = large.units > 0 ? std::max(large.left_s, 0.0) / large.units : 0;
  const double call_s = small.calls > 0 ? std::max(small.left_s, 0.0) / small.calls : 0;
  const double determinant = a.calls * b.units - b.calls * a.units;
  // Both loads alike (as many units a call) cannot be told apart: all of it is the units.
  constexpr double kAlike = 0.01;
  if (std::abs(determinant) <= kAlike * large.units * small.calls) return {0, unit_s};
  const LineCost line{(a.left_s * b.units - b.left_s * a.units) / determinant,
                      (a.calls * b.left_s - b.calls * a.left_s) / determinant};
  if (line.call_s < 0) return {0, unit_s};
  if (line.unit_s < 0) return {call_s, 0};
  return line;
}

struct Likeness {
  std::string_view name;
  std::string_view like;
};
constexpr std::array<Likeness, 6> kLikenesses = {{{"seq_to_heads", "all_reduce"},
                                                  {"heads_to_seq", "all_reduce"},
                                                  {"send", "all_reduce"},
                                                  {"recv", "all_reduce"},
                                                  {"capacity", "route"},
                                                  {"width_norm", "head_norm"}}};

}  // namespace

Status fit_host_lines(const MeasuredRun& run, MachineSpec& machine) {
  std::set<std::string> names;
  for (const StepKind kind : kKinds) {
    for (const auto& [name, time] : run.measured.operators[static_cast<std::size_t>(kind)]) {
      names.insert(name);
    }
  }
  const auto predict = [&](LineCost line) -> Result<Operators> {
    MachineSpec trial = machine;
    trial.host.clear();
    trial.message.unit_s = 0;
    for (const std::string& name : names) trial.host[name] = line;
    const RunToPredict& r = run.run;
    PF_ASSIGN(Report report,
              predict_run({r.plan, r.model, trial, r.limits, r.weights}, run.requests));
    return std::move(report.operators);
  };
  PF_ASSIGN(const Operators kernels, predict({0, 0}));
  PF_ASSIGN(const Operators calls, predict({kTrial, 0}));
  PF_ASSIGN(const Operators units, predict({0, kTrial}));
  machine.host.clear();
  for (const std::string& name : names) {
    std::array<Equation, 2> equations;
    for (const StepKind kind : kKinds) {
      const double kernel_s = seconds_of(kernels, kind, name);
      equations[static_cast<std::size_t>(kind)] = {
          seconds_of(run.measured.operators, kind, name) - kernel_s,
          (seconds_of(calls, kind, name) - kernel_s) / kTrial,
          (seconds_of(units, kind, name) - kernel_s) / kTrial};
    }
    machine.host[name] = solve(equations[0], equations[1]);
  }
  for (const Likeness& l : kLikenesses) {
    const auto like = machine.host.find(std::string(l.like));
    if (like != machine.host.end()) machine.host.try_emplace(std::string(l.name), like->second);
  }
  return ok_status();
}

void fit_step_line(const StepSample& one, const StepSample& many, MachineSpec& machine) {
  const auto turns = [&](const StepSample& sample) {
    return std::max(1.0, static_cast<double>(sample.ranks) / static_cast<double>(machine.cores));
  };
  const double left_one = std::max(one.measured_s - one.predicted_s, 0.0);
  const double left_many = many.measured_s - many.predicted_s;
  const double more = turns(many) - turns(one);
  machine.step.unit_s =
      more > 0 ? std::clamp((left_many - left_one) / more, 0.0, std::max(left_many, 0.0)) : 0;
  machine.step.call_s = std::max(left_one - machine.step.unit_s, 0.0);
}

}  // namespace pentafold
