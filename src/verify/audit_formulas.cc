#include "verify/audit_formulas.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::array kFormulas = {
    Formula{"params", "total", {"total_params", ""}, true, "all parameters, from the dimensions"},
    Formula{"params", "active", {"active_params", ""}, true, "parameters that one token uses"},
    Formula{"params", "expert", {"expert_params", ""}, true, "matrices x d x hidden width"},
    Formula{"params", "layer", {"layer_params", ""}, true, "attention, router, experts, norms"},
    Formula{"params", "attention", {"attention_params", ""}, true, "q, k, v and o"},
    Formula{"memory", "weights", {"weight_bytes", ""}, false, "all weights"},
    Formula{"memory", "expert", {"expert_params * bytes_per_param", ""}, true, "one expert"},
    Formula{"memory", "layer", {"layer_params * bytes_per_param", ""}, false, "one layer"},
    Formula{"memory",
            "weights_per_gpu",
            {"weights_per_gpu", ""},
            false,
            "a stage's layers, attention cut by tp, experts by ep x etp"},
    Formula{"memory",
            "shared_per_gpu",
            {"shared_per_gpu", ""},
            false,
            "what is no expert, of a stage's layers, cut by tp, and the embeddings"},
    Formula{"memory", "kv_per_token", {"kv_bytes_per_token", ""}, true, "keys and values"},
    Formula{"memory", "kv_total", {"kv_total", ""}, true, "of the batch at the longest sequence"},
    Formula{"memory", "kv_per_gpu", {"kv_per_gpu", ""}, true, "of the batch, over a replica"},
    Formula{"memory", "headroom", {"memory - used", ""}, false, "capacity less what is used"},
    Formula{"memory", "per_gpu", {"", ""}, false, "held by one device"},
    Formula{"gpus", "total", {"gpus_folded", ""}, true, "replicas x stages x ranks of a stage"},
    Formula{"gpus", "per_stage", {"stage_ranks", ""}, true, "ranks of a pipeline stage"},
    Formula{"gpus", "per_replica", {"gpus_per_replica", ""}, true, "stages x ranks of a stage"},
    Formula{"gpus", "unused", {"gpus_available - gpus", ""}, true, "available less used"},
    Formula{"gpus", "per_expert", {"etp", "gpus / experts_total"}, true, "that share an expert"},
    Formula{"gpus", "per_tensor_group", {"tp", ""}, true, "ranks that share heads"},
    Formula{"count", "experts_total", {"layers * experts", ""}, true, "layers x experts"},
    Formula{"count",
            "experts_per_gpu",
            {"experts_per_gpu", "experts_per_gpu_of_a_layer"},
            true,
            "of all layers of the stage, or of one layer"},
    Formula{"count", "experts_per_stage", {"experts_total / pp", ""}, true, "of a stage's layers"},
    Formula{"count", "nodes", {"gpus / gpus_per_node", ""}, true, "devices over those of a node"},
    Formula{"count", "layers_per_stage", {"layers / pp", ""}, true, "layers over stages"},
    Formula{"count", "heads_per_gpu", {"heads / tp", ""}, true, "heads over tensor ranks"},
    Formula{"count", "parts", {"parts", ""}, true, "stages x parts of a stage: pp x ep x etp"},
    Formula{"count",
            "tokens_per_gpu",
            {"max_tokens / sp", ""},
            true,
            "of a sequence: sequence parallelism cuts tokens, tensor parallelism does not"},
    Formula{"count",
            "sequences_per_replica",
            {"batch / replicas", "batch / (replicas * dp)"},
            true,
            "batch over replicas"},
    Formula{"hardware", "effective_flops", {"gpu_flops * mfu", ""}, true, "peak x MFU"},
    Formula{"hardware",
            "effective_bandwidth",
            {"bandwidth * bandwidth_utilisation", ""},
            true,
            "peak x utilisation"},
    Formula{"hardware",
            "total_flops",
            {"gpus * effective_flops", "gpus * gpu_flops"},
            true,
            "over all devices"},
    Formula{"hardware",
            "flops_per_token",
            {"flops_per_token", ""},
            false,
            "two operations for each parameter that a token multiplies"},
    Formula{"hardware",
            "flops_per_gpu",
            {"per_gpu * flops_per_token", ""},
            false,
            "tokens per second and device x operations per token"},
    Formula{"throughput",
            "compute_bound",
            {"effective_flops / operations", ""},
            true,
            "effective operations per second over operations per token"},
    Formula{"throughput", "total", {"per_gpu * gpus", ""}, true, "per device x devices"},
    Formula{"throughput", "per_gpu", {"total / gpus", ""}, true, "total over devices"},
    Formula{"throughput",
            "scaled",
            {"from", ""},
            true,
            "more devices raise the total, not what one device does"},
    Formula{"throughput",
            "sequences",
            {"tokens_per_s / tokens", ""},
            true,
            "tokens per second over tokens of a sequence"},
    Formula{"latency",
            "forward",
            {"layers * per_layer", ""},
            true,
            "a token passes all layers, however they are staged"},
    Formula{"throughput",
            "in_flight",
            {"sequences / tpot", ""},
            true,
            "each sequence in flight yields a token every TPOT"},
    Formula{"latency", "read", {"bytes / effective_bandwidth", ""}, true, "bytes over bandwidth"},
    Formula{"latency", "transfer", {"bytes / link_bandwidth", ""}, true, "bytes over the link"},
    Formula{"latency", "ttft", {"", ""}, true, "time to the first token"},
    Formula{"latency", "tpot", {"", ""}, true, "time for each further token"},
    Formula{"utilisation", "memory", {"used / memory", ""}, true, "used over capacity"},
    Formula{"utilisation", "headroom", {"1 - used / memory", ""}, true, "what is left"},
    Formula{"utilisation", "gpus", {"used / gpus_available", ""}, true, "used over available"},
    Formula{"utilisation",
            "bubble",
            {"(pp - 1) / (microbatches + pp - 1)", ""},
            true,
            "(p - 1) / (m + p - 1)"},
    Formula{"utilisation",
            "mfu",
            {"per_gpu * flops_per_token / gpu_flops", ""},
            false,
            "operations done over peak"},
    Formula{"utilisation", "of_bound", {"achieved / bound", ""}, true, "achieved over the bound"},
    Formula{"utilisation", "active_experts", {"top_k / experts", ""}, true, "top_k of experts"},
    Formula{"utilisation", "share", {"part / whole", ""}, true, "part of whole"},
    Formula{"ratio", "improvement", {"to / from - 1", ""}, true, "gained over before"},
    Formula{"ratio", "multiple", {"to / from", ""}, true, "after over before"},
    Formula{"ratio", "speedup", {"from / to", ""}, true, "time before over time after"},
    Formula{"ratio", "reduction", {"1 - to / from", ""}, true, "saved over before"},
    Formula{"balance", "efficiency", {"mean / busiest", ""}, true, "mean over busiest"},
    Formula{"balance", "cv", {"deviation / mean", ""}, true, "deviation over mean"},
    Formula{"communication", "overhead", {"", ""}, true, "share of a pass"},
    Formula{"communication",
            "tensor_volume",
            {"2 * layers * tokens * d * bytes_per_param", "2 * tokens * d * bytes_per_param"},
            true,
            "two sums a layer of a row for each token; of all layers, or of one"},
    Formula{"communication",
            "expert_volume",
            {"2 * layers * tokens * top_k * d * bytes_per_param",
             "2 * tokens * top_k * d * bytes_per_param"},
            true,
            "out and back to top_k experts for each token; of all layers, or of one"},
    Formula{"communication",
            "pipeline_volume",
            {"(pp - 1) * tokens * d * bytes_per_param", "tokens * d * bytes_per_param"},
            true,
            "a row for each token; of all hand-overs, or of one"},
    Formula{"communication", "link_bandwidth", {"link_bandwidth", ""}, true, "between devices"},
    Formula{"communication", "expert_exchange", {"", ""}, true, "how often experts exchange"},
    Formula{"communication", "tensor_reduce", {"", ""}, true, "how often shards are added"},
    Formula{"communication", "pipeline_messages", {"pp - 1", ""}, true, "hand-overs of a pass"},
    Formula{"communication", "replica_messages", {"0", ""}, true, "replicas never talk"},
};

