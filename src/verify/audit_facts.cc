#include "verify/audit_facts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/split.h"
#include "verify/audit_claims.h"

namespace pentafold {
namespace {

constexpr std::array<std::pair<std::string_view, double>, 10> kUnitFacts = {{{"kB", 1e3},
                                                                             {"MB", 1e6},
                                                                             {"GB", 1e9},
                                                                             {"TB", 1e12},
                                                                             {"us", 1e-6},
                                                                             {"ms", 1e-3},
                                                                             {"GFLOP", 1e9},
                                                                             {"TFLOPS", 1e12},
                                                                             {"M", 1e6},
                                                                             {"B", 1e9}}};

constexpr std::array<std::string_view, 29> kDerived = {"total_params",
                                                       "active_params",
                                                       "expert_params",
                                                       "attention_params",
                                                       "layer_params",
                                                       "embedding_params",
                                                       "flops_per_token",
                                                       "least_flops_per_token",
                                                       "least_active_bytes",
                                                       "weight_bytes",
                                                       "kv_bytes_per_token",
                                                       "effective_flops",
                                                       "effective_bandwidth",
                                                       "ep_stage",
                                                       "stage_ranks",
                                                       "expert_ranks",
                                                       "gpus_folded",
                                                       "gpus_per_replica",
                                                       "layers_per_stage",
                                                       "parts",
                                                       "batch_per_replica",
                                                       "weights_per_gpu",
                                                       "shared_per_gpu",
                                                       "kv_total",
                                                       "kv_per_gpu",
                                                       "experts_total",
                                                       "experts_per_gpu",
                                                       "experts_per_gpu_of_a_layer",
                                                       "tokens"};

class Deriver {
 public:
  Deriver(const FactMap& inputs, Basis basis) : f_(inputs), basis_(basis) {}

  FactMap derive() {
    for (const auto& [name, value] : kUnitFacts) f_.emplace(name, value);
    derive_model();
    derive_hardware();
    derive_degrees();
    derive_placement();
    return std::move(f_);
  }

 private:
  bool has(std::initializer_list<const char*> names) const {
    return std::ranges::all_of(names, [&](const char* name) { return f_.contains(name); });
  }
  double at(const char* name) const { return f_.find(name)->second; }
  double at_or(const char* name, double other) const {
    const auto it = f_.find(name);
    return it == f_.end() ? other : it->second;
  }
  // A value given by the document, or by a claim, stays.
  void put(const char* name, double value) { f_.try_emplace(name, value); }

  ModelSpec model() const {
    const auto whole = [&](const char* name) { return static_cast<std::int64_t>(at_or(name, 0)); };
    ModelSpec m;
    m.vocab = whole("vocab");
    m.d = whole("d");
    m.heads = whole("heads");
    m.kv_heads = whole("kv_heads");
    m.head_dim = whole("head_dim");
    m.experts = whole("experts");
    m.top_k = whole("top_k");
    m.expert_hidden = whole("expert_hidden");
    m.dense_hidden = whole("dense_hidden");
    m.shared_hidden = whole("shared_hidden");
    m.gated_mlp = at_or("matrices", 3) == 3;
    m.layers.assign(static_cast<std::size_t>(whole("layers")), LayerSpec{m.experts > 0, 0});
    return m;
  }

