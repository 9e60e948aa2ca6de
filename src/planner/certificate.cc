#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "plan/capacity.h"
#include "planner/why.h"
#include "predict/reach.h"

namespace pentafold {
namespace {

// What one token must read or compute, summed over the layers.
struct TokenNeeds {
  double dense_bytes = 0;   // attention, dense and shared weights, head
  double expert_bytes = 0;  // of top_k experts
  double dense_flops = 0;
  double expert_flops = 0;
  std::int64_t mixers = 0;      // layers with attention
  std::int64_t moe_layers = 0;  //
};

TokenNeeds token_needs(const ModelShape& model, const Precision& precision) {
  TokenNeeds needs;
  const auto add = [&](const WeightGroup& group, double used) {
    if (!group.gemm) return;
    const double params = static_cast<double>(group.params) * used;
    const bool expert = group.part == WeightPart::Expert;
    (expert ? needs.expert_bytes : needs.dense_bytes) +=
        params * bytes_per_value(precision.of(group.part));
    (expert ? needs.expert_flops : needs.dense_flops) += 2 * params;
  };
  for (const std::int32_t k : model.layers) {
    const LayerShape& kind = model.kinds[static_cast<std::size_t>(k)];
    const double used = kind.ffn.experts > 0 ? static_cast<double>(kind.ffn.top_k) /
                                                   static_cast<double>(kind.ffn.experts)
                                             : 0;
    for (const WeightGroup& group : kind.weights) {
      add(group, group.part == WeightPart::Expert ? used : 1);
    }
    if (kind.mixer.kind != MixerKind::None) ++needs.mixers;
    if (kind.ffn.experts > 0) ++needs.moe_layers;
  }
  for (const WeightGroup& group : model.outer) add(group, 1);
  return needs;
}

class Bounds {
 public:
  explicit Bounds(const Problem& problem)
      : problem_(problem),
        gpus_(static_cast<double>(problem.gpu_limit())),
        precision_(problem.precisions.front()),
        needs_(token_needs(problem.model, precision_)) {
    const Operators operators(problem.cluster.gpu, problem.cluster.links,
                              kernel_source_of(problem.engine.name));
    reach_ = reach_of(operators, problem.cluster.gpu, problem.engine, problem.model, precision_);
    dense_rate_ = std::max(reach_.linear_flops, reach_.other_flops);
    const CommGroup two{2, 2, 0};
    reduce_latency_ = operators.all_reduce(two, 1).seconds * problem.engine.links;
    // One byte of one row.
    const ExpertExchange none{1, 1, 1, 1};
    const double routed = std::min(operators.dispatch(two, none).seconds,
                                   operators.dispatch_low_latency(two, none).seconds) +
                          std::min(operators.combine(two, none).seconds,
                                   operators.combine_low_latency(two, none).seconds);
    const double gathered =
        std::min(operators.all_reduce(two, 1).seconds,
                 operators.all_gather(two, 1).seconds + operators.reduce_scatter(two, 1).seconds);
    exchange_latency_ = problem.engine.links *
                        (problem.engine.exchange == RowExchange::Gathered ? gathered : routed);
  }

  Certificate memory() const {
    const double weights = weight_bytes(problem_.model, precision_);
    const double sequence = kv_bytes_of_sequence(problem_.model, precision_.kv,
                                                 problem_.workload.isl + problem_.workload.osl);
    Certificate out{Limit::Memory,
                    problem_.memory_limit(),
                    (weights + sequence) / gpus_ + kRuntimeReserveBytes,
                    {}};
    out.terms = {
        {fmt::format("{} of weights over {} GPUs", format_bytes(weights), problem_.gpu_limit()),
         weights / gpus_, Bound::Hbm},
        {fmt::format("{} of cache for one sequence", format_bytes(sequence)), sequence / gpus_,
         Bound::Kv},
        {"runtime reserve", kRuntimeReserveBytes, Bound::Fixed}};
    return out;
  }