constexpr std::array kBounds = {
    Bound{"throughput", "", "prefill", BoundSide::AtMost, "effective_flops / least_flops_per_token",
          "operations: each token needs two for each parameter that it uses"},
    Bound{"throughput", "", "decode", BoundSide::AtMost,
          "min(effective_flops / least_flops_per_token, effective_bandwidth * batch_per_replica / "
          "least_active_bytes)",
          "memory: a step reads at least the weights that one token uses and yields one token for "
          "each sequence of the batch"},
    Bound{"throughput", "", "", BoundSide::AtMost, "effective_flops / least_flops_per_token",
          "operations: each token needs two for each parameter that it uses"},
    Bound{"latency", "ttft", "", BoundSide::AtLeast,
          "tokens * least_flops_per_token / (gpus_per_replica * effective_flops)",
          "operations of one prompt on all devices of a replica"},
    Bound{"latency", "tpot", "", BoundSide::AtLeast,
          "least_active_bytes / (gpus_per_replica * effective_bandwidth)",
          "bytes of the weights that one token uses, over the bandwidth of a replica"},
    Bound{"memory", "per_gpu", "", BoundSide::AtMost, "memory", "capacity of a device"},
    Bound{"memory", "weights_per_gpu", "", BoundSide::AtMost, "memory", "capacity of a device"},
    Bound{"memory", "kv_per_gpu", "", BoundSide::AtMost, "memory", "capacity of a device"},
    Bound{"params", "active", "", BoundSide::AtMost, "total_params", "no more than there are"},
    Bound{"utilisation", "", "", BoundSide::AtMost, "1", "a share is at most 100 %"},
    Bound{"balance", "efficiency", "", BoundSide::AtMost, "1", "a share is at most 100 %"},
    Bound{"communication", "overhead", "", BoundSide::AtMost, "1", "a share is at most 100 %"},
    Bound{"gpus", "total", "", BoundSide::AtMost, "gpus_available", "the devices there are"},
};

