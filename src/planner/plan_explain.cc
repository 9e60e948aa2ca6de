#include "planner/plan_explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "planner/why.h"
#include "report/figures.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMostRequests = 65536;
constexpr std::int64_t kShortestPrompt = 128;
constexpr std::int64_t kLongestPrompt = 131072;  // of a model that states none
constexpr double kTie = 1e-9;

const Pool& decoding(const Contender& c) {
  return c.pools.back();
}

double per_gpu(const Problem& problem, const Contender& contender) {
  const ContenderView v = view(problem, contender);
  return v.fits ? v.tokens_per_s_per_gpu : 0;
}

// With `requests` at once spread over the decoding workers.
double per_gpu_at_requests(const Problem& problem, Contender contender, std::int64_t requests) {
  Pool& pool = contender.pools.back();
  const std::int64_t groups = pool.worker.dp * pool.replicas;
  pool.worker.batch = (requests + groups - 1) / groups;
  pool.worker.microbatches = std::min(pool.worker.microbatches, pool.worker.batch);
  // Groups without a request leave their GPUs idle.
  const double filled =
      static_cast<double>(requests) / static_cast<double>(groups * pool.worker.batch);
  return per_gpu(problem, contender) * filled;
}

double per_gpu_at_prompt(Problem problem, const Contender& contender, std::int64_t isl) {
  problem.workload.isl = isl;
  return per_gpu(problem, contender);
}

// Where the sign of second - first changes between neighbours of a doubling grid, to the unit.
template <class Lead>
void find_flips(const std::string& axis, std::int64_t low, std::int64_t high, const Lead& lead,
                std::vector<Flip>& flips) {
  const auto sign = [&](std::int64_t at) {
    const auto [first, second] = lead(at);
    if (std::abs(second - first) <= kTie * std::max(first, second)) return 0;
    return second > first ? 1 : -1;
  };
  std::int64_t before_at = low;
  int before = sign(low);
  for (std::int64_t at = std::min(2 * low, high); before_at < high; at = std::min(2 * at, high)) {
    const int now = sign(at);
    if (before != 0 && now != 0 && now != before) {
      std::int64_t old_side = before_at;
      std::int64_t new_side = at;
      while (new_side - old_side > 1) {
        const std::int64_t middle = old_side + (new_side - old_side) / 2;
        (sign(middle) == now ? new_side : old_side) = middle;
      }
      flips.push_back({axis, new_side, now > 0});
    }
    if (now != 0) {
      before = now;
      before_at = at;
    } else if (before == 0 || at == high) {
      before_at = at;
    }
    if (at == high) break;
  }
}

Cost minus(const Cost& b, const Cost& a) {
  Cost out;
  out.seconds = b.seconds - a.seconds;
  for (std::size_t i = 0; i < kBounds; ++i) out.by[i] = b.by[i] - a.by[i];
  return out;
}

// What speaks for the difference as a whole, strongest first.
std::vector<std::size_t> reasons(const Cost& difference) {
  const double sign = difference.seconds < 0 ? -1 : 1;
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < kBounds; ++i) {
    if (sign * difference.by[i] > 0.05 * sign * difference.seconds) out.push_back(i);
  }
  std::ranges::sort(out, [&](std::size_t x, std::size_t y) {
    return sign * difference.by[x] > sign * difference.by[y];
  });
  return out;
}

std::string bound_name(std::size_t bound) {
  const bool idle = static_cast<Bound>(bound) == Bound::Bubble;
  return idle ? "bubbles and idling" : to_string(static_cast<Bound>(bound));
}

// "For a generated token B spends 130.0 us of a GPU on link bandwidth, 2.1 times as much as A: 40.0
// us more, of 60.0 us that it costs more in all".
std::string token_sentence(const Comparison& c, std::size_t bound) {
  const bool second = c.token_difference.seconds > 0;
  const double big = (second ? c.b : c.a).token.by[bound];
  const double small = (second ? c.a : c.b).token.by[bound];
  const std::string& other = (second ? c.first : c.second).name;
  return fmt::format(
      "For a generated token {} spends {} of a GPU on {}, {}: {} more, of {} that it costs more in "
      "all",
      (second ? c.second : c.first).name, format_seconds(big), bound_name(bound),
      small > 0 ? fmt::format("{:.2g} times as much as {}", big / small, other) : other + " none",
      format_seconds(big - small), format_seconds(std::abs(c.token_difference.seconds)));
}

