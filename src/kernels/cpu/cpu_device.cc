#include "kernels/cpu/cpu_device.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/integer_panels.h"
#include "kernels/kv_layout.h"

namespace pentafold {
namespace {

// Rows that are worth fetching a group of panels for.
constexpr std::int64_t kBlockRows = 96;
// Bytes of rows that stay near while the outputs pass.
constexpr std::int64_t kBandBytes = 384 * 1024;
// Elements worth a part of their own in operations that touch each once.
constexpr std::int64_t kPartElements = 8192;

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(Team* team) : team_(team) {}

  const char* name() const override { return "cpu"; }

  WeightMatrix pack(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                    DType dtype) const override {
    WeightMatrix out = room_for(n, k, dtype);
    pack_rows(row_major, {0, n}, out);
    return out;
  }

  WeightMatrix room_for(std::int64_t n, std::int64_t k, DType dtype) const override {
    return {n, k, dtype, WeightLayout::Panels16,
            SlabVector<std::byte>(static_cast<std::size_t>(panels_of(n) * k * kPanelWidth) *
                                  size_of(dtype))};
  }

  void pack_rows(std::span<const std::byte> row_major, Range rows,
                 WeightMatrix& into) const override {
    const std::size_t element = size_of(into.dtype);
    const std::size_t row_bytes = static_cast<std::size_t>(into.k) * element;
    CHECK(row_major.size() == static_cast<std::size_t>(rows.size()) * row_bytes);
    CHECK(rows.begin % kPanelWidth == 0 && rows.end <= into.n, "whole panels, the last but one");
    for (std::int64_t row = 0; row < rows.size(); row += kPanelWidth) {
      const std::int64_t panel = (rows.begin + row) / kPanelWidth;
      const Range group = group_of(panel, into.n);
      const std::int64_t at = (group.begin * into.k + panel - group.begin) * kPanelWidth;
      cpu::pack_panel({row_major.data() + static_cast<std::size_t>(row) * row_bytes,
                       std::min(kPanelWidth, rows.size() - row), into.k, element,
                       into.bytes.data() + static_cast<std::size_t>(at) * element,
                       group.size() * kPanelWidth});
    }
  }

  WeightMatrix pack_integers(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                             DType dtype, const IntegerFormat& format) const override {
    CHECK(row_major.size() == static_cast<std::size_t>(n * k) * size_of(dtype));
    return cpu::integer_panels(row_major, n, k, dtype, format);
  }

  void gemm(const GemmArgs& args) const override {
    CHECK(args.w->layout == WeightLayout::Panels16, "a matrix packed for another device");
    if (args.n.empty()) return;
    const Product product{args.rows, args.k.size(), panels_holding(args.n)};
    if (args.w->in_integers()) {
      return share_in_integers(product, args.x, *args.w,
                               [&](const cpu::IntegerRows& x, const cpu::GemmBlock& block) {
                                 cpu::integer_gemm(args, x, block);
                               });
    }
    share(blocks(product), [&](std::int64_t i) { cpu::gemm(args, block(product, i)); });
  }

  void leaf_gemm(const LeafGemmArgs& args) const override {
    CHECK(args.w->layout == WeightLayout::Panels16, "a matrix packed for another device");
    if (args.nodes.empty()) return;
    const Product product{args.rows, args.k.size(), panels_holding({0, args.w->n})};
    if (args.w->in_integers()) {
      return share_in_integers(product, args.x, *args.w,
                               [&](const cpu::IntegerRows& x, const cpu::GemmBlock& block) {
                                 cpu::integer_leaf_gemm(args, x, block);
                               });
    }
    share(blocks(product), [&](std::int64_t i) { cpu::leaf_gemm(args, block(product, i)); });
  }

