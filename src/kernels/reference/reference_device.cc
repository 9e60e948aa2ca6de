#include "kernels/reference/reference_device.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/canonical_math.h"
#include "base/check.h"
#include "base/reduction_tree.h"
#include "kernels/kv_layout.h"

namespace pentafold {
namespace {

float weight_at(const WeightMatrix& w, std::int64_t row, std::int64_t column) {
  const std::byte* p = w.bytes.data() + (row * w.k + column) * size_of(w.dtype);
  if (w.dtype == DType::F32) {
    float value = 0.0F;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  return w.dtype == DType::BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// A row of integers: for each group its scale, then the integers, one a byte.
std::int64_t integer_row_bytes(const WeightMatrix& w) {
  return w.k / w.integers.group * (w.integers.group + std::int64_t{sizeof(float)});
}

float integer_chain(const float* x, const WeightMatrix& w, std::int64_t row, Range k) {
  const std::int64_t group = w.integers.group;
  CHECK(k.begin % group == 0 && k.size() % group == 0, "a part of a group");
  const std::int64_t stride = group + std::int64_t{sizeof(float)};
  std::vector<std::int8_t> xq(static_cast<std::size_t>(group));
  float acc = 0.0F;
  for (std::int64_t i = k.begin; i < k.end; i += group) {
    const float x_scale = quantise_group(x + (i - k.begin), group, kActivationLimit, xq.data());
    const std::byte* at = w.bytes.data() + row * integer_row_bytes(w) + i / group * stride;
    float w_scale = 0.0F;
    std::memcpy(&w_scale, at, sizeof w_scale);
    const auto* wq = reinterpret_cast<const std::int8_t*>(at + sizeof w_scale);
    std::int32_t sum = 0;
    for (std::int64_t j = 0; j < group; ++j) sum += xq[static_cast<std::size_t>(j)] * wq[j];
    acc = std::fma(static_cast<float>(sum), x_scale * w_scale, acc);
  }
  return acc;
}

// One chain: the sum over columns k of w's row `row` times x[0 .. k.size()).
float dot_chain(const float* x, const WeightMatrix& w, std::int64_t row, Range k) {
  if (w.in_integers()) return integer_chain(x, w, row, k);
  float acc = 0.0F;
  for (std::int64_t i = k.begin; i < k.end; ++i) {
    acc = std::fma(x[i - k.begin], weight_at(w, row, i), acc);
  }
  return acc;
}

float node_value(const LeafGemmArgs& a, Range node, std::int64_t r, std::int64_t output) {
  if (node.size() == 1) {
    const std::int64_t offset = (node.begin - a.nodes.front().begin) * a.leaf_width;
    const std::int64_t begin = a.k.begin + offset;
    return dot_chain(a.x.row(r) + offset, *a.w, output, {begin, begin + a.leaf_width});
  }
  const std::int64_t middle = tree_split(node);
  const float left = node_value(a, {node.begin, middle}, r, output);
  const float right = node_value(a, {middle, node.end}, r, output);
  return left + right;
}

// What online softmax carries from one key block to the next.
struct SoftmaxState {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0F;
  std::vector<float> acc;
};

// Number `i` of a tile of the cache.
float stored_at(KvType type, const std::byte* tile, std::int64_t i) {
  if (type == KvType::I8) return static_cast<float>(reinterpret_cast<const std::int8_t*>(tile)[i]);
  return load_f32(tile + i * size_of(type), float_type(type));
}

// Folds keys `keys` (absolute positions inside one block) into `state`.
void fold_block(const AttentionArgs& a, const float* q, std::int64_t tile, Range keys,
                SoftmaxState& state) {
  const std::int64_t head_dim = a.cache.head_dim;
  const float* k_scales = kv_scales(a.cache, a.cache.k + tile);
  const float* v_scales = kv_scales(a.cache, a.cache.v + tile);
  float score[kKvBlockTokens] = {};
  float new_max = state.max;
  for (std::int64_t t = keys.begin; t < keys.end; ++t) {
    const std::int64_t j = t % kKvBlockTokens;
    float acc = 0.0F;
    for (std::int64_t d = 0; d < head_dim; ++d) {
      acc = std::fma(q[d], stored_at(a.cache.type, a.cache.k + tile, d * kKvBlockTokens + j), acc);
    }
    score[j] = a.scale * acc;
    if (k_scales != nullptr) score[j] = score[j] * k_scales[j];
    new_max = std::max(new_max, score[j]);
  }
  const float c = canonical_exp(state.max - new_max);
  state.sum = state.sum * c;
  for (float& value : state.acc) value = value * c;
  for (std::int64_t t = keys.begin; t < keys.end; ++t) {
    const std::int64_t j = t % kKvBlockTokens;
    float p = canonical_exp(score[j] - new_max);
    state.sum = state.sum + p;
    if (v_scales != nullptr) p = p * v_scales[j];
    for (std::int64_t d = 0; d < head_dim; ++d) {
      state.acc[d] =
          std::fma(p, stored_at(a.cache.type, a.cache.v + tile, j * head_dim + d), state.acc[d]);
    }
  }
  state.max = new_max;
}

void attend(const AttentionArgs& a, std::int64_t r, std::int64_t head) {
  const std::int64_t head_dim = a.cache.head_dim;
  const Range keys = visible_keys(a.positions[r], a.window);
  SoftmaxState state;
  state.acc.assign(static_cast<std::size_t>(head_dim), 0.0F);
  for (std::int64_t block = keys.begin / kKvBlockTokens; block * kKvBlockTokens < keys.end;
       ++block) {
    const Range whole{block * kKvBlockTokens, (block + 1) * kKvBlockTokens};
    const Range seen{std::max(keys.begin, whole.begin), std::min(keys.end, whole.end)};
    const std::int64_t tile = kv_tile_offset(a.cache, a.block_tables[r][block],
                                             a.kv_of_q[static_cast<std::size_t>(head)]);
    fold_block(a, a.q.row(r) + head * head_dim, tile, seen, state);
  }
  float* out = a.out.row(r) + head * head_dim;
  for (std::int64_t d = 0; d < head_dim; ++d) out[d] = state.acc[d] / state.sum;
}

class ReferenceDevice final : public Device {
 public:
  const char* name() const override { return "reference"; }

  WeightMatrix pack(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                    DType dtype) const override {
    WeightMatrix out = room_for(n, k, dtype);
    pack_rows(row_major, {0, n}, out);
    return out;
  }

  WeightMatrix room_for(std::int64_t n, std::int64_t k, DType dtype) const override {
    return {n, k, dtype, WeightLayout::RowMajor,
            SlabVector<std::byte>(static_cast<std::size_t>(n * k) * size_of(dtype))};
  }

  void pack_rows(std::span<const std::byte> row_major, Range rows,
                 WeightMatrix& into) const override {
    const std::size_t row_bytes = static_cast<std::size_t>(into.k) * size_of(into.dtype);
    CHECK(row_major.size() == static_cast<std::size_t>(rows.size()) * row_bytes);
    std::ranges::copy(row_major,
                      into.bytes.begin() + rows.begin * static_cast<std::ptrdiff_t>(row_bytes));
  }

  WeightMatrix pack_integers(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                             DType dtype, const IntegerFormat& format) const override {
    CHECK(row_major.size() == static_cast<std::size_t>(n * k) * size_of(dtype));
    CHECK(k % format.group == 0);
    WeightMatrix w{n, k, DType::F32, WeightLayout::RowMajor, {}, format};
    w.bytes.resize(static_cast<std::size_t>(n * integer_row_bytes(w)));
    std::byte* to = w.bytes.data();
    std::vector<float> values(static_cast<std::size_t>(format.group));
    for (std::int64_t first = 0; first < n * k; first += format.group) {
      for (std::int64_t j = 0; j < format.group; ++j) {
        const auto at = static_cast<std::size_t>(first + j) * size_of(dtype);
        values[static_cast<std::size_t>(j)] = load_f32(row_major.data() + at, dtype);
      }
      auto* q = reinterpret_cast<std::int8_t*>(to + sizeof(float));
      const float scale = quantise_group(values.data(), format.group, format.limit(), q);
      std::memcpy(to, &scale, sizeof scale);
      to += sizeof scale + static_cast<std::size_t>(format.group);
    }
    return w;
  }

  void gemm(const GemmArgs& a) const override {
    CHECK(a.w->layout == WeightLayout::RowMajor, "a matrix packed for another device");
    for (std::int64_t r = 0; r < a.rows; ++r) {
      for (std::int64_t j = 0; j < a.n.size(); ++j) {
        const float chain = dot_chain(a.x.row(r), *a.w, a.n.begin + j, a.k);
        a.y.row(r)[j] = a.bias != nullptr ? chain + a.bias[j] : chain;
      }
    }
  }

  void leaf_gemm(const LeafGemmArgs& a) const override {
    CHECK(a.w->layout == WeightLayout::RowMajor, "a matrix packed for another device");
    float* y = a.y;
    for (const Range& node : a.nodes) {
      for (std::int64_t r = 0; r < a.rows; ++r) {
        for (std::int64_t j = 0; j < a.w->n; ++j) *y++ = node_value(a, node, r, j);
      }
    }
  }

  void expert_mlp(const ExpertMlpArgs& a) const override {
    for (const ExpertRows& e : a.experts) {
      for (std::size_t r = 0; r < e.x.size(); ++r) run_row(a, e, r);
    }
  }

  void sum_trees(const TreeSumArgs& a) const override {
    for (std::int64_t r = 0; r < a.rows; ++r) {
      for (std::int64_t i = 0; i < a.width; ++i) {
        float y = 0.0F;
        for (std::int64_t t = r * a.terms; t < (r + 1) * a.terms; ++t) {
          const float* const* nodes = a.nodes.data() + t * a.nodes_per_term;
          if (nodes[0] == nullptr) continue;
          std::vector<float> slots;
          for (std::int64_t n = 0; n < a.nodes_per_term; ++n) slots.push_back(nodes[n][i]);
          for (const TreeAdd& add : a.adds) {
            float& to = slots[static_cast<std::size_t>(add.dst)];
            to = to + slots[static_cast<std::size_t>(add.src)];
          }
          y = a.weights == nullptr ? slots.front() : std::fma(a.weights[t], slots.front(), y);
        }
        a.y.row(r)[i] = a.bias == nullptr ? y : y + a.bias[i];
      }
    }
  }

  void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) const override {
    constexpr std::int64_t kLanes = 16;
    for (std::int64_t r = 0; r < rows; ++r) {
      float lane[kLanes] = {};
      for (std::int64_t i = 0; i < width; ++i) {
        const float value = x.row(r)[i];
        lane[i % kLanes] = std::fma(value, value, lane[i % kLanes]);
      }
      for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
        for (std::int64_t l = 0; l < half; ++l) lane[l] = lane[l] + lane[l + half];
      }
      sum[r] = lane[0];
    }
  }

  void normalise(std::int64_t rows, std::int64_t width, ConstRows x, const float* sum,
                 float denominator, float eps, const float* weight, Rows y) const override {
    for (std::int64_t r = 0; r < rows; ++r) {
      const float inverse = 1.0F / std::sqrt(sum[r] / denominator + eps);
      for (std::int64_t i = 0; i < width; ++i) y.row(r)[i] = (x.row(r)[i] * inverse) * weight[i];
    }
  }

  void rope(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
            std::span<const std::int64_t> positions, const float* table, Rows x) const override {
    const std::int64_t half = head_dim / 2;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* cosine = table + positions[r] * head_dim;
      const float* sine = cosine + half;
      for (std::int64_t h = 0; h < heads; ++h) {
        float* head = x.row(r) + h * head_dim;
        for (std::int64_t i = 0; i < half; ++i) {
          const float a = head[i];
          const float b = head[i + half];
          head[i] = std::fma(a, cosine[i], -(b * sine[i]));
          head[i + half] = std::fma(b, cosine[i], a * sine[i]);
        }
      }
    }
  }

