#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/kv_layout.h"
#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

// What slots that no token was appended to hold: a NaN in every type, as a number or as a scale.
constexpr std::byte kUnused{0xFF};

// Rows of several requests over one paged pool whose blocks lie in random order.
struct AttentionCase {
  KvType type = KvType::F32;
  std::int64_t rows = 0;
  std::int64_t q_heads = 0;
  std::int64_t window = 0;
  float scale = 0.0F;
  std::int64_t head_dim = 0;
  std::int64_t kv_heads = 0;
  std::vector<std::int32_t> kv_of_q;
  std::vector<std::vector<std::int32_t>> tables;  // one a request
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> request_of_row;
  std::vector<float> q;
  std::vector<std::vector<float>> keys;    // one a request: (tokens, kv_heads * head_dim)
  std::vector<std::vector<float>> values;  // the same
  std::vector<std::byte> k_pool;
  std::vector<std::byte> v_pool;

  explicit AttentionCase(Draw& draw) : AttentionCase(draw, kKvTypes[draw.integer(0, 3)]) {}
  AttentionCase(Draw& draw, KvType kv_type) : type(kv_type) {
    constexpr std::int64_t kHeadDims[] = {1, 2, 6, 7, 8, 16, 24, 32, 37, 64, 80, 128};
    head_dim = kHeadDims[draw.integer(0, 11)];
    kv_heads = draw.integer(1, 9);  // four and more pass together in decode
    q_heads = kv_heads * draw.integer(1, 4);
    window = draw.integer(0, 1) == 0 ? 0 : draw.integer(1, 60);
    scale = 4.0F / std::sqrt(static_cast<float>(head_dim));
    for (std::int64_t h = 0; h < q_heads; ++h) {
      kv_of_q.push_back(static_cast<std::int32_t>(h * kv_heads / q_heads));
    }
    fill_cache(draw);
    draw_rows(draw);
    q = draw.floats(rows * q_heads * head_dim);
  }

  std::int64_t width() const { return kv_heads * head_dim; }
  KvLayer layer() { return {k_pool.data(), v_pool.data(), kv_heads, head_dim, type}; }
  std::int64_t tile_bytes() const {
    return type == KvType::I8 ? 16 * (head_dim + 4) : 16 * head_dim * size_of(type);
  }

  // The number that the cache holds for element i of a token's key or value, scale included.
  double stored_key(std::int64_t request, std::int64_t token, std::int64_t i) const {
    return stored(k_pool, {request, token, i}, (i % head_dim) * 16 + token % 16);
  }
  double stored_value(std::int64_t request, std::int64_t token, std::int64_t i) const {
    return stored(v_pool, {request, token, i}, (token % 16) * head_dim + i % head_dim);
  }

  std::vector<const std::int32_t*> table_pointers() const {
    std::vector<const std::int32_t*> out;
    for (const std::int64_t request : request_of_row) out.push_back(tables[request].data());
    return out;
  }

  std::vector<float> run(const Device& device) {
    const std::int64_t ld = q_heads * head_dim + 3;
    std::vector<float> padded(static_cast<std::size_t>(rows * ld), -7.0F);
    const auto pointers = table_pointers();
    device.attention({.rows = rows,
                      .q_heads = q_heads,
                      .kv_of_q = kv_of_q,
                      .q = {q.data(), q_heads * head_dim},
                      .out = {padded.data(), ld},
                      .positions = positions,
                      .block_tables = pointers,
                      .cache = layer(),
                      .window = window,
                      .scale = scale});
    return padded;
  }

 private:
  struct Element {
    std::int64_t request, token, i;
  };
  double stored(const std::vector<std::byte>& pool, const Element& at, std::int64_t number) const {
    const std::int32_t block = tables[at.request][at.token / 16];
    const std::byte* tile = pool.data() + (block * kv_heads + at.i / head_dim) * tile_bytes();
    if (type != KvType::I8) {
      return load_f32(tile + number * size_of(type), float_type(type));
    }
    const float scale = load_f32(tile + 16 * head_dim + 4 * (at.token % 16), DType::F32);
    return static_cast<double>(scale) * static_cast<double>(static_cast<std::int8_t>(tile[number]));
  }

