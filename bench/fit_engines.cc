// Fits constants of an engine's profile (specs/engines.yaml) to published runs.
//
//   fit_engines FILE.csv[.gz] ENGINE [--gpus a,b] [--vary layer,step,...] [--sample N] [--rounds N]
//               [--most CONCURRENCY] [--hold-out model|gpu] [--since 2025-12] [--before 2026-05]
//
// Coordinate descent on the mean of |ln(predicted / measured)|, each row's capped at 0.5 so that no
// outlier decides, over TPOT, TTFT and rates of a fixed sample of runs. A model counts by the root
// of its rows, so that the most measured one does not decide for all. Starts from the constants of
// the first of the GPUs; prints the values as they go into the file, and the error before and
// after. With --hold-out the sample is cut in two by model or GPU; each half is predicted with
// constants fitted on the other one. Deterministic.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "predict/measurement.h"
#include "predict/predict_measurement.h"

namespace pentafold {
namespace {

constexpr double kCap = 0.5;

struct Run {
  const Measurement* first = nullptr;  // any of its rows: one configuration
  std::vector<const Measurement*> rows;
  double weight = 1;
};

struct Score {
  double loss = 0;
  double tpot = 0;  // median absolute error
  double ttft = 0;
  double rate = 0;
};

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

std::set<std::string> words(const std::string& text) {
  std::set<std::string> out;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) out.insert(word);
  return out;
}

struct Errors {
  double sum = 0;
  double weight = 0;
  std::vector<double> tpot, ttft, rate;
};

Score score(const std::vector<Run>& runs, const EngineProfile& profile) {
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<Errors> errors(threads);
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (std::size_t i = t; i < runs.size(); i += threads) {
        const auto predicted = predict_measurement_as(*runs[i].first, profile);
        if (!predicted.ok()) continue;
        for (const Measurement* row : runs[i].rows) {
          const double value = predicted->of(row->metric, row->gpus).value;
          if (value <= 0) continue;
          const double off = std::abs(std::log(value / row->value));
          const double percent = std::abs(value / row->value - 1);
          const bool ttft = row->metric.quantity == Quantity::Ttft;
          const bool tpot = row->metric.quantity == Quantity::Tpot;
          (ttft ? errors[t].ttft : tpot ? errors[t].tpot : errors[t].rate).push_back(percent);
          const double weight = runs[i].weight * (ttft ? 0.5 : 1);
          errors[t].sum += weight * std::min(off, kCap);
          errors[t].weight += weight;
        }
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  Errors all;
  for (const Errors& e : errors) {
    all.sum += e.sum;
    all.weight += e.weight;
    all.tpot.insert(all.tpot.end(), e.tpot.begin(), e.tpot.end());
    all.ttft.insert(all.ttft.end(), e.ttft.begin(), e.ttft.end());
    all.rate.insert(all.rate.end(), e.rate.begin(), e.rate.end());
  }
  return {all.sum / std::max(all.weight, 1.0), median(all.tpot), median(all.ttft),
          median(all.rate)};
}

struct Options {
  std::string file, engine, hold_out;
  std::set<std::string> gpus, vary;
  std::string first_gpu;
  std::string since, before;  // months; a run of none is of neither
  std::size_t sample = 200;
  std::int64_t most = 1 << 20;  // in flight
  int rounds = 3;
};

std::vector<Run> sample_runs(const Measurements& all, const Options& o) {
  std::map<std::string, Run> by_configuration;
  for (const Measurement& m : all.rows) {
    if (m.engine != o.engine || (!o.gpus.empty() && !o.gpus.contains(m.gpu_name))) continue;
    if (m.concurrency > o.most) continue;
    if (!o.since.empty() && m.month < o.since) continue;
    if (!o.before.empty() && (m.month.empty() || m.month >= o.before)) continue;
    Run& run = by_configuration[configuration(m)];
    run.first = &m;
    run.rows.push_back(&m);
  }
  std::vector<Run> runs;
  const double every =
      std::max(1.0, static_cast<double>(by_configuration.size()) / static_cast<double>(o.sample));
  double next = 0;
  std::size_t i = 0;
  for (auto& [name, run] : by_configuration) {
    if (static_cast<double>(i++) < next) continue;
    next += every;
    runs.push_back(std::move(run));
  }
  return runs;
}

void print(const char* what, const Score& s) {
  fmt::print("{}: loss {:.4f}, median error TPOT {:.1f} %, TTFT {:.1f} %, rates {:.1f} %\n", what,
             s.loss, 100 * s.tpot, 100 * s.ttft, 100 * s.rate);
  std::fflush(stdout);
}

void weigh(std::vector<Run>& runs) {
  std::map<std::string, double> rows;
  for (const Run& run : runs) rows[run.first->model_name] += static_cast<double>(run.rows.size());
  for (Run& run : runs) run.weight = 1 / std::sqrt(rows.at(run.first->model_name));
}

// The constants that are best for the runs, from those of `start` on.
EngineProfile fitted(const std::vector<Run>& runs, const EngineProfile& start, const Options& o) {
  EngineProfile profile = start;
  Score best = score(runs, profile);
  double step = 1.6;
  for (int round = 0; round < o.rounds; ++round, step = std::sqrt(step)) {
    for (const ProfileConstant& constant : profile_constants()) {
      if (!o.vary.contains(std::string(constant.key))) continue;
      for (bool better = true; better;) {
        better = false;
        for (const double factor : {step, 1 / step}) {
          EngineProfile tried = profile;
          double& value = tried.*constant.value;
          value = value > 0 ? value * factor : (constant.seconds ? 1e-6 : 0.1);
          const Score s = score(runs, tried);
          if (s.loss < best.loss * 0.9995) {
            best = s;
            profile = tried;
            better = true;
            break;
          }
        }
      }
    }
    print("  round", best);
  }
  for (const ProfileConstant& constant : profile_constants()) {
    if (!o.vary.contains(std::string(constant.key))) continue;
    const double value = profile.*constant.value;
    fmt::print(
        "{}: {}{}", constant.key,
        constant.seconds ? fmt::format("{:.3g}us", value * 1e6) : fmt::format("{:.3g}", value),
        &constant == &profile_constants().back() ? "" : ", ");
  }
  fmt::print("\n");
  return profile;
}

// Two halves with as many rows, as far as whole models or devices allow: the most measured first,
// each to the smaller half.
std::array<std::vector<Run>, 2> halves(const std::vector<Run>& runs, bool by_gpu) {
  const auto name = [&](const Run& run) {
    return by_gpu ? run.first->gpu_name : run.first->model_name;
  };
  std::map<std::string, std::size_t> counts;
  for (const Run& run : runs) counts[name(run)] += run.rows.size();
  std::vector<std::pair<std::size_t, std::string>> order;
  for (const auto& [key, count] : counts) order.emplace_back(count, key);
  std::ranges::sort(order, std::greater<>());
  std::array<std::set<std::string>, 2> names;
  std::array<std::size_t, 2> rows{};
  for (const auto& [count, key] : order) {
    const std::size_t to = rows[0] <= rows[1] ? 0 : 1;
    names[to].insert(key);
    rows[to] += count;
  }
  std::array<std::vector<Run>, 2> out;
  for (const Run& run : runs) out[names[0].contains(name(run)) ? 0 : 1].push_back(run);
  for (std::size_t h = 0; h < 2; ++h) {
    weigh(out[h]);
    fmt::print("half {}: {}\n", h + 1, fmt::join(names[h], ", "));
  }
  return out;
}

int fit(const Options& o) {
  const auto all = read_measurements(o.file);
  if (!all.ok()) {
    fmt::print(stderr, "{}\n", all.error().message);
    return 2;
  }
  std::vector<Run> runs = sample_runs(*all, o);
  const auto start =
      find_engine(runs.empty() ? o.engine : engine_then(*runs.front().first), o.first_gpu);
  if (!start.ok() || runs.empty()) {
    fmt::print(stderr, "no such engine, or no runs of it\n");
    return 2;
  }
  weigh(runs);
  fmt::print("{} runs\n", runs.size());
  print("before", score(runs, *start));
  if (o.hold_out.empty()) {
    print("after", score(runs, fitted(runs, *start, o)));
    return 0;
  }
  const auto half = halves(runs, o.hold_out == "gpu");
  for (std::size_t h = 0; h < 2; ++h) {
    if (half[h].empty()) continue;
    const EngineProfile profile = fitted(half[1 - h].empty() ? half[h] : half[1 - h], *start, o);
    print("fitted on it", score(half[1 - h], profile));
    print("held out", score(half[h], profile));
  }
  return 0;
}

}  // namespace
}  // namespace pentafold

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs(
        "fit_engines FILE.csv[.gz] ENGINE [--gpus a,b] [--vary layer,step,...] [--sample N] "
        "[--rounds N] [--most CONCURRENCY] [--hold-out model|gpu] [--since MONTH] [--before "
        "MONTH]\n",
        stderr);
    return 2;
  }
  pentafold::Options o;
  o.file = argv[1];
  o.engine = argv[2];
  o.vary = pentafold::words("step,layer,request,admission,prompt_step,prompt_layer");
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--gpus") {
      o.gpus = pentafold::words(argv[i + 1]);
      o.first_gpu = std::string(argv[i + 1]).substr(0, std::string(argv[i + 1]).find(','));
    }
    if (key == "--hold-out") o.hold_out = argv[i + 1];
    if (key == "--since") o.since = argv[i + 1];
    if (key == "--before") o.before = argv[i + 1];
    if (key == "--most") o.most = std::stoll(argv[i + 1]);
    if (key == "--vary") o.vary = pentafold::words(argv[i + 1]);
    if (key == "--sample") o.sample = std::stoul(argv[i + 1]);
    if (key == "--rounds") o.rounds = std::stoi(argv[i + 1]);
  }
  return pentafold::fit(o);
}
