// Conservation: every parameter is held exactly as often as the plan says.
//
// For each stage and phase the slices that programs read are put beside the tensors of the model:
// a tensor group tiles each sharded tensor once, holds norms, router and biases of sums whole on
// every member, and KV heads with the queries that read them; routed experts are tiled once by
// every copy in the placement; nothing is held by another stage. What decode reads lies inside what
// prefill reads, so weights are held once.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "verify/checks.h"

namespace pentafold {
namespace {

struct Piece {
  WeightSlice slice;
  std::size_t program = 0;
};

enum class Spread {
  Whole,    // every member holds all of it
  Rows,     // members tile its rows
  Cols,     // members tile its columns
  KvRows,   // rows of the KV heads that the member's query heads read
  Experts,  // copies of the placement tile it
};

Spread spread_of(const ModelSpec& model, TensorId id) {
  const bool routed = id.expert >= 0;
  switch (id.role) {
    case TensorRole::InputNorm:
    case TensorRole::PostNorm:
    case TensorRole::Router:
    case TensorRole::SharedRouter:
    case TensorRole::FinalNorm:
    case TensorRole::OBias:
    case TensorRole::DownBias:
      return Spread::Whole;
    case TensorRole::QNorm:
      return model.qk_norm == QkNorm::FullWidth ? Spread::Rows : Spread::Whole;
    case TensorRole::KNorm:
      return model.qk_norm == QkNorm::FullWidth ? Spread::KvRows : Spread::Whole;
    case TensorRole::K:
    case TensorRole::V:
    case TensorRole::KBias:
    case TensorRole::VBias:
      return Spread::KvRows;
    case TensorRole::Gate:
    case TensorRole::Up:
      return routed ? Spread::Experts : Spread::Rows;
    case TensorRole::Down:
      return routed ? Spread::Experts : Spread::Cols;
    case TensorRole::O:
    case TensorRole::SharedDown:
      return Spread::Cols;
    case TensorRole::Embedding:
    case TensorRole::LmHead:
    case TensorRole::Q:
    case TensorRole::QBias:
    case TensorRole::GateBias:
    case TensorRole::UpBias:
    case TensorRole::SharedGate:
    case TensorRole::SharedUp:
      return Spread::Rows;
  }
  return Spread::Whole;
}

bool along_cols(TensorId id, Spread spread) {
  return spread == Spread::Cols || (spread == Spread::Experts && id.role == TensorRole::Down);
}

std::string text(Range range) {
  return fmt::format("[{}, {})", range.begin, range.end);
}

// The first place where `parts` cover [0, n) more or less often than `times`; empty if nowhere.
std::string uneven_cover(const std::vector<Range>& parts, std::int64_t n, std::int64_t times,
                         const char* axis) {
  std::map<std::int64_t, std::int64_t> change{{0, 0}, {n, 0}};
  for (const Range& part : parts) {
    ++change[part.begin];
    --change[part.end];
  }
  std::int64_t count = 0;
  for (auto at = change.begin(); at->first < n; ++at) {
    count += at->second;
    if (count == times) continue;
    return fmt::format("{} {} are held {} times, not {}", axis,
                       text({at->first, std::next(at)->first}), count, times);
  }
  return {};
}

class StageConservation {
 public:
  StageConservation(const Judged& judged, StageId stage, Phase phase, Findings& findings)
      : judged_(judged),
        stage_(judged.context.plan.stages[stage.index()]),
        id_(stage),
        phase_(phase),
        mesh_(phase_mesh(stage_, phase)),
        findings_(findings) {}

  void check() {
    collect();
    std::size_t next = 0;
    for (const TensorInfo& info : expected()) {
      for (; next < pieces_.size() && pieces_[next].slice.id < info.id; ++next) {
        stray(pieces_[next]);
      }
      const std::size_t begin = next;
      while (next < pieces_.size() && pieces_[next].slice.id == info.id) ++next;
      check_tensor(info, std::span(pieces_).subspan(begin, next - begin));
    }
    for (; next < pieces_.size(); ++next) stray(pieces_[next]);
  }