  // Either rows in any order, or as in a step: a few of each request in turn, positions ascending.
  void draw_rows(Draw& draw) {
    const bool any_order = draw.integer(0, 2) == 0;
    const std::int64_t parts = any_order ? draw.integer(1, 12) : draw.integer(1, 3);
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t request = draw.integer(0, static_cast<std::int64_t>(tables.size()) - 1);
      const auto tokens = static_cast<std::int64_t>(keys[request].size()) / width();
      const std::int64_t first = draw.integer(0, tokens - 1);
      const std::int64_t count = any_order ? 1 : draw.integer(1, tokens - first);
      for (std::int64_t i = 0; i < count; ++i) {
        request_of_row.push_back(request);
        positions.push_back(first + i);
      }
    }
    rows = std::ssize(positions);
  }

  void fill_cache(Draw& draw) {
    const std::int64_t requests = draw.integer(1, 3);
    std::vector<std::int64_t> tokens;
    std::int64_t blocks = 2;  // two that nobody owns
    for (std::int64_t i = 0; i < requests; ++i) {
      tokens.push_back(draw.integer(1, 150));
      blocks += (tokens.back() + kKvBlockTokens - 1) / kKvBlockTokens;
    }
    std::vector<std::int32_t> free(static_cast<std::size_t>(blocks));
    std::iota(free.begin(), free.end(), 0);
    for (std::size_t i = free.size() - 1; i > 0; --i) {
      std::swap(free[i], free[draw.integer(0, static_cast<std::int64_t>(i))]);
    }
    k_pool.assign(static_cast<std::size_t>(blocks * kv_heads * tile_bytes()), kUnused);
    v_pool = k_pool;
    for (const std::int64_t count : tokens) {
      std::vector<std::int32_t> table;
      for (std::int64_t t = 0; t < count; t += kKvBlockTokens) {
        table.push_back(free.back());
        free.pop_back();
      }
      tables.push_back(table);
      keys.push_back(draw.floats(count * width()));
      values.push_back(draw.floats(count * width()));
      append(count);
    }
  }

  // Appends the newest request's tokens through the device.
  void append(std::int64_t count) {
    std::vector<std::int64_t> at(static_cast<std::size_t>(count));
    std::iota(at.begin(), at.end(), 0);
    const std::vector<const std::int32_t*> pointers(at.size(), tables.back().data());
    make_device("cpu")->kv_append({.rows = count,
                                   .k = {keys.back().data(), width()},
                                   .v = {values.back().data(), width()},
                                   .positions = at,
                                   .block_tables = pointers,
                                   .cache = layer()});
  }
};

using Attention = EveryTarget;

TEST_P(Attention, EqualsReferenceAndIgnoresUnusedSlots) {
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    Draw draw(seed);
    AttentionCase c(draw);
    const std::vector<float> want = c.run(*reference_);
    ASSERT_TRUE(std::none_of(want.begin(), want.end(), [](float x) { return std::isnan(x); }));
    ASSERT_TRUE(same_bits(want, c.run(*cpu_)))
        << "seed " << seed << " head_dim " << c.head_dim << " window " << c.window << " "
        << to_string(c.type);
  }
}

TEST_P(Attention, ARowDoesNotKnowItsCompanyNorWhereItsBlocksLie) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Draw draw(500 + seed);
    AttentionCase c(draw);
    const std::vector<float> whole = c.run(*cpu_);
    const std::int64_t width = c.q_heads * c.head_dim;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      AttentionCase one = c;
      one.rows = 1;
      one.positions = {c.positions[r]};
      one.request_of_row = {c.request_of_row[r]};
      one.q.assign(c.q.begin() + r * width, c.q.begin() + (r + 1) * width);
      // Two blocks of the pool trade places, tables included.
      const std::int64_t tile = c.kv_heads * c.tile_bytes();
      const auto blocks = static_cast<std::int64_t>(c.k_pool.size()) / tile;
      const auto a = static_cast<std::int32_t>(draw.integer(0, blocks - 1));
      const auto b = static_cast<std::int32_t>(draw.integer(0, blocks - 1));
      for (auto* pool : {&one.k_pool, &one.v_pool}) {
        std::vector<std::byte> spare(pool->begin() + a * tile, pool->begin() + (a + 1) * tile);
        std::copy_n(pool->begin() + b * tile, tile, pool->begin() + a * tile);
        std::copy(spare.begin(), spare.end(), pool->begin() + b * tile);
      }
      for (auto& table : one.tables) {
        for (std::int32_t& block : table) block = block == a ? b : block == b ? a : block;
      }
      const std::vector<float> want(whole.begin() + r * (width + 3),
                                    whole.begin() + (r + 1) * (width + 3));
      ASSERT_TRUE(same_bits(want, one.run(*cpu_))) << "seed " << seed << " row " << r;
    }
  }
}

