#include "spec/weight_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/quote.h"
#include "spec/checkpoint.h"
#include "spec/synthetic_weights.h"

namespace pentafold {
namespace {

// Why `stored` cannot serve as the tensor `info` of the model.
std::optional<std::string> tensor_problem(const TensorInfo& info, bool matrix,
                                          const StoredTensor* stored) {
  if (stored == nullptr) return "is missing";
  if (!stored->usable) {
    return fmt::format("has type {}; supported are BF16, F16, F32", quote_text(stored->dtype));
  }
  std::vector<std::int64_t> wanted = {info.rows};
  if (matrix) wanted.push_back(info.cols);
  if (stored->shape == wanted) return std::nullopt;
  return fmt::format("has shape ({}), but config.json asks for ({})",
                     fmt::join(stored->shape, ", "), fmt::join(wanted, ", "));
}

bool is_vector(TensorRole role) {
  switch (role) {
    case TensorRole::InputNorm:
    case TensorRole::PostNorm:
    case TensorRole::FinalNorm:
    case TensorRole::QNorm:
    case TensorRole::KNorm:
    case TensorRole::QBias:
    case TensorRole::KBias:
    case TensorRole::VBias:
    case TensorRole::OBias:
    case TensorRole::GateBias:
    case TensorRole::UpBias:
    case TensorRole::DownBias:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<WeightSource> WeightSource::open_checkpoint(const std::string& directory,
                                                   const ModelSpec& model) {
  PF_ASSIGN(Checkpoint opened, Checkpoint::open(directory));
  WeightSource source;
  source.model_ = model;
  source.checkpoint_ = std::make_shared<const Checkpoint>(std::move(opened));
  StoredTensors stored;
  std::string first;
  std::size_t problems = 0;
  for (const TensorInfo& info : model_tensors(model)) {
    const std::string name = checkpoint_name(model, info.id);
    const StoredTensor* found = source.checkpoint_->find(name);
    if (const auto problem = tensor_problem(info, !is_vector(info.id.role), found)) {
      if (problems++ == 0) first = fmt::format("tensor {} {}", quote_text(name), *problem);
      continue;
    }
    stored.emplace(info.id, found);
  }
  if (problems > 0) {
    const std::string more = problems == 1 ? "" : fmt::format(" (and {} more)", problems - 1);
    return make_error(
        ErrorCode::InvalidSpec,
        fmt::format("{}{}; check that weights and config.json belong together", first, more),
        directory);
  }
  source.stored_ = std::make_shared<const StoredTensors>(std::move(stored));
  return source;
}

WeightSource WeightSource::synthetic(const ModelSpec& model) {
  WeightSource source;
  source.model_ = model;
  return source;
}

const StoredTensor& WeightSource::stored(TensorId id) const {
  const auto it = stored_->find(id);
  CHECK(it != stored_->end(), "the model has no such tensor");
  return *it->second;
}

DType WeightSource::dtype(TensorId id) const {
  return stored_ == nullptr ? model_.dtype : *stored(id).usable;
}

std::uintptr_t WeightSource::place(TensorId id) const {
  return stored_ == nullptr ? 0 : reinterpret_cast<std::uintptr_t>(stored(id).bytes.data());
}

void WeightSource::announce(TensorId id, Range rows) const {
  if (stored_ == nullptr || rows.empty()) return;
  const StoredTensor& tensor = stored(id);
  const std::size_t pitch =
      static_cast<std::size_t>(tensor_info(model_, id).cols) * size_of(*tensor.usable);
  tensor.file->announce(tensor.bytes.subspan(static_cast<std::size_t>(rows.begin) * pitch,
                                             static_cast<std::size_t>(rows.size()) * pitch));
}

void WeightSource::read(TensorId id, Range rows, Range cols, std::span<std::byte> out) const {
  const TensorInfo info = tensor_info(model_, id);
  CHECK(rows.begin >= 0 && rows.begin <= rows.end && rows.end <= info.rows,
        "rows outside the tensor");
  CHECK(cols.begin >= 0 && cols.begin <= cols.end && cols.end <= info.cols,
        "cols outside the tensor");
  const std::size_t element = size_of(dtype(id));
  const std::size_t run = static_cast<std::size_t>(cols.size()) * element;
  CHECK(out.size() == static_cast<std::size_t>(rows.size()) * run,
        "out is not the size of the slice");
  if (stored_ == nullptr) return draw_weights(model_.seed, info, model_.dtype, rows, cols, out);
  if (out.empty()) return;

  const StoredTensor& tensor = stored(id);
  const std::size_t pitch = static_cast<std::size_t>(info.cols) * element;
  const std::size_t first =
      static_cast<std::size_t>(rows.begin) * pitch + static_cast<std::size_t>(cols.begin) * element;
  if (run == pitch) return tensor.file->read(tensor.bytes.subspan(first, out.size()), out.data());
  const std::byte* from = tensor.bytes.data() + first;
  for (std::size_t at = 0; at < out.size(); at += run, from += pitch) {
    std::memcpy(out.data() + at, from, run);
  }
}

}  // namespace pentafold