 private:
  void fail(TensorId id, const std::string& what) {
    findings_.add("conservation", id_,
                  fmt::format("stage {}, {}: {}: {}{}", id_.value, to_string(phase_), name(id),
                              what, kLoweringFault));
  }
  std::string name(TensorId id) const {
    const bool known = expected_ids_.contains(id) || in_model(id);
    return known ? checkpoint_name(judged_.context.model, id)
                 : fmt::format("{} of layer {} expert {}", to_string(id.role), id.layer, id.expert);
  }
  bool in_model(TensorId id) const {
    const auto all = model_tensors(judged_.context.model);
    return std::any_of(all.begin(), all.end(),
                       [&](const TensorInfo& info) { return info.id == id; });
  }

  // One piece for each distinct slice that a rank reads of a tensor.
  void collect() {
    for (std::size_t i = 0; i < judged_.programs.size(); ++i) {
      if (judged_.programs[i].place.stage != id_) continue;
      for (const Step& step : judged_.programs[i].of(phase_).steps) {
        for (const WeightSlice& slice : weights_of(step)) pieces_.push_back({slice, i});
      }
    }
    const auto key = [](const Piece& p) {
      return std::tuple(p.slice.id, p.program, p.slice.rows.begin, p.slice.rows.end,
                        p.slice.cols.begin, p.slice.cols.end);
    };
    std::sort(pieces_.begin(), pieces_.end(),
              [&](const Piece& a, const Piece& b) { return key(a) < key(b); });
    pieces_.erase(std::unique(pieces_.begin(), pieces_.end(),
                              [&](const Piece& a, const Piece& b) { return key(a) == key(b); }),
                  pieces_.end());
  }

  std::vector<TensorInfo> expected() {
    const ModelSpec& model = judged_.context.model;
    const bool last = id_.index() + 1 == judged_.context.plan.stages.size();
    const Range layers = judged_.context.mesh.layers(id_);
    std::vector<TensorInfo> out;
    for (const TensorInfo& info : model_tensors(model)) {
      const TensorRole role = info.id.role;
      const bool entry =
          role == TensorRole::Embedding && (id_.value == 0 || (last && model.tied_embeddings));
      const bool exit = last && (role == TensorRole::FinalNorm || role == TensorRole::LmHead);
      if (entry || exit || layers.contains(info.id.layer)) out.push_back(info);
    }
    std::sort(out.begin(), out.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.id < b.id; });
    for (const TensorInfo& info : out) expected_ids_.insert(info.id);
    return out;
  }

  void stray(const Piece& piece) {
    fail(piece.slice.id, fmt::format("rank {} reads it, but it does not belong to this stage",
                                     judged_.programs[piece.program].rank.value));
  }

  void check_tensor(const TensorInfo& info, std::span<const Piece> pieces) {
    const Spread spread = spread_of(judged_.context.model, info.id);
    const bool cols = along_cols(info.id, spread);
    for (const Piece& piece : pieces) {
      const Range across = cols ? piece.slice.rows : piece.slice.cols;
      const Range along = cols ? piece.slice.cols : piece.slice.rows;
      const std::int64_t n = cols ? info.cols : info.rows;
      const bool inside = along.begin >= 0 && along.begin < along.end && along.end <= n;
      if (inside && across == Range{0, cols ? info.rows : info.cols}) continue;
      return fail(info.id,
                  fmt::format("rank {} reads rows {} x columns {} of {} x {}",
                              judged_.programs[piece.program].rank.value, text(piece.slice.rows),
                              text(piece.slice.cols), info.rows, info.cols));
    }
    if (spread == Spread::Experts) return check_expert(info, pieces, cols);
    std::vector<std::vector<Range>> by_group(static_cast<std::size_t>(mesh_.dp * mesh_.sp));
    for (const Piece& piece : pieces) {
      const PhaseCoord at =
          phase_coord(stage_, phase_, judged_.programs[piece.program].place.index);
      by_group[static_cast<std::size_t>(at.d * mesh_.sp + at.s)].push_back(cols ? piece.slice.cols
                                                                                : piece.slice.rows);
    }
    if (spread == Spread::KvRows) return check_kv(info, pieces);
    const std::int64_t times = spread == Spread::Whole ? mesh_.tp : 1;
    for (std::size_t group = 0; group < by_group.size(); ++group) {
      const std::string uneven = uneven_cover(by_group[group], cols ? info.cols : info.rows, times,
                                              cols ? "columns" : "rows");
      if (uneven.empty()) continue;
      return fail(info.id, fmt::format("in tensor group {} {}", group, uneven));
    }
  }