  void derive_model() {
    if (!has({"layers", "d", "heads", "kv_heads", "head_dim"})) return declared_alone();
    if (at_or("experts", 0) > 0 ? !has({"top_k", "expert_hidden"}) : !has({"dense_hidden"})) return;
    const ModelSpec m = model();
    const ParamCounts counts = count_params(m);
    const auto total = static_cast<double>(counts.total);
    const double embedding = at_or("vocab", 0) * at("d");
    const bool declared = basis_ == Basis::Declared && has({"declared_total_params"});
    const double ratio = declared ? at("declared_total_params") / total : 1.0;
    const double matrices = at_or("matrices", 3);
    const double active = declared && has({"declared_active_params"})
                              ? at("declared_active_params")
                              : ratio * static_cast<double>(counts.active);
    put("total_params", total * ratio);
    put("active_params", active);
    put("embedding_params", 2 * embedding * ratio);
    put("layer_params", (total - 2 * embedding) / at("layers") * ratio);
    put("expert_params", matrices * at("d") * at_or("expert_hidden", 0) * ratio);
    put("attention_params", 2 * at("d") * at("head_dim") * (at("heads") + at("kv_heads")) * ratio);
    const double pairs = 2 * at("layers") * at("heads") * at("head_dim");
    put("flops_per_token", 2 * (active - embedding * ratio) + pairs * at_or("tokens", 0));
    // At least: everything in experts, and no attention.
    const double share = at_or("experts", 0) > 0 ? at("top_k") / at("experts") : 1.0;
    const double least =
        declared ? (has({"declared_active_params"}) ? at("declared_active_params")
                                                    : at("declared_total_params") * share)
                 : active - embedding;
    put("least_flops_per_token", 2 * least);
    derive_bytes(least);
  }

  // Nothing but a declared size.
  void declared_alone() {
    if (!has({"declared_total_params"})) return;
    const double total = at("declared_total_params");
    const double active = at_or("declared_active_params", total);
    put("total_params", total);
    if (has({"declared_active_params"}) || at_or("experts", 0) == 0) {
      put("active_params", active);
      put("flops_per_token", 2 * active);
      put("least_flops_per_token", 2 * active);
    }
    if (has({"bytes_per_param"})) put("weight_bytes", total * at("bytes_per_param"));
  }

  void derive_bytes(double least_active) {
    if (has({"bytes_per_param"})) {
      put("weight_bytes", at("total_params") * at("bytes_per_param"));
      put("least_active_bytes", least_active * at("bytes_per_param"));
    }
    if (!has({"bytes_per_kv"})) return;
    put("kv_bytes_per_token",
        2 * at("layers") * at("kv_heads") * at("head_dim") * at("bytes_per_kv"));
    if (!has({"batch", "max_tokens"})) return;
    put("kv_total", at("kv_bytes_per_token") * at("batch") * at("max_tokens"));
  }

  void derive_hardware() {
    if (has({"gpu_flops"})) put("effective_flops", at("gpu_flops") * at_or("mfu", 1));
    if (has({"bandwidth"})) {
      put("effective_bandwidth", at("bandwidth") * at_or("bandwidth_utilisation", 1));
    }
  }

  void derive_degrees() {
    const bool any = has({"tp"}) || has({"pp"}) || has({"ep"}) || has({"dp"}) || has({"sp"});
    if (!any) return;
    for (const char* name : {"pp", "tp", "sp", "etp", "replicas"}) put(name, 1);
    const double attention = at_or("dp", 1) * at("sp") * at("tp");
    double expert = 0;
    if (has({"ep"})) {
      put("ep_stage", at("ep") / (at_or("ep_spans_stages", 0) > 0 ? at("pp") : 1));
      put("expert_ranks", at("ep_stage") * at("etp"));
      expert = at("expert_ranks");
    }
    const double stages = at("replicas") * at("pp");
    const double folded = has({"dp"}) || expert == 0 ? attention : expert;
    put("gpus_folded", stages * folded);
    put("stage_ranks", has({"dp"}) || !has({"gpus"}) ? folded : at("gpus") / stages);
    put("gpus", stages * at("stage_ranks"));
    put("gpus_per_replica", at("pp") * at("stage_ranks"));
    put("parts", at("pp") * std::max(at("tp"), expert));
    if (has({"layers"})) put("layers_per_stage", at("layers") / at("pp"));
  }

