// ForwardingDevice: passes every call on to another device; tests override what they plant a fault
// in or watch.
//
// Owns the device inside. Cost: one more virtual call. Held by the tests that derive from it.
#pragma once

#include <memory>
#include <utility>

#include "kernels/device.h"

namespace pentafold::testing {

class ForwardingDevice : public Device {
 public:
  explicit ForwardingDevice(std::unique_ptr<Device> inner) : inner_(std::move(inner)) {}

  const char* name() const override { return inner_->name(); }
  WeightMatrix pack(std::span<const std::byte> bytes, std::int64_t n, std::int64_t k,
                    DType dtype) const override {
    return inner_->pack(bytes, n, k, dtype);
  }
  WeightMatrix room_for(std::int64_t n, std::int64_t k, DType dtype) const override {
    return inner_->room_for(n, k, dtype);
  }
  void pack_rows(std::span<const std::byte> bytes, Range rows, WeightMatrix& into) const override {
    inner_->pack_rows(bytes, rows, into);
  }
  WeightMatrix pack_integers(std::span<const std::byte> bytes, std::int64_t n, std::int64_t k,
                             DType dtype, const IntegerFormat& format) const override {
    return inner_->pack_integers(bytes, n, k, dtype, format);
  }
  void gemm(const GemmArgs& args) const override { inner_->gemm(args); }
  void leaf_gemm(const LeafGemmArgs& args) const override { inner_->leaf_gemm(args); }
  void expert_mlp(const ExpertMlpArgs& args) const override { inner_->expert_mlp(args); }
  void sum_trees(const TreeSumArgs& args) const override { inner_->sum_trees(args); }
  void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) const override {
    inner_->sum_squares(rows, width, x, sum);
  }
  void normalise(std::int64_t rows, std::int64_t width, ConstRows x, const float* sum,
                 float denominator, float eps, const float* weight, Rows y) const override {
    inner_->normalise(rows, width, x, sum, denominator, eps, weight, y);
  }
  void rope(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
            std::span<const std::int64_t> positions, const float* table, Rows x) const override {
    inner_->rope(rows, heads, head_dim, positions, table, x);
  }
  void kv_append(const KvAppendArgs& args) const override { inner_->kv_append(args); }
  void attention(const AttentionArgs& args) const override { inner_->attention(args); }
  void silu_mul(std::int64_t rows, std::int64_t width, ConstRows gate, ConstRows up,
                Rows y) const override {
    inner_->silu_mul(rows, width, gate, up, y);
  }
  void add(std::int64_t rows, std::int64_t width, ConstRows x, Rows y) const override {
    inner_->add(rows, width, x, y);
  }
  void scaled_add(std::int64_t rows, std::int64_t width, const float* scale, ConstRows x,
                  Rows y) const override {
    inner_->scaled_add(rows, width, scale, x, y);
  }

 protected:
  const Device& inner() const { return *inner_; }

 private:
  std::unique_ptr<Device> inner_;
};

}  // namespace pentafold::testing