  // A layer's work is done by one GPU without a collective, or by all with at least one.
  Certificate tpot() const {
    Certificate out{Limit::Tpot, problem_.targets.tpot_s.value_or(0), 0, {}};
    const auto layers = static_cast<double>(problem_.model.num_layers());
    out.terms.push_back(
        {fmt::format("{} layers x {} and {} a step", problem_.model.num_layers(),
                     format_seconds(problem_.engine.layer_s),
                     format_seconds(problem_.engine.step_s)),
         layers * problem_.engine.layer_s + problem_.engine.step_s + problem_.engine.request_s,
         Bound::Fixed});
    add_weights(out, needs_.dense_bytes, static_cast<double>(needs_.mixers) * reduce_latency_,
                "weights outside the experts");
    add_weights(out, needs_.expert_bytes,
                static_cast<double>(needs_.moe_layers) * exchange_latency_,
                "weights of one token's experts");
    finish(out);
    return out;
  }

  Certificate ttft() const {
    Certificate out{Limit::Ttft, problem_.targets.ttft_s.value_or(0), 0, {}};
    const auto layers = static_cast<double>(problem_.model.num_layers());
    out.terms.push_back({fmt::format("{} layers x {} and {} a step", problem_.model.num_layers(),
                                     format_seconds(problem_.engine.layer_s),
                                     format_seconds(problem_.engine.step_s)),
                         layers * problem_.engine.layer_s + problem_.engine.step_s, Bound::Fixed});
    const double flops = prompt_flops_seconds();
    out.terms.push_back({fmt::format("operations of {} prompt tokens on {} GPUs",
                                     problem_.workload.isl, problem_.gpu_limit()),
                         flops / gpus_, Bound::Compute});
    finish(out);
    return out;
  }

  // Per GPU nothing is shared out: each token costs its operations somewhere, and its cache reads.
  Certificate tokens_per_gpu() const {
    Certificate out{Limit::TokensPerGpu, problem_.targets.tokens_per_s_per_gpu.value_or(0), 0, {}};
    const auto osl = static_cast<double>(std::max<std::int64_t>(problem_.workload.osl, 1));
    const double decode_part = (osl - 1) / osl;
    out.terms = {
        {"operations of the token itself",
         decode_part *
             (needs_.dense_flops / dense_rate_ + needs_.expert_flops / reach_.expert_flops),
         Bound::Compute},
        {fmt::format("its share of the {} prompt tokens' operations", problem_.workload.isl),
         prompt_flops_seconds() / osl, Bound::Compute},
        {"reading the cache", decode_part * cache_read_seconds(), Bound::Kv}};
    finish(out);
    out.bound = 1 / out.bound;
    return out;
  }

  Certificate prefill_tokens_per_gpu() const {
    Certificate out{Limit::PrefillTokensPerGpu,
                    problem_.targets.prefill_tokens_per_s_per_gpu.value_or(0),
                    0,
                    {}};
    out.terms = {{fmt::format("operations of a token in a prompt of {}", problem_.workload.isl),
                  prompt_flops_seconds() / static_cast<double>(problem_.workload.isl),
                  Bound::Compute}};
    finish(out);
    out.bound = 1 / out.bound;
    return out;
  }

 private:
  void add_weights(Certificate& out, double bytes, double latency, const char* what) const {
    if (bytes <= 0) return;
    const double alone = bytes / std::max(reach_.weight_bytes_per_s, reach_.expert_bytes_per_s);
    const double shared = alone / gpus_ + latency;
    if (gpus_ > 1 && shared < alone) {
      out.terms.push_back({fmt::format("read {} of {} with {} GPUs", format_bytes(bytes), what,
                                       problem_.gpu_limit()),
                           alone / gpus_, Bound::Hbm});
      out.terms.push_back(
          {fmt::format("collectives to share the {}", what), latency, Bound::Latency});
    } else {
      out.terms.push_back(
          {fmt::format("read {} of {} on one GPU", format_bytes(bytes), what), alone, Bound::Hbm});
    }
  }

