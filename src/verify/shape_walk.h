// ShapeWalk: one program read step by step, as execution would, with widths instead of rows.
// Internal to src/verify; shapes.cc checks what programs share.
//
// Every register knows the width it was written with, whether anybody has read it since, and what
// was done to it in place (clamp, norm, rope, activation). A step that reads what was not written,
// with another width, or that overwrites what nobody read, is wrong; so a step that is missing
// shows at its neighbours. Cost: O(steps). Held by verify/verify_test.cc (every kind of step
// dropped, widths changed).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "verify/checks.h"

namespace pentafold {

class ShapeWalk {
 public:
  ShapeWalk(const Judged& judged, const RankProgram& rank, Phase phase);

  // Empty, or what is wrong first: "step 12 (gemm): reads normed, which is not written".
  std::string walk();

  // KV heads (in the model) that its attention caches; empty range without attention.
  Range kv_heads() const { return kv_heads_; }

  // Visits one step; empty or what is wrong with it.
  std::string operator()(const step::Embed& s);
  std::string operator()(const step::Norm& s);
  std::string operator()(const step::HeadNorm& s);
  std::string operator()(const step::WidthNorm& s);
  std::string operator()(const step::Clamp& s);
  std::string operator()(const step::Gemm& s);
  std::string operator()(const step::LeafGemm& s);
  std::string operator()(const step::AllReduce& s);
  std::string operator()(const step::Rope& s);
  std::string operator()(const step::SeqToHeads& s);
  std::string operator()(const step::HeadsToSeq& s);
  std::string operator()(const step::Attention& s);
  std::string operator()(const step::Activate& s);
  std::string operator()(const step::Route& s);
  std::string operator()(const step::Capacity& s);
  std::string operator()(const step::Dispatch& s);
  std::string operator()(const step::ExpertMlp& s);
  std::string operator()(const step::Combine& s);
  std::string operator()(const step::GatherSlices& s);
  std::string operator()(const step::AddShared& s);
  std::string operator()(const step::Residual& s);
  std::string operator()(const step::Send& s);
  std::string operator()(const step::Recv& s);
  std::string operator()(const step::LmHead& s);

 private:
  struct Content {
    std::int64_t width = -1;  // -1: nothing to read
    bool read = false;        // since it was written
    std::int64_t clamps = 0, norms = 0, ropes = 0, activations = 0;
  };
  struct Sums {  // what Partial holds
    std::int64_t leaves = 0;
    std::vector<Range> nodes;
  };
  // How far the experts of a layer have come.
  struct Experts {
    std::int64_t layer = -1;
    int done = 0;  // 1 route, 2 capacity, 3 dispatch, 4 expert_mlp, 0 combine
  };

  Content& at(Register reg) { return contents_[static_cast<std::size_t>(reg)]; }
  std::int64_t head_width(std::int64_t heads) const { return heads * model_.head_dim; }
  std::int64_t members(GroupKind kind) const {
    return static_cast<std::int64_t>(program_.group(kind).size());
  }
  std::int64_t self(GroupKind kind) const { return program_.self[static_cast<std::size_t>(kind)]; }
  // Each returns what is wrong, or nothing.
  std::string read(Register reg, std::int64_t width);
  std::string peek(Register reg, std::int64_t width);  // in place: not the last reader
  std::string write(Register reg, std::int64_t width);
  std::string prepared_heads(Register reg) const;
  std::string sequence_tiles(const std::vector<Range>& q_heads, std::int64_t held) const;
  std::string advance_experts(LayerId layer, int from, int to);
  std::string local_expert(const step::ExpertMlp& s, const step::LocalExpert& expert) const;
  std::string finish();

  const Judged& judged_;
  const RankProgram& rank_;
  const Program& program_;
  const ModelSpec& model_;
  Phase phase_;
  std::array<Content, static_cast<std::size_t>(Register::kCount)> contents_{};
  std::optional<Sums> sums_;
  Experts experts_;
  std::int64_t next_layer_ = 0;
  Range kv_heads_;
};

}  // namespace pentafold
