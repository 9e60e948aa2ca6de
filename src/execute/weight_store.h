// WeightStore: the slices that ranks of one process hold, each loaded and packed once.
//
// Ranks ask for the rectangles their programs read; equal rectangles (dp replicas, sp partners)
// share one immutable copy, so a thousand thread ranks cost the model once per distinct slicing.
// Loading happens in the asking thread; others that ask for the same slice wait for it.
// Thread-safe: a rank's team loads several at once. Cost: the slices' bytes, and while a matrix
// loads a quarter of a MiB or one panel to pack it from. Held
// by execute/weight_store_test.cc.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/device.h"
#include "plan/program.h"
#include "plan/weight_formats.h"
#include "spec/weight_source.h"

namespace pentafold {

class WeightStore {
 public:
  // `weights`: the formats to hold them in. `model` is the source's and outlives the store.
  WeightStore(WeightSource source, const Device& device, const ModelSpec& model,
              const WeightFormats& weights);

  // Packed for gemm by the device.
  std::shared_ptr<const WeightMatrix> matrix(const WeightSlice& slice);
  // Row-major, for looking rows up (embedding).
  std::shared_ptr<const WeightMatrix> table(const WeightSlice& slice);
  // Widened to fp32 (norm weights, biases): rows * cols values.
  std::shared_ptr<const std::vector<float>> vector(const WeightSlice& slice);

  // The order in which slices are best asked for.
  void sort(std::vector<WeightSlice>& slices) const;

  std::int64_t bytes_held() const { return bytes_.load(); }

 private:
  enum class Use { Matrix, Table, Vector };
  struct Entry {
    std::once_flag once;
    std::shared_ptr<const WeightMatrix> matrix;
    std::shared_ptr<const std::vector<float>> vector;
  };
  using Key = std::tuple<TensorId, std::int64_t, std::int64_t, std::int64_t, std::int64_t, Use>;

  Entry& entry(const WeightSlice& slice, Use use);
  HeldFormat format_of(TensorId id, WeightUse use) const;
  // Row-major, in `dtype`.
  WeightMatrix read(const WeightSlice& slice, DType dtype) const;
  WeightMatrix read_packed(const WeightSlice& slice) const;

  WeightSource source_;
  const Device& device_;
  const ModelSpec& model_;
  WeightFormats weights_;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Entry>> entries_;
  std::atomic<std::int64_t> bytes_{0};
};

}  // namespace pentafold