  void derive_placement() {
    if (has({"experts", "layers"})) put("experts_total", at("experts") * at("layers"));
    if (!has({"stage_ranks"})) return;
    if (has({"experts_total", "ep_stage"})) {
      put("experts_per_gpu", at("experts_total") / at("pp") / at("stage_ranks"));
      put("experts_per_gpu_of_a_layer", at("experts") / at("expert_ranks"));
    }
    if (has({"batch"})) {
      put("batch_per_replica", at("batch") / at("replicas"));
      if (has({"kv_total"})) {
        put("kv_per_gpu", at("kv_total") / at("replicas") / at("gpus_per_replica"));
      }
    }
    if (!has({"layer_params", "bytes_per_param"})) return;
    const double experts = at_or("experts", 0) * at("expert_params");
    const double others = at("layer_params") - experts;
    // Embedding and head stand at the ends of the pipeline.
    const double ends = at("embedding_params") / (at("pp") > 1 ? 2 : 1) / at("tp");
    const double shared =
        (at("layers_per_stage") * others / at("tp") + ends) * at("bytes_per_param");
    put("shared_per_gpu", shared);
    put("weights_per_gpu", shared + at("layers_per_stage") * experts * at("bytes_per_param") /
                                        at_or("expert_ranks", at("tp")));
  }

  FactMap f_;
  Basis basis_;
};

}  // namespace

FactMap derive_facts(const FactMap& inputs, Basis basis) {
  return Deriver(inputs, basis).derive();
}

bool declares_another_model(const FactMap& inputs) {
  const auto declared = inputs.find("declared_total_params");
  if (declared == inputs.end()) return false;
  const FactMap facts = derive_facts(inputs, Basis::Dimensions);
  const auto total = facts.find("total_params");
  constexpr double kSame = 0.02;
  return total != facts.end() &&
         std::abs(total->second - declared->second) > kSame * declared->second;
}

bool is_fact_name(std::string_view name) {
  for (const auto& [unit, value] : kUnitFacts) {
    if (unit == name) return true;
  }
  for (const InputName& input : input_names()) {
    if (input.name == name) return true;
  }
  return std::ranges::find(kDerived, name) != kDerived.end();
}

std::optional<FoldInput> fold_input(const FactMap& facts) {
  const auto whole = [&](const char* name) -> std::int64_t {
    const auto it = facts.find(name);
    return it == facts.end() ? 0 : static_cast<std::int64_t>(it->second);
  };
  for (const char* name : {"layers", "heads", "stage_ranks", "pp"}) {
    if (whole(name) < 1) return std::nullopt;
  }
  FoldInput out;
  out.model.heads = whole("heads");
  out.model.vocab = std::max<std::int64_t>(whole("vocab"), 1 << 24);
  out.model.experts = whole("experts");
  out.model.expert_hidden = std::max<std::int64_t>(whole("expert_hidden"), 1);
  out.model.layers.assign(static_cast<std::size_t>(whole("layers")),
                          LayerSpec{out.model.experts > 0, 0});
  const std::int64_t inner = std::max<std::int64_t>(1, whole("sp") * whole("tp"));
  for (std::int64_t i = 0; i < whole("pp") && i < whole("layers"); ++i) {
    StagePlan stage;
    stage.layers = split(whole("layers"), whole("pp"), i).size();
    stage.sp = std::max<std::int64_t>(1, whole("sp"));
    stage.tp = std::max<std::int64_t>(1, whole("tp"));
    stage.dp =
        std::max<std::int64_t>(1, whole("dp") > 0 ? whole("dp") : whole("stage_ranks") / inner);
    stage.ep = std::max<std::int64_t>(1, whole("ep_stage"));
    stage.etp = std::max<std::int64_t>(1, whole("etp"));
    if (stage.ep > out.model.experts) stage.placement = PlacementStyle::Spread;
    out.plan.stages.push_back(stage);
  }
  out.plan.replicas = std::max<std::int64_t>(1, whole("replicas"));
  return out;
}

}  // namespace pentafold
