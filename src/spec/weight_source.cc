#include "spec/weight_source.h"

#include "spec/synthetic_weights.h"

namespace pentafold {

WeightSource WeightSource::synthetic(const ModelSpec& model) {
  WeightSource source;
  source.model_ = model;
  return source;
}

DType WeightSource::dtype(TensorId) const {
  return model_.dtype;
}

void WeightSource::read(TensorId id, Range rows, Range cols, std::span<std::byte> out) const {
  draw_weights(model_.seed, tensor_info(model_, id), model_.dtype, rows, cols, out);
}

}  // namespace pentafold
