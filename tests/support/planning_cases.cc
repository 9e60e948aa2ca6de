#include "support/planning_cases.h"

#include <fmt/format.h>

#include "spec/load_shape.h"

namespace pentafold::testing {
namespace {

std::vector<std::int64_t> cut_layers(Draw& draw, std::int64_t layers, std::int64_t pp) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(pp), layers / pp);
  for (std::int64_t i = 0; i < layers % pp; ++i) {
    ++out[static_cast<std::size_t>(draw.below(pp))];
  }
  return out;
}

Worker any_worker(Draw& draw, const ModelShape& model) {
  Worker w;
  w.stage_layers =
      cut_layers(draw, model.num_layers(), draw.one_of<std::int64_t>({1, 1, 2, 3, 4, 8}));
  w.dp = draw.one_of<std::int64_t>({1, 2, 4, 8, 16, 32});
  w.sp = draw.one_of<std::int64_t>({1, 1, 1, 2, 4});
  w.tp = draw.one_of<std::int64_t>({1, 1, 2, 4, 8, 16});
  w.ep = draw.one_of<std::int64_t>({1, 2, 4, 8, 16, 32, 64});
  w.etp = draw.one_of<std::int64_t>({1, 1, 2, 4});
  w.redundant = draw.one_of<std::int64_t>({0, 0, w.ep, 2 * w.ep});
  w.microbatches = draw.one_of<std::int64_t>({1, 2, 4, 8});
  w.chunk = draw.one_of<std::int64_t>({256, 512, 2048, 8192, 32768});
  w.batch = std::int64_t{1} << draw.below(10);
  const auto format = [&] {
    return kNumberFormats[static_cast<std::size_t>(draw.below(kNumberFormats.size()))];
  };
  w.precision = {format(), format(), NumberFormat::BF16,
                 draw.one_of({NumberFormat::BF16, NumberFormat::FP8})};
  return w;
}

}  // namespace

PlanningCase planning_case(std::uint64_t seed) {
  static const std::vector<CatalogModel> kModels = catalog_models();
  static const std::vector<GpuSpec> kGpus = catalog_gpus();
  Draw draw(seed);
  const auto any = [&](const auto& list) {
    return list[static_cast<std::size_t>(draw.below(static_cast<std::int64_t>(list.size())))];
  };
  PlanningCase out;
  out.model = any(kModels).shape;
  out.cluster = default_cluster(any(kGpus), 0);
  out.workload.isl = 1 + draw.below(std::int64_t{1} << (1 + draw.below(15)));
  out.workload.osl = 1 + draw.below(2000);
  out.workload.skew = draw.one_of({0.0, 0.0, 0.6, 1.2});
  do {
    out.worker = any_worker(draw, out.model);
  } while (folding_failure(out.model, out.worker));
  return out;
}

std::string to_string(const PlanningCase& c) {
  return fmt::format("{} on {}, {} + {} tokens, skew {}: {}", c.model.name, c.cluster.name,
                     c.workload.isl, c.workload.osl, c.workload.skew, describe(c.worker));
}

}  // namespace pentafold::testing