  void kv_append(const KvAppendArgs& a) const override { append_keys_and_values(a, {0, a.rows}); }

  void attention(const AttentionArgs& a) const override {
    for (std::int64_t r = 0; r < a.rows; ++r) {
      for (std::int64_t h = 0; h < a.q_heads; ++h) attend(a, r, h);
    }
  }

  void silu_mul(std::int64_t rows, std::int64_t width, ConstRows gate, ConstRows up,
                Rows y) const override {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < width; ++i) {
        y.row(r)[i] = canonical_silu(gate.row(r)[i]) * up.row(r)[i];
      }
    }
  }

  void add(std::int64_t rows, std::int64_t width, ConstRows x, Rows y) const override {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < width; ++i) y.row(r)[i] = y.row(r)[i] + x.row(r)[i];
    }
  }

  void scaled_add(std::int64_t rows, std::int64_t width, const float* scale, ConstRows x,
                  Rows y) const override {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < width; ++i) {
        y.row(r)[i] = std::fma(scale[r], x.row(r)[i], y.row(r)[i]);
      }
    }
  }

 private:
  void run_row(const ExpertMlpArgs& a, const ExpertRows& e, std::size_t r) const {
    const std::int64_t width = e.up.n.size();
    const auto project = [&](const MatrixPart& part, float* to) {
      gemm({.rows = 1, .x = {e.x[r], 0}, .w = part.w, .n = part.n, .k = part.k, .y = {to, 0}});
    };
    float* hidden = e.hidden + static_cast<std::int64_t>(r) * width;
    project(e.up, hidden);
    std::vector<float> gate(hidden, hidden + width);
    if (e.gated()) project(e.gate, gate.data());
    for (std::int64_t i = 0; i < width; ++i) {
      const float x = gate[static_cast<std::size_t>(i)];
      const float activated =
          a.activation == ExpertActivation::Silu ? canonical_silu(x) : std::max(x, 0.0F);
      hidden[i] = e.gated() ? activated * hidden[i] : activated;
    }
    leaf_gemm({.rows = 1,
               .x = {hidden, 0},
               .w = e.down.w,
               .k = e.down.k,
               .leaf_width = a.leaf_width,
               .nodes = e.nodes,
               .y = e.y[r]});
  }
};

}  // namespace

std::unique_ptr<Device> make_reference_device() {
  return std::make_unique<ReferenceDevice>();
}

}  // namespace pentafold
