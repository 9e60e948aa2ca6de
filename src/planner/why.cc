#include "planner/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/units.h"

namespace pentafold {
namespace {

// Up to three significant digits, so that what is printed is what was tried; never below `value`.
double rounded_up(double value) {
  const double unit = std::pow(10, std::floor(std::log10(value)) - 2);
  return std::ceil(value / unit * (1 - 1e-12)) * unit;
}

double rounded_down(double value) {
  const double unit = std::pow(10, std::floor(std::log10(value)) - 2);
  return std::floor(value / unit * (1 + 1e-12)) * unit;
}

std::string target_option(const Targets& targets) {
  return fmt::format("--target {}", format_targets(targets));
}

class Relaxer {
 public:
  Relaxer(const Problem& problem, const SearchOptions& options)
      : problem_(problem), options_{options.threads, false} {}

  std::vector<Relaxation> run() {
    looser_limits();
    more_gpus();
    fewer_bits();
    fewer_experts();
    shorter_prompt();
    free_batch();
    return std::move(out_);
  }

 private:
  // A certificate that proves there is none saves the search.
  std::optional<Deployment> find(const Problem& problem) const {
    if (std::ranges::any_of(certificates(problem), &Certificate::proves)) return std::nullopt;
    return search(problem, options_).winner;
  }

  // Keeps the relaxation if a search with it finds a plan.
  bool offer(Problem changed, std::string change, std::string option, std::string note) {
    auto found = find(changed);
    if (!found) return false;
    out_.push_back({std::move(change), std::move(option), std::move(note), std::move(changed),
                    std::move(*found)});
    return true;
  }

  // The least TTFT, TPOT or most throughput that the rest of the problem allows.
  void looser_limits() {
    const Targets& t = problem_.targets;
    bool any = false;
    if (t.ttft_s) any |= looser({&Targets::ttft_s}, {});
    if (t.tpot_s) any |= looser({&Targets::tpot_s}, {});
    if (t.tokens_per_s_per_gpu) any |= looser({}, {&Targets::tokens_per_s_per_gpu});
    if (t.prefill_tokens_per_s_per_gpu) any |= looser({}, {&Targets::prefill_tokens_per_s_per_gpu});
    if (t.tokens_per_s) any |= looser({}, {&Targets::tokens_per_s});
    if (any) return;
    // No single one will do: loosen the latencies together, then the throughput as well.
    if (t.ttft_s && t.tpot_s && looser({&Targets::tpot_s, &Targets::ttft_s}, {})) return;
    looser({&Targets::tpot_s, &Targets::ttft_s},
           {&Targets::tokens_per_s_per_gpu, &Targets::prefill_tokens_per_s_per_gpu,
            &Targets::tokens_per_s});
  }

  using Field = std::optional<double> Targets::*;

  // Frees all the limits given, then sets each in turn to the best that can be had.
  bool looser(const std::vector<Field>& upper, const std::vector<Field>& lower) {
    Problem changed = problem_;
    const Targets& given = problem_.targets;
    Targets& t = changed.targets;
    for (const Field field : upper) t.*field = std::nullopt;
    for (const Field field : lower) t.*field = std::nullopt;
    std::string change;
    const auto say = [&](Limit limit, double now, double before) {
      change +=
          fmt::format("{}{} {} instead of {}", change.empty() ? "" : " and ", to_string(limit),
                      format_limit(limit, now), format_limit(limit, before));
    };
    for (const Field field : upper) {
      if (!(given.*field)) continue;
      t.objective = field == &Targets::ttft_s ? Objective::Ttft : Objective::Tpot;
      const auto best = find(changed);
      if (!best) return false;
      const bool first = field == &Targets::ttft_s;
      const double reached = first ? best->score.ttft_s : best->score.tpot_s;
      t.*field = std::max(*(given.*field), rounded_up(reached));
      say(first ? Limit::Ttft : Limit::Tpot, *(t.*field), *(given.*field));
    }
    for (const Field field : lower) {
      if (!(given.*field)) continue;
      t.objective = Objective::TokensPerSecondPerGpu;
      const auto best = find(changed);
      if (!best) return false;
      const Score& s = best->score;
      const bool per_gpu = field == &Targets::tokens_per_s_per_gpu;
      const bool prefill = field == &Targets::prefill_tokens_per_s_per_gpu;
      const double reached = per_gpu   ? s.tokens_per_s_per_gpu()
                             : prefill ? s.prefill_tokens_per_s_per_gpu
                                       : s.tokens_per_s;
      if (reached <= 0) return false;
      t.*field = std::min(*(given.*field), rounded_down(reached));
      say(per_gpu   ? Limit::TokensPerGpu
          : prefill ? Limit::PrefillTokensPerGpu
                    : Limit::Tokens,
          *(t.*field), *(given.*field));
    }
    if (change.empty()) return false;
    t.objective = given.objective;
    return offer(changed, change, target_option(t), "");
  }