  // All hidden units before the first output: two runs of the team for all experts together.
  void expert_mlp(const ExpertMlpArgs& args) const override {
    if (!args.experts.empty() && args.experts.front().up.w->in_integers()) {
      return cpu::for_integer_experts(args.experts, [&](std::span<const cpu::IntegerChunk> chunks) {
        integer_experts(args, chunks);
      });
    }
    std::vector<ExpertBlock> up;
    std::vector<ExpertBlock> down;
    for (const ExpertRows& e : args.experts) {
      for (const MatrixPart* part : {&e.gate, &e.up, &e.down}) {
        CHECK(part->w == nullptr || part->w->layout == WeightLayout::Panels16,
              "a matrix packed for another device");
      }
      const auto rows = std::ssize(e.x);
      add_blocks(e, {rows, e.up.k.size(), panels_holding(e.up.n)}, up);
      if (!e.nodes.empty()) {
        add_blocks(e, {rows, e.down.k.size(), panels_holding({0, e.down.w->n})}, down);
      }
    }
    share(std::ssize(up), [&](std::int64_t i) {
      const ExpertBlock& b = up[static_cast<std::size_t>(i)];
      cpu::expert_hidden(*b.expert, args.activation, b.block);
    });
    share(std::ssize(down), [&](std::int64_t i) {
      const ExpertBlock& b = down[static_cast<std::size_t>(i)];
      cpu::expert_down(*b.expert, args.leaf_width, b.block);
    });
  }