constexpr std::array<std::string_view, 8> kDegrees = {"pp", "tp",  "sp",       "dp",
                                                      "ep", "etp", "replicas", "fold"};

}  // namespace

std::span<const Formula> formulas() {
  return kFormulas;
}

bool is_formula_name(std::string_view name) {
  constexpr std::array<std::string_view, 19> kGiven = {
      "used",    "operations", "per_gpu",   "total",        "from",  "to",        "part",
      "whole",   "achieved",   "bound",     "bytes",        "tpot",  "sequences", "mean",
      "busiest", "deviation",  "per_layer", "tokens_per_s", "tokens"};
  return std::ranges::find(kGiven, name) != kGiven.end();
}

std::span<const Bound> bounds() {
  return kBounds;
}

Status check_formula_name(const std::string& kind, const std::string& of) {
  if (of.empty() || kind == "input") return ok_status();
  std::vector<std::string_view> known;
  for (const Formula& formula : kFormulas) {
    if (formula.kind == kind) known.push_back(formula.of);
  }
  if (kind == "degrees") known.assign(kDegrees.begin(), kDegrees.end());
  if (std::ranges::find(known, of) != known.end()) return ok_status();
  const std::string meant = nearest(of, known);
  std::string list;
  for (const std::string_view name : known)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  return make_error(ErrorCode::InvalidSpec,
                    fmt::format("{} claims know no {}; {}", kind, quote_text(of),
                                !meant.empty() ? fmt::format("did you mean \"{}\"?", meant)
                                : list.empty() ? "leave of: out"
                                               : fmt::format("of: is one of {}", list)));
}

}  // namespace pentafold
