// How fast are the cpu kernels on one core? GFLOP/s of gemm by rows and storage type, tokens/s of
// attention in decode and in prefill. Compare figures of one machine only.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "base/random.h"
#include "kernels/device.h"

namespace pentafold {
namespace {

std::vector<float> random_floats(std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  std::uint64_t i = 0;
  for (float& value : out) {
    value = static_cast<float>(static_cast<double>(mix64(++i) >> 11) * 0x1.0p-52 - 1.0);
  }
  return out;
}

// As stored in `dtype`, or with `bits` in integers.
WeightMatrix random_matrix(const Device& device, std::int64_t n, std::int64_t k, DType dtype,
                           std::int64_t bits = 0) {
  const std::vector<float> values = random_floats(n * k);
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::F32) {
      std::memcpy(bytes.data() + i * 4, &values[i], 4);
    } else {
      const std::uint16_t half = f32_to_bf16(values[i]);
      std::memcpy(bytes.data() + i * 2, &half, 2);
    }
  }
  if (bits == 0) return device.pack(bytes, n, k, dtype);
  return device.pack_integers(bytes, n, k, dtype, {bits, group_size(k, kChainGroup)});
}

void gemm(benchmark::State& state, DType dtype, std::int64_t bits = 0) {
  const auto device = make_device("cpu");
  const std::int64_t rows = state.range(0);
  const std::int64_t k = state.range(1);
  const std::int64_t n = state.range(2);
  const WeightMatrix w = random_matrix(*device, n, k, dtype, bits);
  const std::vector<float> x = random_floats(rows * k);
  std::vector<float> y(static_cast<std::size_t>(rows * n));
  for (auto _ : state) {
    device->gemm(
        {.rows = rows, .x = {x.data(), k}, .w = &w, .n = {0, n}, .k = {0, k}, .y = {y.data(), n}});
    benchmark::ClobberMemory();
  }
  const double operations = 2.0 * static_cast<double>(rows * k * n);
  const auto count = static_cast<double>(state.iterations());
  state.counters["flop"] = benchmark::Counter(operations * count, benchmark::Counter::kIsRate);
  state.counters["weight_bytes"] =
      benchmark::Counter(static_cast<double>(w.bytes.size()) * count, benchmark::Counter::kIsRate);
}