std::string memory_sentence(const Problem& problem, const Comparison& c) {
  const auto part = [](const std::string& name, const ContenderView& v) {
    const RankBytes& m = v.predictions.back().memory;
    return fmt::format("{} holds {} of weights and {} of cache on a rank", name,
                       format_bytes(m.weights), format_bytes(m.kv));
  };
  std::string out = part(c.first.name, c.a) + ", " + part(c.second.name, c.b);
  for (const auto& [who, v] : {std::pair(&c.first, &c.a), std::pair(&c.second, &c.b)}) {
    if (!v->fits) {
      out += fmt::format("; {} does not fit: {} of {}", who->name, format_bytes(v->memory_bytes),
                         format_bytes(problem.memory_limit()));
    }
  }
  return out;
}

std::string degree_sentence(const Comparison& c) {
  const Worker& a = decoding(c.first).worker;
  const Worker& b = decoding(c.second).worker;
  std::string out;
  const auto differ = [&](const char* name, std::int64_t x, std::int64_t y) {
    if (x != y) out += fmt::format("{}{} {} against {}", out.empty() ? "" : ", ", name, x, y);
  };
  differ("GPUs", c.first.gpus(), c.second.gpus());
  differ("pp", a.pp(), b.pp());
  differ("dp", a.dp, b.dp);
  differ("sp", a.sp, b.sp);
  differ("tp", a.tp, b.tp);
  differ("ep", a.ep, b.ep);
  differ("etp", a.etp, b.etp);
  differ("copies", a.redundant, b.redundant);
  differ("sequences of a dp group", a.batch, b.batch);
  differ("microbatches", a.microbatches, b.microbatches);
  differ("chunk", c.first.pools.front().worker.chunk, c.second.pools.front().worker.chunk);
  differ("replicas", decoding(c.first).replicas, decoding(c.second).replicas);
  differ("pools", static_cast<std::int64_t>(c.first.pools.size()),
         static_cast<std::int64_t>(c.second.pools.size()));
  if (!(a.precision == b.precision)) {
    out += fmt::format("{}{} against {}", out.empty() ? "" : ", ", to_string(a.precision),
                       to_string(b.precision));
  }
  return out.empty() ? "The plans are the same" : "They differ in " + out;
}

std::string verdict(const Comparison& c) {
  const auto per = [](const ContenderView& v) {
    return format_figure(v.tokens_per_s_per_gpu, FigureUnit::TokensPerSecond);
  };
  if (c.a.fits != c.b.fits) {
    return fmt::format("{} wins: {} does not fit into memory", (c.a.fits ? c.first : c.second).name,
                       (c.a.fits ? c.second : c.first).name);
  }
  const double low = std::min(c.a.tokens_per_s_per_gpu, c.b.tokens_per_s_per_gpu);
  const double high = std::max(c.a.tokens_per_s_per_gpu, c.b.tokens_per_s_per_gpu);
  if (high - low <= kTie * high) {
    return fmt::format("Neither wins: both give {} per GPU", per(c.a));
  }
  const bool first = c.a.tokens_per_s_per_gpu > c.b.tokens_per_s_per_gpu;
  return fmt::format("{} gives {} per GPU, {} {}: {} more", (first ? c.first : c.second).name,
                     per(first ? c.a : c.b), (first ? c.second : c.first).name,
                     per(first ? c.b : c.a),
                     low > 0 ? format_figure(high / low - 1, FigureUnit::Share) : "infinitely");
}

