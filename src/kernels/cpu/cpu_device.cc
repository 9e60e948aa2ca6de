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

// Outputs that stay in the nearest caches while rows pass, and rows that are worth fetching them
// for.
constexpr std::int64_t kBlockPanels = 4;
constexpr std::int64_t kBlockRows = 96;
// Elements worth a part of their own in operations that touch each once.
constexpr std::int64_t kPartElements = 8192;

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(Team* team) : team_(team) {}

  const char* name() const override { return "cpu"; }

  WeightMatrix pack(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                    DType dtype) const override {
    CHECK(row_major.size() == static_cast<std::size_t>(n * k) * size_of(dtype));
    return {n, k, dtype, WeightLayout::Panels16, to_panels(row_major, n, k, size_of(dtype))};
  }

  void gemm(const GemmArgs& args) const override {
    CHECK(args.w->layout == WeightLayout::Panels16, "a matrix packed for another device");
    if (args.n.empty()) return;
    share_product(args.rows,
                  {args.n.begin / kPanelWidth, (args.n.end + kPanelWidth - 1) / kPanelWidth},
                  [&](const cpu::GemmBlock& block) { cpu::gemm(args, block); });
  }

  void leaf_gemm(const LeafGemmArgs& args) const override {
    CHECK(args.w->layout == WeightLayout::Panels16, "a matrix packed for another device");
    if (args.nodes.empty()) return;
    share_product(args.rows, {0, (args.w->n + kPanelWidth - 1) / kPanelWidth},
                  [&](const cpu::GemmBlock& block) { cpu::leaf_gemm(args, block); });
  }

  void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) const override {
    share_rows(rows, width, [&](Range some) {
      cpu::sum_squares(some.size(), width, from(x, some.begin), sum + some.begin);
    });
  }

  void normalise(std::int64_t rows, std::int64_t width, ConstRows x, const float* sum,
                 float denominator, float eps, const float* weight, Rows y) const override {
    std::vector<float> scale(static_cast<std::size_t>(rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      scale[static_cast<std::size_t>(r)] = 1.0F / std::sqrt(sum[r] / denominator + eps);
    }
    share_rows(rows, width, [&](Range some) {
      cpu::scale_rows({some.size(), width, from(x, some.begin), scale.data() + some.begin, weight,
                       from(y, some.begin)});
    });
  }

  void rope(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
            std::span<const std::int64_t> positions, const float* table, Rows x) const override {
    share_rows(rows, heads * head_dim, [&](Range some) {
      cpu::rope({some.size(), heads, head_dim,
                 positions.subspan(static_cast<std::size_t>(some.begin)), table,
                 from(x, some.begin)});
    });
  }

  void kv_append(const KvAppendArgs& args) const override { append_keys_and_values(args); }
  void attention(const AttentionArgs& args) const override { cpu::attention(args); }

  void silu_mul(std::int64_t rows, std::int64_t width, ConstRows gate, ConstRows up,
                Rows y) const override {
    share_rows(rows, width, [&](Range some) {
      cpu::silu_mul(
          {some.size(), width, from(gate, some.begin), from(up, some.begin), from(y, some.begin)});
    });
  }

  void add(std::int64_t rows, std::int64_t width, ConstRows x, Rows y) const override {
    share_rows(rows, width, [&](Range some) {
      cpu::accumulate({some.size(), width, nullptr, from(x, some.begin), from(y, some.begin)});
    });
  }

  void scaled_add(std::int64_t rows, std::int64_t width, const float* scale, ConstRows x,
                  Rows y) const override {
    share_rows(rows, width, [&](Range some) {
      cpu::accumulate(
          {some.size(), width, scale + some.begin, from(x, some.begin), from(y, some.begin)});
    });
  }

 private:
  template <class View>
  static View from(View rows, std::int64_t first) {
    return {rows.data + first * rows.ld, rows.ld};
  }

  // body(rows) over disjoint rows.
  void share_rows(std::int64_t rows, std::int64_t width, FunctionRef<void(Range)> body) const {
    const std::int64_t parts =
        team_ == nullptr ? 1 : std::min({rows, 4 * team_->size(), rows * width / kPartElements});
    if (parts <= 1) return body({0, rows});
    team_->run(parts, [&](std::int64_t part) { body(split(rows, parts, part)); });
  }

  // body(block) over disjoint blocks of a product's outputs.
  void share_product(std::int64_t rows, Range panels,
                     FunctionRef<void(const cpu::GemmBlock&)> body) const {
    if (team_ == nullptr || team_->size() == 1) return body({{0, rows}, panels});
    const std::int64_t groups = (panels.size() + kBlockPanels - 1) / kBlockPanels;
    const std::int64_t wanted = (4 * team_->size() + groups - 1) / groups;
    const std::int64_t bands = std::clamp<std::int64_t>(rows / kBlockRows, 1, wanted);
    team_->run(groups * bands, [&](std::int64_t part) {
      const std::int64_t first = panels.begin + part / bands * kBlockPanels;
      body({split(rows, bands, part % bands), {first, std::min(first + kBlockPanels, panels.end)}});
    });
  }

  Team* team_;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(Team* team) {
  return std::make_unique<CpuDevice>(team);
}

}  // namespace pentafold