  // A rank's KV heads are those its query heads read: no more, no fewer.
  void check_kv(const TensorInfo& info, std::span<const Piece> pieces) {
    const ModelSpec& model = judged_.context.model;
    std::map<std::size_t, Range> rows;
    for (const Piece& piece : pieces) {
      if (!rows.emplace(piece.program, piece.slice.rows).second) {
        return fail(info.id, fmt::format("rank {} reads two different parts of it",
                                         judged_.programs[piece.program].rank.value));
      }
    }
    for (std::size_t i = 0; i < judged_.programs.size(); ++i) {
      const RankPlace& place = judged_.programs[i].place;
      if (place.stage != id_) continue;
      const PhaseCoord at = phase_coord(stage_, phase_, place.index);
      const Range kv = kv_heads_of(model, tensor_shard(stage_, phase_, model.heads, at.t));
      const Range wanted{kv.begin * model.head_dim, kv.end * model.head_dim};
      const auto held = rows.find(i);
      if (held != rows.end() && held->second == wanted) continue;
      return fail(info.id,
                  fmt::format("rank {} reads rows {}, its query heads need {}",
                              judged_.programs[i].rank.value,
                              held == rows.end() ? "none" : text(held->second), text(wanted)));
    }
  }

  void check_expert(const TensorInfo& info, std::span<const Piece> pieces, bool cols) {
    const auto& copies =
        judged_.context.placements[id_.index()]->copies(info.id.layer, info.id.expert);
    std::vector<Range> parts;
    for (const Piece& piece : pieces) {
      parts.push_back(cols ? piece.slice.cols : piece.slice.rows);
      const RankProgram& program = judged_.programs[piece.program];
      const bool home = std::any_of(copies.begin(), copies.end(), [&](const ExpertCopy& copy) {
        return std::find(copy.ranks.begin(), copy.ranks.end(), program.place.index) !=
               copy.ranks.end();
      });
      if (home) continue;
      return fail(info.id, fmt::format("rank {} holds it, the placement does not put it there",
                                       program.rank.value));
    }
    const std::string uneven =
        uneven_cover(parts, cols ? info.cols : info.rows, static_cast<std::int64_t>(copies.size()),
                     cols ? "columns" : "rows");
    if (!uneven.empty()) fail(info.id, uneven);
  }

  const Judged& judged_;
  const StagePlan& stage_;
  StageId id_;
  Phase phase_;
  PhaseMesh mesh_;
  Findings& findings_;
  std::vector<Piece> pieces_;  // ascending (tensor, program)
  std::set<TensorId> expected_ids_;
};

bool inside(Range part, Range whole) {
  return part.begin >= whole.begin && part.end <= whole.end;
}

// Weights are held once, as prefill reads them; decode must find its part there.
void check_nesting(const Judged& judged, const RankProgram& program, Findings& findings) {
  std::map<TensorId, WeightSlice> held;
  for (const Step& step : program.prefill.steps) {
    for (const WeightSlice& slice : weights_of(step)) held.emplace(slice.id, slice);
  }
  for (const Step& step : program.decode.steps) {
    for (const WeightSlice& slice : weights_of(step)) {
      const auto at = held.find(slice.id);
      if (at != held.end() && inside(slice.rows, at->second.rows) &&
          inside(slice.cols, at->second.cols)) {
        continue;
      }
      findings.add(
          "conservation", program.place.stage,
          fmt::format("{}: decode reads rows {} x columns {} of {} ({}), which prefill "
                      "does not hold{}",
                      name_rank(program), text(slice.rows), text(slice.cols),
                      to_string(slice.id.role), judged.context.model.name, kLoweringFault));
      return;
    }
  }
}

}  // namespace

void check_conservation(const Judged& judged, Findings& findings) {
  const auto stages = static_cast<std::int64_t>(judged.context.plan.stages.size());
  for (std::int64_t stage = 0; stage < stages; ++stage) {
    for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
      StageConservation(judged, StageId(stage), phase, findings).check();
    }
  }
  for (const RankProgram& program : judged.programs) check_nesting(judged, program, findings);
}

}  // namespace pentafold
