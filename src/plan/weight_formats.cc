#include "plan/weight_formats.h"

#include "base/check.h"

namespace pentafold {
namespace {

const std::optional<NumberFormat>& part_of(const WeightFormats& weights, TensorId id,
                                           WeightUse use) {
  switch (id.role) {
    case TensorRole::Gate:
    case TensorRole::Up:
    case TensorRole::Down:
      return id.expert >= 0 ? weights.experts : weights.linear;
    case TensorRole::Q:
    case TensorRole::K:
    case TensorRole::V:
    case TensorRole::O:
    case TensorRole::SharedGate:
    case TensorRole::SharedUp:
    case TensorRole::SharedDown:
      return weights.linear;
    case TensorRole::LmHead:
      return weights.head;
    case TensorRole::Embedding:
      return use == WeightUse::Multiplied ? weights.head : weights.other;
    default:
      return weights.other;
  }
}

std::int64_t columns_of_a_group(const ModelSpec& model, TensorId id) {
  const auto in_leaf = [](std::int64_t hidden) {
    return group_size(hidden / ModelSpec::mlp_leaves(hidden), kLeafGroup);
  };
  switch (id.role) {
    case TensorRole::O:
      return group_size(model.head_dim, kLeafGroup);
    case TensorRole::Down:
      return in_leaf(id.expert >= 0 ? model.expert_hidden : model.dense_hidden);
    case TensorRole::SharedDown:
      return in_leaf(model.shared_hidden);
    default:
      return group_size(model.d, kChainGroup);
  }
}

}  // namespace

WeightFormats weights_in(NumberFormat format) {
  WeightFormats weights{format, format, format, format};
  if (is_integer(format)) weights.other.reset();
  return weights;
}

bool is_integer(NumberFormat format) {
  return format == NumberFormat::INT8 || format == NumberFormat::INT4;
}

std::optional<DType> floating_type(NumberFormat format) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    if (number_format_of(dtype) == format) return dtype;
  }
  return std::nullopt;
}

HeldFormat held_format(const WeightFormats& weights, const ModelSpec& model, TensorId id,
                       WeightUse use, DType stored) {
  const std::optional<NumberFormat>& format = part_of(weights, id, use);
  if (!format) return {stored, {}};
  if (is_integer(*format)) {
    return {stored, {*format == NumberFormat::INT8 ? 8 : 4, columns_of_a_group(model, id)}};
  }
  const std::optional<DType> dtype = floating_type(*format);
  CHECK(dtype.has_value(), "plans that name a format the engine lacks are refused");
  return {*dtype, {}};
}

}  // namespace pentafold