TEST_P(Attention, AnotherBlockOrderChangesBits) {
  // Shows that the equalities above could fail: keys are a set to the mathematics, not to the bits.
  Draw draw(9);
  AttentionCase c(draw);
  while (std::ssize(c.keys.front()) < 100 * c.width() || c.head_dim < 16) c = AttentionCase(draw);
  c.window = 0;
  c.rows = std::min<std::int64_t>(c.rows, 12);
  c.request_of_row.resize(c.rows);
  c.positions.resize(c.rows);
  std::fill(c.request_of_row.begin(), c.request_of_row.end(), 0);
  std::fill(c.positions.begin(), c.positions.end(), 95);
  const std::vector<float> ascending = c.run(*cpu_);
  std::reverse(c.tables.front().begin(), c.tables.front().begin() + 6);
  EXPECT_FALSE(same_bits(ascending, c.run(*cpu_)));
}

INSTANTIATE_TEST_SUITE_P(Targets, Attention,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), target_name);

// Softmax attention of one (row, head) in doubles, and how far fp32 may stray from it.
struct Oracle {
  std::vector<double> out;
  std::vector<double> bound;
};

Oracle attend_in_double(const AttentionCase& c, std::int64_t r, std::int64_t head) {
  const Range seen = visible_keys(c.positions[r], c.window);
  const std::int64_t request = c.request_of_row[r];
  const std::int64_t kv = c.kv_of_q[static_cast<std::size_t>(head)] * c.head_dim;
  std::vector<double> score;
  double score_error = 0.0;
  for (std::int64_t t = seen.begin; t < seen.end; ++t) {
    double dot = 0.0;
    double magnitude = 0.0;
    for (std::int64_t d = 0; d < c.head_dim; ++d) {
      const double product = static_cast<double>(c.q[(r * c.q_heads + head) * c.head_dim + d]) *
                             c.stored_key(request, t, kv + d);
      dot += product;
      magnitude += std::fabs(product);
    }
    score.push_back(c.scale * dot);
    const double steps = static_cast<double>(c.head_dim) + 2;
    score_error = std::max(score_error, gamma_bound(steps) * c.scale * magnitude);
  }
  const double max = *std::max_element(score.begin(), score.end());
  const double min = *std::min_element(score.begin(), score.end());
  // A weight is off by: its score's error and the roundings of score - max (each relative through
  // exp), exp itself (2^-21), and a rescale with another exp for every later block; then sums of
  // `count` terms. Numerator and denominator both, hence twice.
  const auto count = static_cast<double>(seen.size());
  const double blocks = count / kKvBlockTokens + 2;
  const double one_exp = 2 * score_error + 2 * kUnitRoundoff * (max - min + 1) + 0x1.0p-21;
  const double relative = 2 * ((blocks + 1) * one_exp + gamma_bound(count + blocks + 3)) * 1.01;
  Oracle oracle;
  for (std::int64_t d = 0; d < c.head_dim; ++d) {
    double sum = 0.0;
    double weighted = 0.0;
    double magnitude = 0.0;
    for (std::size_t i = 0; i < score.size(); ++i) {
      const double p = std::exp(score[i] - max);
      const double v = c.stored_value(request, seen.begin + static_cast<std::int64_t>(i), kv + d);
      sum += p;
      weighted += p * v;
      magnitude += p * std::fabs(v);
    }
    oracle.out.push_back(weighted / sum);
    oracle.bound.push_back(relative * magnitude / sum);
  }
  return oracle;
}

