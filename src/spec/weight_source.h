// WeightSource: where parameters come from, read by slice.
//
// A mapped checkpoint and a seeded generator give the same interface: any rectangle of any tensor,
// in the stored type, without touching the rest. (A value with two kinds inside, not an interface:
// they differ only here.) Thread-safe after opening.
// Cost: one copy of the slice. Held by spec/weight_source_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "base/dtype.h"
#include "base/result.h"
#include "base/split.h"
#include "spec/model.h"
#include "spec/tensors.h"

namespace pentafold {

class Checkpoint;  // spec/checkpoint.h: mmapped safetensors files of one directory
struct StoredTensor;

class WeightSource {
 public:
  // The directory must hold every tensor of `model` with the right shape and one of BF16, F16, F32.
  static Result<WeightSource> open_checkpoint(const std::string& directory, const ModelSpec& model);
  // Element i of tensor t is a function of (model.seed, t, i) alone, rounded to model.dtype.
  // Matrices: uniform, standard deviation 1 / sqrt(cols); norms 1 +- 0.1; biases +- 0.02.
  static WeightSource synthetic(const ModelSpec& model);

  DType dtype(TensorId id) const;

  // Tensors read in ascending order of this are read from the front of their files to the back: as
  // disks like it, and before what is cached of a large file makes room for what has been read.
  std::uintptr_t place(TensorId id) const;
  // Says that rows of tensor `id` will be read soon, so that a file can be fetched meanwhile.
  void announce(TensorId id, Range rows) const;

  // Copies rows x cols of tensor `id`, row-major, in dtype(id), to `out` (exactly that many bytes).
  void read(TensorId id, Range rows, Range cols, std::span<std::byte> out) const;

 private:
  using StoredTensors = std::unordered_map<TensorId, const StoredTensor*>;
  WeightSource() = default;
  const StoredTensor& stored(TensorId id) const;

  ModelSpec model_;
  std::shared_ptr<const Checkpoint> checkpoint_;  // null: synthetic
  std::shared_ptr<const StoredTensors> stored_;   // borrows from checkpoint_; null: synthetic
};

}  // namespace pentafold
