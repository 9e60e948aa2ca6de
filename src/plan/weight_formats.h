// WeightFormats: the formats that a run holds weights in, part by part.
//
// Projections, experts, MLPs and the head may be integers with scales (base/quantise.h); router,
// norms, biases and the embedding table are numbers of one of the floating types. How an integer
// matrix is cut into groups follows from the model alone, so it is the same for every shard.
// Cost: a plain value. Held by plan/weight_formats_test.cc.
#pragma once

#include <optional>

#include "base/dtype.h"
#include "base/quantise.h"
#include "spec/model.h"
#include "spec/number_format.h"
#include "spec/tensors.h"

namespace pentafold {

// F32, BF16, F16; the first three INT8 or INT4 too. Nothing given: as stored.
struct WeightFormats {
  std::optional<NumberFormat> experts;  // routed
  std::optional<NumberFormat> linear;   // attention, dense and shared MLPs
  std::optional<NumberFormat> head;
  std::optional<NumberFormat> other;  // embedding table, router, norms, biases
  friend bool operator==(const WeightFormats&, const WeightFormats&) = default;
};

// All in one format, as the word `weights` of a plan says; integers leave `other` as stored.
WeightFormats weights_in(NumberFormat format);

bool is_integer(NumberFormat format);                     // INT8, INT4
std::optional<DType> floating_type(NumberFormat format);  // F32, BF16, F16

struct HeldFormat {
  DType dtype = DType::F32;
  IntegerFormat integers{};  // bits 0: values of dtype
  friend bool operator==(const HeldFormat&, const HeldFormat&) = default;
};

// Whether a parameter is multiplied with or looked up, which of the embedding table may be both.
enum class WeightUse { Multiplied, LookedUp };

// How `id` is held when it is stored in `stored`.
HeldFormat held_format(const WeightFormats& weights, const ModelSpec& model, TensorId id,
                       WeightUse use, DType stored);

}  // namespace pentafold