void add_sentences(const Problem& problem, Comparison& c) {
  c.sentences.push_back(verdict(c));
  c.sentences.push_back(degree_sentence(c));
  const auto found = reasons(c.token_difference);
  for (std::size_t i = 0; i < found.size() && i < 2; ++i) {
    c.sentences.push_back(token_sentence(c, found[i]));
  }
  c.sentences.push_back(memory_sentence(problem, c));
}

std::string numbers_table(const Problem& problem, const Comparison& c) {
  MarkdownTable table({"", c.first.name, c.second.name});
  const auto row = [&](const char* what, FigureUnit unit, double a, double b) {
    table.add({what, format_figure(a, unit), format_figure(b, unit)});
  };
  using U = FigureUnit;
  row("GPUs", U::Count, static_cast<double>(c.first.gpus()), static_cast<double>(c.second.gpus()));
  row("TTFT, no queue", U::Seconds, c.a.ttft_s, c.b.ttft_s);
  row("TPOT", U::Seconds, c.a.tpot_s, c.b.tpot_s);
  row("tokens/s per GPU", U::TokensPerSecond, c.a.tokens_per_s_per_gpu, c.b.tokens_per_s_per_gpu);
  row("memory of the fullest rank", U::Bytes, c.a.memory_bytes, c.b.memory_bytes);
  row("usable memory", U::Bytes, problem.memory_limit(), problem.memory_limit());
  table.add({"a prefill pass is", binding(c.a.prefill), binding(c.b.prefill)});
  table.add({"a decode step is", binding(c.a.decode), binding(c.b.decode)});
  return table.text();
}

std::string difference_table(const Comparison& c, Cost ContenderView::* cost,
                             const Cost& difference) {
  MarkdownTable table({"spent on", c.first.name, c.second.name, "difference"});
  for (std::size_t i = 0; i < kBounds; ++i) {
    const double a = (c.a.*cost).by[i];
    const double b = (c.b.*cost).by[i];
    if (a == 0 && b == 0) continue;
    // Not "-0.0 us" where only the order of a sum differs.
    const double more = std::abs(b - a) <= kTie * (a + b) ? 0.0 : b - a;
    table.add({bound_name(i), format_seconds(a), format_seconds(b), format_seconds(more)});
  }
  table.add({"all", format_seconds((c.a.*cost).seconds), format_seconds((c.b.*cost).seconds),
             format_seconds(difference.seconds)});
  return table.text();
}

// Device seconds that a full worker of the pool spends for one generated token.
Cost token_cost(const Workload& workload, const Pool& pool, const WorkerPrediction& p) {
  const auto steps = static_cast<double>(std::max<std::int64_t>(workload.osl - 1, 0));
  const auto prompts = static_cast<double>(p.timing.prompts);
  const auto batch = static_cast<double>(pool.worker.batch);
  Cost cycle = p.decode * steps;
  double requests = batch;
  if (pool.role == Role::Prefill) {
    cycle = p.prefill;
    requests = prompts;
  } else if (pool.role == Role::Both) {
    cycle += p.prefill * std::max(batch / prompts, 1.0);
  }
  const double tokens =
      requests * static_cast<double>(pool.worker.dp) * static_cast<double>(workload.osl);
  return cycle * (static_cast<double>(pool.worker.gpus()) / tokens);
}

}  // namespace

std::int64_t Contender::gpus() const {
  std::int64_t sum = 0;
  for (const Pool& pool : pools) sum += pool.gpus();
  return sum;
}