  void sum_trees(const TreeSumArgs& args) const override {
    share_rows(args.rows, args.width * args.terms * args.nodes_per_term,
               [&](Range some) { cpu::sum_trees(args, some); });
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

  void kv_append(const KvAppendArgs& args) const override {
    share_rows(args.rows, 2 * args.cache.kv_heads * args.cache.head_dim,
               [&](Range some) { append_keys_and_values(args, some); });
  }

  void attention(const AttentionArgs& args) const override {
    const std::vector<cpu::AttentionTile> tiles = cpu::attention_tiles(args);
    if (team_ == nullptr || team_->size() == 1) return cpu::attention(args, tiles);
    const std::vector<Range> parts = cpu::attention_parts(args, tiles, 8 * team_->size());
    team_->run(std::ssize(parts), [&](std::int64_t part) {
      const Range some = parts[static_cast<std::size_t>(part)];
      cpu::attention(args, std::span(tiles).subspan(static_cast<std::size_t>(some.begin),
                                                    static_cast<std::size_t>(some.size())));
    });
  }

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

  void share(std::int64_t parts, FunctionRef<void(std::int64_t)> body) const {
    if (team_ != nullptr) return team_->run(parts, body);
    for (std::int64_t part = 0; part < parts; ++part) body(part);
  }

  // A matrix product, to be cut into blocks: bands of rows, in each all groups of panels in the
  // order in which they lie.
  struct Product {
    std::int64_t rows = 0;
    std::int64_t k = 0;
    Range panels;

    std::int64_t first_group() const { return panels.begin / kGroupPanels; }
    std::int64_t groups() const {
      return (panels.end + kGroupPanels - 1) / kGroupPanels - first_group();
    }
  };
  static Range panels_holding(Range n) { return {n.begin / kPanelWidth, panels_of(n.end)}; }
  std::int64_t bands(const Product& p) const {
    const std::int64_t near =
        std::max<std::int64_t>(1, kBandBytes / std::max<std::int64_t>(1, 4 * p.k));
    const std::int64_t team = team_ == nullptr ? 1 : 4 * team_->size();
    const std::int64_t wanted =
        std::min(p.rows / kBlockRows, team / std::max<std::int64_t>(1, p.groups()));
    return std::max({std::int64_t{1}, (p.rows + near - 1) / near, wanted});
  }
  std::int64_t blocks(const Product& p) const { return bands(p) * p.groups(); }
  cpu::GemmBlock block(const Product& p, std::int64_t i) const {
    const std::int64_t first = (p.first_group() + i % p.groups()) * kGroupPanels;
    return {split(p.rows, bands(p), i / p.groups()),
            {std::max(first, p.panels.begin), std::min(first + kGroupPanels, p.panels.end)}};
  }

  struct ExpertBlock {
    const ExpertRows* expert = nullptr;
    cpu::GemmBlock block;
  };
  void add_blocks(const ExpertRows& e, const Product& p, std::vector<ExpertBlock>& to) const {
    for (std::int64_t i = 0; i < blocks(p); ++i) to.push_back({&e, block(p, i)});
  }

  // Each row is quantised once; then body(rows, block) over blocks of the product.
  void share_in_integers(
      const Product& product, ConstRows x, const WeightMatrix& w,
      FunctionRef<void(const cpu::IntegerRows&, const cpu::GemmBlock&)> body) const {
    cpu::for_integer_rows(product.rows, product.k, w.integers, [&](const cpu::IntegerRows& some) {
      share_rows(some.rows.size(), product.k, [&](Range part) {
        for (std::int64_t r = part.begin; r < part.end; ++r) {
          const std::int64_t row = some.rows.begin + r;
          cpu::quantise_row(x.row(row), w.integers, kActivationLimit, some, row);
        }
      });
      const Product now{some.rows.size(), product.k, product.panels};
      share(blocks(now),
            [&](std::int64_t i) { body(some, moved(block(now, i), some.rows.begin)); });
    });
  }
  static cpu::GemmBlock moved(const cpu::GemmBlock& block, std::int64_t by) {
    return {{block.rows.begin + by, block.rows.end + by}, block.panels};
  }

  // As expert_mlp, the rows and then the hidden units quantised between.
  void integer_experts(const ExpertMlpArgs& args, std::span<const cpu::IntegerChunk> chunks) const {
    struct ChunkBlock {
      const cpu::IntegerChunk* chunk = nullptr;
      cpu::GemmBlock block;
    };
    std::vector<ChunkBlock> up;
    std::vector<ChunkBlock> down;
    const auto add = [&](const cpu::IntegerChunk& c, const Product& p,
                         std::vector<ChunkBlock>& to) {
      for (std::int64_t i = 0; i < blocks(p); ++i) {
        to.push_back({&c, moved(block(p, i), c.x.rows.begin)});
      }
    };
    for (const cpu::IntegerChunk& c : chunks) {
      const ExpertRows& e = *c.expert;
      CHECK(!e.gated() || (e.gate.n == e.up.n && e.gate.k == e.up.k && e.gate.w->k == e.up.w->k &&
                           e.gate.w->integers == e.up.w->integers));
      add(c, {c.x.rows.size(), e.up.k.size(), panels_holding(e.up.n)}, up);
      if (e.nodes.empty()) continue;
      add(c, {c.x.rows.size(), e.down.k.size(), panels_holding({0, e.down.w->n})}, down);
    }
    share_chunks(chunks, [&](const cpu::IntegerChunk& c, std::int64_t row) {
      cpu::quantise_row(c.expert->x[static_cast<std::size_t>(row)], c.expert->up.w->integers,
                        kActivationLimit, c.x, row);
    });
    share(std::ssize(up), [&](std::int64_t i) {
      const ChunkBlock& b = up[static_cast<std::size_t>(i)];
      cpu::integer_hidden(*b.chunk->expert, args.activation, b.chunk->x, b.block);
    });
    share_chunks(chunks, [&](const cpu::IntegerChunk& c, std::int64_t row) {
      if (c.expert->nodes.empty()) return;
      cpu::quantise_row(c.expert->hidden + row * c.expert->up.n.size(), c.expert->down.w->integers,
                        kActivationLimit, c.hidden, row);
    });
    share(std::ssize(down), [&](std::int64_t i) {
      const ChunkBlock& b = down[static_cast<std::size_t>(i)];
      cpu::integer_down(*b.chunk->expert, args.leaf_width, b.chunk->hidden, b.block);
    });
  }

  // body(chunk, row) for all rows.
  void share_chunks(std::span<const cpu::IntegerChunk> chunks,
                    FunctionRef<void(const cpu::IntegerChunk&, std::int64_t)> body) const {
    const cpu::IntegerChunk& last = chunks.back();
    share_rows(last.first + last.x.rows.size(), last.expert->up.k.size(), [&](Range part) {
      for (const cpu::IntegerChunk& c : chunks) {
        const std::int64_t by = c.x.rows.begin - c.first;
        const std::int64_t begin = std::max(c.x.rows.begin, part.begin + by);
        const std::int64_t end = std::min(c.x.rows.end, part.end + by);
        for (std::int64_t row = begin; row < end; ++row) body(c, row);
      }
    });
  }

  Team* team_;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(Team* team) {
  return std::make_unique<CpuDevice>(team);
}

}  // namespace pentafold