  void more_gpus() {
    if (problem_.cluster.gpus == 0) return;
    const auto fewest = fewest_gpus(problem_, options_);
    if (!fewest || *fewest <= problem_.cluster.gpus) return;
    Problem changed = problem_;
    changed.cluster.gpus = *fewest;
    offer(changed, fmt::format("{} GPUs instead of {}", *fewest, problem_.cluster.gpus),
          fmt::format("--gpus {}", *fewest),
          "more GPUs serve more requests; the throughput of one GPU does not grow with them");
  }

  void fewer_bits() {
    for (const NumberFormat format :
         {NumberFormat::FP8, NumberFormat::INT8, NumberFormat::NVFP4, NumberFormat::INT4}) {
      const Precision& stored = problem_.precisions.front();
      Precision fewer = stored;
      const auto lower = [&](NumberFormat& field) {
        if (bytes_per_value(format) < bytes_per_value(field)) field = format;
      };
      lower(fewer.experts);
      lower(fewer.linear);
      if (fewer == stored) continue;
      Problem changed = problem_;
      changed.precisions = {fewer};
      offer(changed, fmt::format("weights in {}", to_string(format)),
            fmt::format("--precision {}", to_string(format)),
            "changes the model's outputs: measure its quality");
    }
  }

  void fewer_experts() {
    const std::int64_t top_k = problem_.model.top_k();
    for (std::int64_t k = top_k / 2; k >= 1; k /= 2) {
      Problem changed = problem_;
      for (LayerShape& kind : changed.model.kinds) {
        kind.ffn.top_k = std::min(kind.ffn.top_k, k);
      }
      if (offer(changed, fmt::format("top-{} routing instead of top-{}", k, top_k),
                fmt::format("--top-k {}", k), "another model: it must be trained for it")) {
        return;
      }
    }
  }

  void shorter_prompt() {
    const auto with = [&](std::int64_t isl) {
      Problem changed = problem_;
      changed.workload.isl = isl;
      return changed;
    };
    if (problem_.workload.isl < 2 || !find(with(1))) return;
    std::int64_t works = 1;
    std::int64_t fails = problem_.workload.isl;
    while (fails - works > std::max<std::int64_t>(1, works / 50)) {
      const std::int64_t middle = (works + fails) / 2;
      (find(with(middle)) ? works : fails) = middle;
    }
    offer(with(works),
          fmt::format("prompts of {} tokens instead of {}", works, problem_.workload.isl),
          fmt::format("--isl {}", works), "");
  }

  void free_batch() {
    if (!problem_.workload.batch) return;
    Problem changed = problem_;
    changed.workload.batch = std::nullopt;
    const auto found = find(changed);
    if (!found) return;
    const Pool& pool = found->decode_pool();
    const std::int64_t batch = pool.worker.batch * pool.worker.dp * pool.replicas;
    changed.workload.batch = batch;
    const bool larger = batch > *problem_.workload.batch;
    offer(changed,
          fmt::format("a {} batch, {} instead of {}", larger ? "larger" : "smaller", batch,
                      *problem_.workload.batch),
          fmt::format("--batch {}", batch), "");
  }