// The down projection of an expert of hidden 1024 to d 512: 16 leaves of 64.
void leaf_gemm(benchmark::State& state, std::int64_t bits) {
  const auto device = make_device("cpu");
  const std::int64_t rows = state.range(0);
  constexpr std::int64_t kK = 1024;
  constexpr std::int64_t kN = 512;
  constexpr std::int64_t kLeaves = 16;
  const std::vector<float> values = random_floats(kN * kK);
  const auto bytes = std::as_bytes(std::span(values));
  const WeightMatrix w = bits == 0
                             ? random_matrix(*device, kN, kK, DType::BF16)
                             : device->pack_integers(bytes, kN, kK, DType::F32, {bits, kLeafGroup});
  const std::vector<float> x = random_floats(rows * kK);
  std::vector<float> y(static_cast<std::size_t>(rows * kN));
  const Range root{0, kLeaves};
  for (auto _ : state) {
    device->leaf_gemm({.rows = rows,
                       .x = {x.data(), kK},
                       .w = &w,
                       .k = {0, kK},
                       .leaf_width = kK / kLeaves,
                       .nodes = {&root, 1},
                       .y = y.data()});
    benchmark::ClobberMemory();
  }
  state.counters["flop"] = benchmark::Counter(
      2.0 * static_cast<double>(rows * kK * kN) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

struct AttentionShape {
  std::int64_t rows = 0;     // query tokens of each request, at the end of its context
  std::int64_t context = 0;  // keys of a request
  std::int64_t requests = 0;
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  KvType type = KvType::F32;

  std::int64_t blocks() const { return (context + kKvBlockTokens - 1) / kKvBlockTokens; }
  std::int64_t bytes() const {  // of all keys; as many of values
    return requests * blocks() * kv_heads * kv_tile_bytes(type, kKvBlockTokens, head_dim);
  }
};

// Requests take turns, one a call, so that a large cache is read from memory.
void attention(benchmark::State& state) {
  const auto device = make_device("cpu");
  const AttentionShape s{state.range(0),
                         state.range(1),
                         state.range(2),
                         state.range(3),
                         state.range(4),
                         state.range(5),
                         kKvTypes[static_cast<std::size_t>(state.range(6))]};
  // Zeros in every type take no longer than other numbers.
  std::vector<std::byte> k(static_cast<std::size_t>(s.bytes()));
  std::vector<std::byte> v = k;
  const std::vector<float> q = random_floats(s.rows * s.q_heads * s.head_dim);
  std::vector<float> out(q.size());
  std::vector<std::int32_t> table(static_cast<std::size_t>(s.requests * s.blocks()));
  std::iota(table.begin(), table.end(), 0);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(s.rows));
  std::iota(positions.begin(), positions.end(), s.context - s.rows);
  std::vector<std::int32_t> kv_of_q;
  for (std::int64_t h = 0; h < s.q_heads; ++h) {
    kv_of_q.push_back(static_cast<std::int32_t>(h * s.kv_heads / s.q_heads));
  }
  double keys = 0.0;
  for (const std::int64_t position : positions) keys += static_cast<double>(position + 1);
  std::int64_t request = 0;
  for (auto _ : state) {
    const std::vector<const std::int32_t*> tables(static_cast<std::size_t>(s.rows),
                                                  table.data() + request * s.blocks());
    request = (request + 1) % s.requests;
    device->attention({.rows = s.rows,
                       .q_heads = s.q_heads,
                       .kv_of_q = kv_of_q,
                       .q = {q.data(), s.q_heads * s.head_dim},
                       .out = {out.data(), s.q_heads * s.head_dim},
                       .positions = positions,
                       .block_tables = tables,
                       .cache = {k.data(), v.data(), s.kv_heads, s.head_dim, s.type},
                       .window = 0,
                       .scale = 0.125F});
    benchmark::ClobberMemory();
  }
  const auto count = static_cast<double>(state.iterations());
  const double head_keys = static_cast<double>(s.q_heads * s.head_dim) * keys;
  state.counters["tokens"] =
      benchmark::Counter(static_cast<double>(s.rows) * count, benchmark::Counter::kIsRate);
  state.counters["flop"] = benchmark::Counter(4.0 * head_keys * count, benchmark::Counter::kIsRate);
  state.counters["cache_bytes"] = benchmark::Counter(
      static_cast<double>(2 * s.bytes() / s.requests) * count, benchmark::Counter::kIsRate);
}

void silu_mul(benchmark::State& state) {
  const auto device = make_device("cpu");
  const std::int64_t n = state.range(0);
  const std::vector<float> x = random_floats(n);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    device->silu_mul(1, n, {x.data(), n}, {x.data(), n}, {y.data(), n});
    benchmark::ClobberMemory();
  }
  state.counters["elements"] =
      benchmark::Counter(static_cast<double>(n) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

void gemm_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "k", "n"});
  for (const std::int64_t rows : {1, 8, 64, 512}) {
    b->Args({rows, 512, 1024});
    b->Args({rows, 1024, 512});
  }
}

BENCHMARK_CAPTURE(gemm, bf16, DType::BF16)->Apply(gemm_shapes);
BENCHMARK_CAPTURE(gemm, f32, DType::F32)->Apply(gemm_shapes);
BENCHMARK_CAPTURE(gemm, int8, DType::BF16, 8)->Apply(gemm_shapes);
BENCHMARK_CAPTURE(gemm, int4, DType::BF16, 4)->Apply(gemm_shapes);
void cold_shape(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "k", "n"})->Args({1, 4096, 14336});
}
BENCHMARK_CAPTURE(gemm, bf16_cold, DType::BF16)->Apply(cold_shape);
BENCHMARK_CAPTURE(gemm, int8_cold, DType::BF16, 8)->Apply(cold_shape);
BENCHMARK_CAPTURE(gemm, int4_cold, DType::BF16, 4)->Apply(cold_shape);
BENCHMARK_CAPTURE(leaf_gemm, bf16, 0)->Arg(1)->Arg(64)->Arg(512);
BENCHMARK_CAPTURE(leaf_gemm, int8, 8)->Arg(1)->Arg(64)->Arg(512);
void attention_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "context", "requests", "q_heads", "kv_heads", "head_dim", "kv_type"});
  for (std::int64_t type = 0; type < std::ssize(kKvTypes); ++type) {
    b->Args({512, 512, 1, 16, 16, 32, type});
    b->Args({512, 512, 1, 16, 16, 64, type});
    b->Args({512, 512, 1, 8, 2, 128, type});
    b->Args({1, 512, 1, 8, 2, 64, type});
    b->Args({1, 4096, 16, 16, 16, 32, type});
    b->Args({1, 4096, 8, 16, 16, 64, type});
    b->Args({1, 4096, 16, 32, 4, 128, type});
  }
}

BENCHMARK(attention)->Apply(attention_shapes);
BENCHMARK(silu_mul)->Arg(4096);

}  // namespace
}  // namespace pentafold
