#include "plan/memory.h"

#include <fmt/format.h>

#include <numeric>

#include "base/check.h"
#include "base/units.h"
#include "plan/memory_parts.h"

namespace pentafold {
namespace {

// Outputs that lie beside each other in a packed matrix (kernels/weight_matrix.h).
constexpr std::int64_t kPanelOutputs = 16;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

template <class T>
bool has_step(const RankProgram& program) {
  const auto is = [](const Step& step) { return std::holds_alternative<T>(step); };
  return std::any_of(program.prefill.steps.begin(), program.prefill.steps.end(), is);
}

// A panel of integers is, group by group of columns, the integers and a scale for each output.
std::int64_t packed_bytes(const WeightSlice& slice, const HeldFormat& format) {
  const std::int64_t panels = ceil_div(slice.rows.size(), kPanelOutputs);
  if (format.integers.bits == 0) {
    return capped_product({panels, kPanelOutputs, slice.cols.size(),
                           static_cast<std::int64_t>(size_of(format.dtype))});
  }
  return capped_product({panels, slice.cols.size() / format.integers.group,
                         group_bytes(format.integers, kPanelOutputs)});
}

bool multiplies_integers(const LoweringContext& context, const RankProgram& program) {
  const ModelSpec& model = context.model;
  const std::vector<WeightSlice> held = held_weights(program);
  return std::any_of(held.begin(), held.end(), [&](const WeightSlice& slice) {
    return held_format(context.plan.weights, model, slice.id, WeightUse::Multiplied, model.dtype)
               .integers.bits != 0;
  });
}

}  // namespace

std::int64_t schedule_groups(const Plan& plan) {
  std::int64_t groups = 1;
  for (const StagePlan& stage : plan.stages) {
    groups = capped_product({groups, stage.dp / std::gcd(groups, stage.dp)});
  }
  return groups;
}

std::int64_t kv_blocks_for(std::int64_t tokens) {
  return ceil_div(tokens, kKvTokensPerBlock);
}

KvType run_kv_type(const Plan& plan) {
  const auto type = kv_type_of(plan.kv.value_or(NumberFormat::F32));
  CHECK(type.has_value(), "parse_kv and fit_to_engine let no other format through");
  return *type;
}

std::int64_t planned_kv_blocks(const Plan& plan) {
  if (plan.kv_blocks > 0 || plan.requests.requests == 0) return plan.kv_blocks;
  // Dealt to replicas, then to groups, in turn; all running at once.
  const std::int64_t in_group =
      ceil_div(ceil_div(plan.requests.requests, plan.replicas), schedule_groups(plan));
  const std::int64_t tokens = capped_sum({plan.requests.prompt_tokens, plan.requests.max_tokens});
  return capped_product({in_group, kv_blocks_for(tokens)});
}

std::int64_t RowBounds::of(RowSet set) const {
  switch (set) {
    case RowSet::Local:
      return local;
    case RowSet::Group:
      return group;
    case RowSet::Slice:
      return slice;
  }
  return group;
}

RunBounds planned_bounds(const Plan& plan, std::int64_t blocks_per_group) {
  RunBounds run;
  run.groups = schedule_groups(plan);
  run.blocks_per_group = blocks_per_group;
  run.max_batch = plan.max_batch;
  run.prefill_chunk = plan.prefill_chunk;
  run.microbatches = plan.microbatches;
  const SyntheticRequests& requests = plan.requests;
  if (requests.requests == 0) return run;
  run.requests = ceil_div(requests.requests, plan.replicas);
  run.longest_prompt = requests.prompt_tokens;
  run.prompt_tokens = capped_product({run.requests, requests.prompt_tokens});
  run.positions = capped_sum({requests.prompt_tokens, requests.max_tokens});
  return run;
}

RowBounds row_bounds(const RunBounds& run, const StagePlan& stage, Phase phase) {
  const PhaseMesh mesh = phase_mesh(stage, phase);
  const bool prefill = phase == Phase::Prefill;
  // A bound that is known, on top of one that always holds.
  const auto within = [](std::int64_t always, std::int64_t known) {
    return known > 0 ? std::min(always, known) : always;
  };
  const std::int64_t each = prefill ? within(run.prefill_chunk, run.longest_prompt) : 1;
  const std::int64_t batch = within(run.max_batch, run.requests);
  // The scheduler cuts the requests of a step into min(microbatches, requests) even parts.
  const std::int64_t parts = std::min(run.microbatches, batch);
  const std::int64_t most = ceil_div(batch, parts);
  const std::int64_t tokens = prefill ? run.prompt_tokens : 0;
  // Requests are dealt to scheduling groups in turn, these to dp groups.
  const std::int64_t held_groups = ceil_div(run.groups, stage.dp);
  const std::int64_t dealt = capped_product({held_groups, ceil_div(run.requests, run.groups)});
  const std::int64_t pool = capped_product({run.blocks_per_group, held_groups});
  const std::int64_t slots = capped_product({pool, kKvTokensPerBlock});
  const std::int64_t all_slots =
      capped_product({run.blocks_per_group, run.groups, kKvTokensPerBlock});
  RowBounds rows;
  rows.requests = within(most, dealt);
  rows.stage = within(within(capped_product({most, each}), tokens), all_slots);
  rows.group = within(within(capped_product({rows.requests, each}), tokens), slots);
  rows.step_group = within(within(capped_product({within(batch, dealt), each}), tokens), slots);
  rows.local = ceil_div(rows.group, mesh.sp);
  rows.slice = ceil_div(rows.local, mesh.tp);
  rows.step_local =
      std::min(capped_product({parts, rows.local}),
               capped_sum({rows.step_group, capped_product({parts, mesh.sp - 1})}) / mesh.sp);
  rows.blocks = pool;
  return rows;
}

std::int64_t weight_bytes(const LoweringContext& context, const RankProgram& program) {
  const ModelSpec& model = context.model;
  const auto held = [&](TensorId id, WeightUse use) {
    return held_format(context.plan.weights, model, id, use, model.dtype);
  };
  const TensorId embedding{TensorRole::Embedding, -1, -1};
  const bool looked_up = has_step<step::Embed>(program);
  const bool multiplied = model.tied_embeddings && has_step<step::LmHead>(program);
  std::int64_t bytes = 0;
  for (const WeightSlice& slice : held_weights(program)) {
    const bool vector = tensor_info(model, slice.id).cols == 1;
    if (slice.id == embedding) {
      const DType dtype = held(slice.id, WeightUse::LookedUp).dtype;
      const std::int64_t table =
          capped_product({slice.count(), static_cast<std::int64_t>(size_of(dtype))});
      if (looked_up) bytes = capped_sum({bytes, table});
      if (multiplied) {
        bytes = capped_sum({bytes, packed_bytes(slice, held(slice.id, WeightUse::Multiplied))});
      }
    } else if (vector) {
      bytes = capped_sum({bytes, capped_product({slice.count(), 4})});
    } else {
      bytes = capped_sum({bytes, packed_bytes(slice, held(slice.id, WeightUse::Multiplied))});
    }
  }
  return bytes;
}

std::int64_t kv_bytes(const LoweringContext& context, const RankProgram& program,
                      const RunBounds& run) {
  const StagePlan& stage = context.plan.stages[program.place.stage.index()];
  std::int64_t kv_heads = 0;
  for (const Step& step : program.decode.steps) {
    if (const auto* attention = std::get_if<step::Attention>(&step)) {
      kv_heads = attention->kv_heads.size();
    }
  }
  const std::int64_t groups = ceil_div(run.groups, stage.dp);
  const std::int64_t tile =
      kv_tile_bytes(run_kv_type(context.plan), kKvTokensPerBlock, context.model.head_dim);
  return capped_product({context.mesh.layers(program.place.stage).size(), groups,
                         run.blocks_per_group, kv_heads, tile, 2});
}

MemoryUse memory_use(const LoweringContext& context, const RankProgram& program,
                     const RunBounds& run) {
  const WorkingMemory working = working_memory(context, program, run);
  const std::int64_t rope_table = capped_product({run.positions, context.model.head_dim, 4});
  MemoryUse use;
  use.weights = weight_bytes(context, program);
  use.kv = kv_bytes(context, program, run);
  use.registers = working.register_bytes();
  const std::int64_t integer_rows = multiplies_integers(context, program) ? kIntegerRowBytes : 0;
  use.buffers = capped_sum({working.kept_bytes(), working.passing, rope_table, integer_rows});
  return use;
}

std::string format_memory(std::span<const MemoryUse> by_rank) {
  const auto line = [](const std::string& name, const MemoryUse& use) {
    const auto bytes = [](std::int64_t n) { return format_bytes(static_cast<double>(n)); };
    return fmt::format("{:>6} {:>10} {:>10} {:>10} {:>10} {:>10}\n", name, bytes(use.weights),
                       bytes(use.kv), bytes(use.registers), bytes(use.buffers), bytes(use.total()));
  };
  std::string text = fmt::format("{:>6} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "rank", "weights",
                                 "KV", "registers", "buffers", "total");
  MemoryUse most;
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    const MemoryUse& use = by_rank[rank];
    text += line(std::to_string(rank), use);
    most.weights = std::max(most.weights, use.weights);
    most.kv = std::max(most.kv, use.kv);
    most.registers = std::max(most.registers, use.registers);
    most.buffers = std::max(most.buffers, use.buffers);
  }
  return text + line("most", most);
}

}  // namespace pentafold
