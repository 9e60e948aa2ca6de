#include "plan/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace pentafold {
namespace {

// "tp 3 does not divide 8 heads"; none if it does.
std::optional<std::string> must_divide(const std::string& degree, std::int64_t ways, std::int64_t n,
                                       const char* what) {
  if (n % ways == 0) return std::nullopt;
  return fmt::format("{} does not divide {} {}", degree, n, what);
}

std::optional<std::string> tensor_failure(const ModelShape& model, const std::string& degree,
                                          std::int64_t ways) {
  for (const LayerShape& kind : model.kinds) {
    if (kind.mixer.kind != MixerKind::None && kind.mixer.heads > 0) {
      if (auto bad = must_divide(degree, ways, kind.mixer.heads, "heads")) return bad;
    }
    for (const auto& [hidden, what] :
         {std::pair(kind.ffn.dense_hidden, "canonical leaves of the dense MLP"),
          std::pair(kind.ffn.shared_hidden, "canonical leaves of the shared expert")}) {
      if (hidden == 0) continue;
      if (auto bad = must_divide(degree, ways, ModelSpec::mlp_leaves(hidden), what)) return bad;
    }
  }
  if (model.vocab < ways) {
    return fmt::format("{} is more than the vocabulary of {}", degree, model.vocab);
  }
  return std::nullopt;
}

std::optional<std::string> expert_failure(const ModelShape& model, const Worker& w) {
  if (!expert_degree_fits(model, w.etp)) {
    return fmt::format("etp = {} does not divide the canonical leaves of an expert's hidden width",
                       w.etp);
  }
  for (const LayerShape& kind : model.kinds) {
    const std::int64_t experts = kind.ffn.experts;
    if (experts == 0) continue;
    if ((experts + w.redundant) % w.ep != 0) {
      return fmt::format("ep = {} does not divide {} experts and {} redundant copies", w.ep,
                         experts, w.redundant);
    }
    // A second copy in the same group would serve nobody.
    if (w.redundant > (w.ep - 1) * experts) {
      return fmt::format("ep = {} groups have no room for {} redundant copies of {} experts", w.ep,
                         w.redundant, experts);
    }
  }
  return std::nullopt;
}

// Where the experts' copies live when some are held twice: slots in order, as many in each group,
// the extra ones after the last expert, so that two copies never meet in one group.
std::vector<ExplicitPlacement> redundant_placement(const Worker& worker, std::int64_t experts) {
  std::vector<ExplicitPlacement> table(static_cast<std::size_t>(experts));
  const std::int64_t slots = experts + worker.redundant;
  const std::int64_t per_group = (slots + worker.ep - 1) / worker.ep;
  for (std::int64_t e = 0; e < experts; ++e) table[static_cast<std::size_t>(e)].expert = e;
  for (std::int64_t x = 0; x < worker.edp(); ++x) {
    for (std::int64_t slot = 0; slot < slots; ++slot) {
      ExpertCopy copy;
      const std::int64_t group = x * worker.ep + slot / per_group;
      for (std::int64_t i = 0; i < worker.etp; ++i) {
        copy.ranks.push_back(static_cast<std::int32_t>(group * worker.etp + i));
      }
      table[static_cast<std::size_t>(slot % experts)].copies.push_back(std::move(copy));
    }
  }
  return table;
}

// Live copies of the layer that has most, beyond one for each expert in each repeat.
std::int64_t redundant_copies(const StagePlan& stage, std::int64_t experts) {
  std::map<std::int64_t, std::int64_t> live;  // by layer; -1: of all layers
  for (const ExplicitPlacement& entry : stage.explicit_placement) {
    live[entry.layer] +=
        std::ranges::count_if(entry.copies, [](const ExpertCopy& copy) { return !copy.backup; });
  }
  const std::int64_t everywhere = live[-1];
  std::int64_t most = everywhere;
  for (const auto& [layer, copies] : live) {
    if (layer >= 0) most = std::max(most, everywhere + copies);
  }
  return std::max<std::int64_t>(most / stage.edp() - experts, 0);
}

}  // namespace