TEST(AttentionOracle, ReferenceIsWithinTheBound) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draw draw(900 + seed);
    AttentionCase c(draw);
    const std::vector<float> got = c.run(*make_device("reference"));
    for (std::int64_t r = 0; r < c.rows; ++r) {
      for (std::int64_t h = 0; h < c.q_heads; ++h) {
        const Oracle oracle = attend_in_double(c, r, h);
        for (std::int64_t d = 0; d < c.head_dim; ++d) {
          const float y = got[r * (c.q_heads * c.head_dim + 3) + h * c.head_dim + d];
          ASSERT_LE(std::fabs(y - oracle.out[d]), oracle.bound[d]) << "seed " << seed;
        }
      }
    }
  }
}

// How far the cache may be from x, in a head whose largest magnitude is `largest`.
double rounding_of(KvType type, double x, double largest) {
  switch (type) {
    case KvType::F32:
      return 0.0;
    case KvType::BF16:
      return std::fabs(x) * 0x1.0p-8;
    case KvType::F16:
      return std::fabs(x) * 0x1.0p-11 + 0x1.0p-25;
    case KvType::I8:
      return largest / 127.0 * (0.5 + 127.0 * 3 * kUnitRoundoff);
  }
  return 0.0;
}

TEST(KvLayout, AppendRoundsEveryNumberIntoItsSlot) {
  for (const KvType type : kKvTypes) {
    Draw draw(77);
    AttentionCase c(draw, type);
    for (std::size_t request = 0; request < c.tables.size(); ++request) {
      const auto tokens = std::ssize(c.keys[request]) / c.width();
      for (std::int64_t head = 0; head < tokens * c.kv_heads; ++head) {
        const auto largest = [&](const std::vector<float>& of) {
          double most = 0.0;
          for (std::int64_t d = 0; d < c.head_dim; ++d) {
            most = std::max(most, std::fabs(static_cast<double>(of[head * c.head_dim + d])));
          }
          return most;
        };
        const double key_most = largest(c.keys[request]);
        const double value_most = largest(c.values[request]);
        for (std::int64_t d = 0; d < c.head_dim; ++d) {
          const std::int64_t at = head * c.head_dim + d;
          const std::int64_t t = at / c.width();
          const double key = c.keys[request][at];
          const double value = c.values[request][at];
          const auto id = static_cast<std::int64_t>(request);
          ASSERT_NEAR(c.stored_key(id, t, at % c.width()), key, rounding_of(type, key, key_most));
          ASSERT_NEAR(c.stored_value(id, t, at % c.width()), value,
                      rounding_of(type, value, value_most));
        }
      }
    }
  }
}

TEST(KvLayout, AppendTouchesNothingElse) {
  for (const KvType type : kKvTypes) {
    Draw draw(78);
    AttentionCase c(draw, type);
    // Blocks that no request owns, and the slots behind a request's last token.
    std::vector<char> owned(c.k_pool.size(), 0);
    const std::int64_t width = size_of(type);
    const auto own = [&](std::int64_t from, std::int64_t bytes) {
      std::fill_n(owned.begin() + from, bytes, 1);
    };
    for (std::size_t request = 0; request < c.tables.size(); ++request) {
      const auto tokens = std::ssize(c.keys[request]) / c.width();
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t h = 0; h < c.kv_heads; ++h) {
          const std::int64_t tile = (c.tables[request][t / 16] * c.kv_heads + h) * c.tile_bytes();
          for (std::int64_t d = 0; d < c.head_dim; ++d)
            own(tile + (d * 16 + t % 16) * width, width);
          if (type == KvType::I8) own(tile + 16 * c.head_dim + 4 * (t % 16), 4);
        }
      }
    }
    std::int64_t unused = 0;
    for (std::size_t i = 0; i < owned.size(); ++i) {
      if (owned[i] != 0) continue;
      ++unused;
      ASSERT_EQ(c.k_pool[i], kUnused) << to_string(type) << " " << i;
    }
    EXPECT_GT(unused, 0);
  }
}

}  // namespace
}  // namespace pentafold::testing
