#include "kernels/cpu/cpu_device.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/kv_layout.h"

namespace pentafold {
namespace {

// Row-major (n, k) elements of `size` bytes -> [ceil(n/16)][k][16], absent rows zero.
std::vector<std::byte> to_panels(std::span<const std::byte> rows, std::int64_t n, std::int64_t k,
                                 std::size_t size) {
  const std::int64_t panels = (n + kPanelWidth - 1) / kPanelWidth;
  std::vector<std::byte> out(static_cast<std::size_t>(panels * k * kPanelWidth) * size);
  for (std::int64_t row = 0; row < n; ++row) {
    const std::byte* from = rows.data() + static_cast<std::size_t>(row * k) * size;
    const std::int64_t first = (row / kPanelWidth) * k * kPanelWidth + row % kPanelWidth;
    std::byte* to = out.data() + static_cast<std::size_t>(first) * size;
    for (std::int64_t i = 0; i < k; ++i) {
      std::copy_n(from, size, to);
      from += size;
      to += kPanelWidth * size;
    }
  }
  return out;
}

class CpuDevice final : public Device {
 public:
  const char* name() const override { return "cpu"; }

  WeightMatrix pack(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                    DType dtype) const override {
    CHECK(row_major.size() == static_cast<std::size_t>(n * k) * size_of(dtype));
    return {n, k, dtype, WeightLayout::Panels16, to_panels(row_major, n, k, size_of(dtype))};
  }

  void gemm(const GemmArgs& args) const override { cpu::gemm(args); }
  void leaf_gemm(const LeafGemmArgs& args) const override { cpu::leaf_gemm(args); }

  void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) const override {
    cpu::sum_squares(rows, width, x, sum);
  }

  void normalise(std::int64_t rows, std::int64_t width, ConstRows x, const float* sum,
                 float denominator, float eps, const float* weight, Rows y) const override {
    std::vector<float> scale(static_cast<std::size_t>(rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      scale[static_cast<std::size_t>(r)] = 1.0F / std::sqrt(sum[r] / denominator + eps);
    }
    cpu::scale_rows({rows, width, x, scale.data(), weight, y});
  }

  void rope(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
            std::span<const std::int64_t> positions, const float* table, Rows x) const override {
    cpu::rope({rows, heads, head_dim, positions, table, x});
  }

  void kv_append(const KvAppendArgs& args) const override { append_keys_and_values(args); }
  void attention(const AttentionArgs& args) const override { cpu::attention(args); }

  void silu_mul(std::int64_t rows, std::int64_t width, ConstRows gate, ConstRows up,
                Rows y) const override {
    cpu::silu_mul({rows, width, gate, up, y});
  }

  void add(std::int64_t rows, std::int64_t width, ConstRows x, Rows y) const override {
    cpu::accumulate({rows, width, nullptr, x, y});
  }

  void scaled_add(std::int64_t rows, std::int64_t width, const float* scale, ConstRows x,
                  Rows y) const override {
    cpu::accumulate({rows, width, scale, x, y});
  }
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() {
  return std::make_unique<CpuDevice>();
}

}  // namespace pentafold