std::string describe(const Worker& w) {
  std::string text =
      fmt::format("pp{} dp{} sp{} tp{} ep{} etp{}", w.pp(), w.dp, w.sp, w.tp, w.ep, w.etp);
  if (w.redundant > 0) text += fmt::format(" +{} copies", w.redundant);
  text += fmt::format(", batch {} x {}", w.dp, w.batch);
  if (w.chunk > 1)
    text += fmt::format(", chunk {}", w.chunk);  // workers that only decode have none
  return text + fmt::format(", {}", to_string(w.precision));
}

bool tensor_degree_fits(const ModelShape& model, std::int64_t degree) {
  return !tensor_failure(model, "", degree);
}

bool expert_degree_fits(const ModelShape& model, std::int64_t etp) {
  return std::ranges::all_of(model.kinds, [&](const LayerShape& kind) {
    return kind.ffn.experts == 0 || ModelSpec::mlp_leaves(kind.ffn.expert_hidden) % etp == 0;
  });
}

std::optional<std::string> folding_failure(const ModelShape& model, const Worker& w) {
  std::int64_t layers = 0;
  for (const std::int64_t n : w.stage_layers) {
    if (n < 1) return "a stage holds no layer";
    layers += n;
  }
  if (layers != model.num_layers()) {
    return fmt::format("the stages hold {} layers in all, the model has {}", layers,
                       model.num_layers());
  }
  const std::string degree =
      w.sp == 1 ? fmt::format("tp = {}", w.tp)
                : fmt::format("tp x sp = {} x {} = {}", w.tp, w.sp, w.tensor_ranks());
  if (auto bad = tensor_failure(model, degree, w.tensor_ranks())) return bad;
  if (w.stage_ranks() % (w.ep * w.etp) != 0) {
    return fmt::format(
        "the expert mesh ep x etp = {} x {} does not fold onto the {} ranks of a "
        "stage",
        w.ep, w.etp, w.stage_ranks());
  }
  return expert_failure(model, w);
}

Plan plan_of(const Worker& worker, const ModelShape& model, std::int64_t replicas) {
  Plan plan;
  plan.replicas = replicas;
  for (const std::int64_t layers : worker.stage_layers) {
    StagePlan stage;
    stage.layers = layers;
    stage.dp = worker.dp;
    stage.sp = worker.sp;
    stage.tp = worker.tp;
    stage.ep = worker.ep;
    stage.etp = worker.etp;
    if (worker.redundant > 0 && model.experts() > 0) {
      stage.placement = PlacementStyle::Explicit;
      stage.explicit_placement = redundant_placement(worker, model.experts());
    }
    plan.stages.push_back(std::move(stage));
  }
  plan.microbatches = worker.microbatches;
  plan.prefill_chunk = worker.chunk;
  plan.max_batch = worker.batch * worker.dp;
  plan.precision = worker.precision;
  return plan;
}

Result<Worker> worker_of(const Plan& plan, const ModelShape& model) {
  if (plan.stages.empty()) {
    return make_error(ErrorCode::InvalidSpec, "the plan has no pipeline stage", plan.file);
  }
  const StagePlan& first = plan.stages.front();
  if (std::min({first.dp, first.sp, first.tp, first.ep, first.etp}) < 1 || first.edp() < 1) {
    return make_error(ErrorCode::InfeasiblePlan,
                      "degrees are at least 1, and ep x etp at most dp x sp x tp", plan.file,
                      first.line);
  }
  Worker w;
  for (const StagePlan& stage : plan.stages) {
    if (stage.dp != first.dp || stage.sp != first.sp || stage.tp != first.tp ||
        stage.ep != first.ep || stage.etp != first.etp) {
      return make_error(ErrorCode::Unsupported,
                        "stages with different degrees are not priced; give all stages the same",
                        plan.file, stage.line);
    }
    w.stage_layers.push_back(stage.layers);
    w.redundant = std::max(w.redundant, redundant_copies(stage, model.experts()));
  }
  w.dp = first.dp;
  w.sp = first.sp;
  w.tp = first.tp;
  w.ep = first.ep;
  w.etp = first.etp;
  w.microbatches = plan.microbatches;
  w.chunk = plan.prefill_chunk;
  w.batch = std::max<std::int64_t>(plan.max_batch / w.dp, 1);
  w.precision = plan.precision.value_or(model.stored);
  if (plan.kv) w.precision.kv = *plan.kv;
  return w;
}

}  // namespace pentafold