  double prompt_flops_seconds() const {
    const auto isl = static_cast<double>(problem_.workload.isl);
    double attention = 0;
    for (const std::int32_t k : problem_.model.layers) {
      const MixerShape& mixer = problem_.model.kinds[static_cast<std::size_t>(k)].mixer;
      const auto pairs = [&](std::int64_t reach) {
        const double r = reach > 0 ? std::min(static_cast<double>(reach), isl) : isl;
        return r * (r + 1) / 2 + (isl - r) * r;
      };
      const double kept = pairs(mixer.window);
      const double attended = mixer.selected > 0 ? std::min(kept, pairs(mixer.selected)) : kept;
      attention += attended * mixer.prefill_pair_flops + kept * mixer.index_pair_flops +
                   isl * mixer.token_flops;
    }
    double head = 0;
    for (const WeightGroup& group : problem_.model.outer) {
      if (group.part == WeightPart::Head) head += 2 * static_cast<double>(group.params);
    }
    // Only the last token of a prompt needs logits.
    return isl * ((needs_.dense_flops - head) / dense_rate_ +
                  needs_.expert_flops / reach_.expert_flops) +
           attention / reach_.attention_flops;
  }

  double cache_read_seconds() const {
    const double context = static_cast<double>(problem_.workload.isl) +
                           static_cast<double>(problem_.workload.osl - 1) / 2;
    double bytes = 0;
    for (const std::int32_t k : problem_.model.layers) {
      const MixerShape& mixer = problem_.model.kinds[static_cast<std::size_t>(k)].mixer;
      double keys = context;
      if (mixer.window > 0) keys = std::min(keys, static_cast<double>(mixer.window));
      if (mixer.selected > 0) keys = std::min(keys, static_cast<double>(mixer.selected));
      bytes += keys * static_cast<double>(mixer.kv_values) * bytes_per_value(precision_.kv);
    }
    return bytes / reach_.kv_bytes_per_s;
  }

  static void finish(Certificate& out) {
    for (const BoundTerm& term : out.terms) out.bound += term.seconds;
    std::ranges::stable_sort(out.terms, std::greater<>(), &BoundTerm::seconds);
  }

  const Problem& problem_;
  double gpus_;
  Precision precision_;
  TokenNeeds needs_;
  Reach reach_;
  double dense_rate_ = 0;
  double reduce_latency_ = 0;
  double exchange_latency_ = 0;
};

}  // namespace

bool Certificate::proves() const {
  if (target <= 0) return false;
  const bool upper = limit == Limit::Memory || limit == Limit::Ttft || limit == Limit::Tpot;
  return upper ? bound > target : bound < target;
}

std::vector<Certificate> certificates(const Problem& problem) {
  const Bounds bounds(problem);
  const Targets& targets = problem.targets;
  std::vector<Certificate> out{bounds.memory()};
  if (targets.ttft_s) out.push_back(bounds.ttft());
  if (targets.tpot_s && problem.workload.osl > 1) out.push_back(bounds.tpot());
  if (targets.tokens_per_s_per_gpu) out.push_back(bounds.tokens_per_gpu());
  if (targets.prefill_tokens_per_s_per_gpu) out.push_back(bounds.prefill_tokens_per_gpu());
  return out;
}

std::string sentence(const Certificate& c) {
  std::string terms;
  const bool rate = c.limit == Limit::TokensPerGpu || c.limit == Limit::PrefillTokensPerGpu;
  for (const BoundTerm& term : c.terms) {
    if (term.seconds <= 0) continue;
    terms += fmt::format(
        "{}{}: {}", terms.empty() ? "" : "; ", term.what,
        c.limit == Limit::Memory ? format_bytes(term.seconds) : format_seconds(term.seconds));
  }
  const char* than = rate ? "more" : "less";
  return fmt::format(
      "no plan has {} {} than {}{} ({}{})", than, to_string(c.limit),
      format_limit(c.limit, c.bound),
      c.target > 0 ? fmt::format(", the limit is {}", format_limit(c.limit, c.target)) : "",
      rate ? "per token: " : "", terms);
}

}  // namespace pentafold