ContenderView view(const Problem& problem, const Contender& contender) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  ContenderView out;
  double requests = -1;
  for (const Pool& pool : contender.pools) {
    const WorkerPrediction p = predict_worker(costs, pool.worker, pool.role);
    out.memory_bytes = std::max(out.memory_bytes, p.memory.total());
    // A pool with a queue before it is not planned fuller.
    const double able = static_cast<double>(pool.replicas) * p.rates.requests_per_s *
                        (pool.role == Role::Prefill ? kHighestLoad : 1);
    requests = requests < 0 ? able : std::min(requests, able);
    if (pool.role != Role::Decode) {
      out.ttft_s = p.rates.ttft_s;
      if (contender.pools.size() == 2) out.ttft_s += kv_transfer_seconds(costs, pool.worker);
      out.prefill = p.prefill;
    }
    if (pool.role != Role::Prefill) {
      out.tpot_s = p.rates.tpot_s;
      out.decode = p.decode;
    }
    out.token += token_cost(problem.workload, pool, p);
    out.predictions.push_back(p);
  }
  out.fits = out.memory_bytes <= problem.memory_limit();
  out.tokens_per_s_per_gpu =
      requests * static_cast<double>(problem.workload.osl) / static_cast<double>(contender.gpus());
  // One pool is never idle.
  if (contender.pools.size() == 2) {
    out.token.add(Bound::Bubble, 1 / out.tokens_per_s_per_gpu - out.token.seconds);
  }
  return out;
}

Comparison compare_plans(const Problem& problem, Contender first, Contender second) {
  Comparison c;
  c.first = std::move(first);
  c.second = std::move(second);
  c.a = view(problem, c.first);
  c.b = view(problem, c.second);
  c.prefill_difference = minus(c.b.prefill, c.a.prefill);
  c.decode_difference = minus(c.b.decode, c.a.decode);
  c.token_difference = minus(c.b.token, c.a.token);
  find_flips(
      "requests at once", 1, kMostRequests,
      [&](std::int64_t n) {
        return std::pair(per_gpu_at_requests(problem, c.first, n),
                         per_gpu_at_requests(problem, c.second, n));
      },
      c.flips);
  const ModelShape& model = problem.model;
  const std::int64_t longest =
      model.max_positions > 0 ? model.max_positions - problem.workload.osl : kLongestPrompt;
  if (longest > kShortestPrompt) {
    find_flips(
        "prompt tokens", kShortestPrompt, longest,
        [&](std::int64_t isl) {
          return std::pair(per_gpu_at_prompt(problem, c.first, isl),
                           per_gpu_at_prompt(problem, c.second, isl));
        },
        c.flips);
  }
  add_sentences(problem, c);
  return c;
}

std::string plan_explain(const Problem& problem, const Comparison& c) {
  std::string out =
      fmt::format("# {} against {}\n\n", markdown_cell(c.first.name), markdown_cell(c.second.name));
  out += fmt::format("{} on {}, {} prompt and {} generated tokens.\n\n",
                     markdown_cell(problem.model.name), markdown_cell(problem.cluster.gpu.name),
                     problem.workload.isl, problem.workload.osl);
  for (const Contender* contender : {&c.first, &c.second}) {
    out += fmt::format("- {}: {}\n", markdown_cell(contender->name),
                       describe(Deployment{contender->pools, {}}));
  }
  out += "\n## Why\n\n";
  for (const std::string& sentence : c.sentences) out += "- " + markdown_cell(sentence) + ".\n";
  out += "\n## Both, as predicted\n\n" + numbers_table(problem, c);
  out +=
      "## Where the difference comes from\n\nSeconds of a GPU for one generated token, prompts "
      "included:\n\n" +
      difference_table(c, &ContenderView::token, c.token_difference);
  out += "One decode step on the slowest stage:\n\n" +
         difference_table(c, &ContenderView::decode, c.decode_difference);
  out += "One prefill pass on the slowest stage:\n\n" +
         difference_table(c, &ContenderView::prefill, c.prefill_difference);
  out +=
      "## Where the order turns\n\nBy tokens/s per GPU; a plan that does not fit gives "
      "none.\n\n";
  for (const Flip& flip : c.flips) {
    out += fmt::format("- From {} {} on, {} is ahead.\n", flip.at, flip.axis,
                       markdown_cell((flip.second_above ? c.second : c.first).name));
  }
  if (c.flips.empty()) {
    out += fmt::format(
        "Nowhere between 1 and {} requests at once, nor for longer or shorter "
        "prompts that the model takes.\n",
        kMostRequests);
  }
  return out + "\n";
}

}  // namespace pentafold
