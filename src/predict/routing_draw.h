// routing_draw: which ranks' experts the rows of a microbatch go to, drawn from an expert profile.
//
// Token counts after the gate depend on data; a prediction draws them. Every row chooses top_k
// different experts with chances in proportion to its layer's weights (equal ones when nothing is
// known), by a hash of (layer, request, position): the same row chooses alike under every plan. The
// placement then says which ranks compute them, exactly as execution does it.
// Cost: O(rows x top_k) a layer. Held by predict/routing_draw_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/lower.h"
#include "policy/scheduler.h"
#include "report/routing_stats.h"

namespace pentafold {

// Chances of the experts of every layer; an empty layer: all alike.
using ExpertWeights = std::vector<std::vector<double>>;
// As often as experts were chosen in a run.
ExpertWeights weights_of_routing(const RoutingStats& routing);

// What one rank of a stage sends, receives and computes in one expert layer.
struct RankExperts {
  std::int64_t rows_sent = 0;      // to all members, itself included; once for each message
  std::int64_t rows_received = 0;  // likewise
  std::int64_t remote_rows = 0;    // of those received, from other ranks
  std::int64_t answers_sent = 0;   // expert outputs it computes
  std::int64_t answers_received = 0;
  std::int64_t remote_answers = 0;           // of those received
  std::vector<std::int64_t> rows_of_expert;  // that it computes, by expert of the model
};

struct RowPlace {
  std::int64_t request = 0;
  std::int64_t position = 0;
  std::int64_t home = 0;  // index of the rank that dispatches the row
};

// By rank of the stage. `layer` counts in the model.
std::vector<RankExperts> draw_layer(const LoweringContext& context, StageId stage,
                                    std::int64_t layer, const std::vector<RowPlace>& rows,
                                    const ExpertWeights& weights);

}  // namespace pentafold