  const Problem& problem_;
  SearchOptions options_;
  std::vector<Relaxation> out_;
};

}  // namespace

std::optional<std::int64_t> fewest_gpus(const Problem& problem, const SearchOptions& options) {
  Problem changed = problem;
  changed.cluster.gpus = 0;
  changed.targets.objective = Objective::Gpus;
  const std::int64_t most = problem.max_gpus;
  // What no fleet can do need not be searched for; else small fleets, which are quick, come first.
  changed.max_gpus = most;
  for (const Certificate& certificate : certificates(changed)) {
    if (certificate.proves()) return std::nullopt;
  }
  for (std::int64_t cap = std::min<std::int64_t>(16, most);; cap = std::min(2 * cap, most)) {
    changed.max_gpus = cap;
    if (const auto found = search(changed, {options.threads, false}).winner) {
      return found->score.gpus;
    }
    if (cap == most) return std::nullopt;
  }
}

WhyNot why_not(const Problem& problem, const SearchResult& result, const SearchOptions& options) {
  WhyNot out;
  out.certificates = certificates(problem);
  for (const StrategyFamily& family : result.families) {
    // One role's worker does not say what the other pool would miss.
    if (family.disaggregated && problem.aggregated) continue;
    if (family.nearest && (!out.nearest || family.nearest->nearer_than(*out.nearest))) {
      out.nearest = family.nearest;
      out.nearest_worker = family.nearest_worker;
    }
  }
  // A candidate cut for its memory was counted up to the cut only.
  if (out.nearest && out.nearest->limit == Limit::Memory) {
    out.nearest->reached =
        std::max(out.nearest->reached, worker_bytes(problem.model, out.nearest_worker,
                                                    problem.workload.isl + problem.workload.osl, 1)
                                           .total());
  }
  out.relaxations = Relaxer(problem, options).run();
  if (!out.nearest || out.nearest->limit != Limit::Memory) return out;
  for (const NumberFormat format : {NumberFormat::BF16, NumberFormat::FP8, NumberFormat::INT8,
                                    NumberFormat::NVFP4, NumberFormat::INT4}) {
    Problem changed = problem;
    Precision& precision = changed.precisions.front();
    precision.experts = format;
    precision.linear = format;
    changed.precisions.resize(1);
    out.fewest.push_back({precision, fewest_gpus(changed, options)});
  }
  return out;
}

std::string binding(const Cost& cost) {
  std::vector<std::pair<double, Bound>> parts;
  for (std::size_t i = 0; i < kBounds; ++i) {
    if (cost.by[i] >= 0.05 * cost.seconds) parts.emplace_back(cost.by[i], static_cast<Bound>(i));
  }
  std::ranges::sort(parts, [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text;
  for (const auto& [seconds, bound] : parts) {
    text += fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", to_string(bound),
                        100 * seconds / cost.seconds);
  }
  return text;
}

std::string format_limit(Limit limit, double value) {
  switch (limit) {
    case Limit::Memory:
      return format_bytes(value);
    case Limit::Ttft:
    case Limit::Tpot:
      return format_seconds(value);
    case Limit::Cost:
      return fmt::format("${:.3g}", value);
    case Limit::Gpus:
      return fmt::format("{:.0f}", value);
    case Limit::TokensPerGpu:
    case Limit::PrefillTokensPerGpu:
    case Limit::Tokens:
    case Limit::Rate:
      return value < 1e4 ? fmt::format("{:.4g}", value) : format_count(value);
    case Limit::None:
      break;
  }
  return "";
}

std::string format_targets(const Targets& t) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ",") + part; };
  const auto time = [](double s) {
    return s < 1 ? fmt::format("{:.6g}ms", s * 1e3) : fmt::format("{:.6g}s", s);
  };
  if (t.ttft_s) add("ttft=" + time(*t.ttft_s));
  if (t.tpot_s) add("tpot=" + time(*t.tpot_s));
  if (t.tokens_per_s_per_gpu) {
    add(fmt::format("tokens_per_s_per_gpu={:.10g}", *t.tokens_per_s_per_gpu));
  }
  if (t.prefill_tokens_per_s_per_gpu) {
    add(fmt::format("prefill_tokens_per_s_per_gpu={:.10g}", *t.prefill_tokens_per_s_per_gpu));
  }
  if (t.tokens_per_s) add(fmt::format("tokens_per_s={:.10g}", *t.tokens_per_s));
  if (t.dollars_per_mtok) add(fmt::format("dollars_per_mtok={:.10g}", *t.dollars_per_mtok));
  for (const ServedLimit& limit : t.served) add(limit.name() + "=" + time(limit.seconds));
  if (t.goodput_per_s) add(fmt::format("goodput={:.10g}/s", *t.goodput_per_s));
  if (t.memory_fraction != Targets{}.memory_fraction) {
    add(fmt::format("memory_fraction={:.10g}", t.memory_fraction));
  }
  switch (t.objective) {
    case Objective::Gpus:
      add("gpus=min");
      break;
    case Objective::Cost:
      add("cost=min");
      break;
    case Objective::Ttft:
      add("ttft=min");
      break;
    case Objective::Tpot:
      add("tpot=min");
      break;
    case Objective::TokensPerSecondPerGpu:
      break;
  }
  return text;
}

}  // namespace pentafold
