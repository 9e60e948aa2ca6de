#include "execute/weight_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "support/tiny_models.h"

namespace pentafold {
namespace {

ModelSpec model_in(DType dtype) {
  ModelSpec model = testing::tiny_mixtral();
  model.dtype = dtype;
  return model;
}

constexpr TensorId kQuery{TensorRole::Q, 1, -1};
constexpr TensorId kNorm{TensorRole::InputNorm, 2, -1};

// The source's values, widened: what every store must hold.
std::vector<float> truth(const WeightSource& source, const WeightSlice& slice) {
  const DType dtype = source.dtype(slice.id);
  std::vector<std::byte> bytes(static_cast<std::size_t>(slice.count()) * size_of(dtype));
  source.read(slice.id, slice.rows, slice.cols, bytes);
  std::vector<float> out;
  for (std::size_t i = 0; i < bytes.size(); i += size_of(dtype)) {
    std::uint16_t half = 0;
    float whole = 0;
    std::memcpy(&half, bytes.data() + i, 2);
    if (dtype == DType::F32) std::memcpy(&whole, bytes.data() + i, 4);
    out.push_back(dtype == DType::F32
                      ? whole
                      : (dtype == DType::BF16 ? bf16_to_f32(half) : f16_to_f32(half)));
  }
  return out;
}

// A row-major matrix, widened.
std::vector<float> widened(const WeightMatrix& matrix) {
  EXPECT_EQ(matrix.layout, WeightLayout::RowMajor);
  std::vector<float> out;
  for (std::size_t i = 0; i < matrix.bytes.size(); i += size_of(matrix.dtype)) {
    std::uint16_t half = 0;
    float whole = 0;
    std::memcpy(&half, matrix.bytes.data() + i, 2);
    if (matrix.dtype == DType::F32) std::memcpy(&whole, matrix.bytes.data() + i, 4);
    out.push_back(matrix.dtype == DType::F32
                      ? whole
                      : (matrix.dtype == DType::BF16 ? bf16_to_f32(half) : f16_to_f32(half)));
  }
  return out;
}

class WeightStoreTypes : public ::testing::TestWithParam<DType> {
 protected:
  ModelSpec model_ = model_in(GetParam());
  WeightSource source_ = WeightSource::synthetic(model_);
  std::unique_ptr<Device> device_ = make_device("reference");
};
INSTANTIATE_TEST_SUITE_P(Types, WeightStoreTypes,
                         ::testing::Values(DType::F32, DType::BF16, DType::F16));

TEST_P(WeightStoreTypes, HoldsWhatTheSourceSays) {
  WeightStore store(source_, *device_, model_, {});
  for (const WeightSlice& slice : {WeightSlice{kQuery, {0, 32}, {0, 24}},
                                   {kQuery, {3, 17}, {5, 24}},
                                   {kQuery, {31, 32}, {23, 24}}}) {
    const std::vector<float> wanted = truth(source_, slice);
    EXPECT_EQ(widened(*store.matrix(slice)), wanted);
    EXPECT_EQ(widened(*store.table(slice)), wanted);
    EXPECT_EQ(*store.vector(slice), wanted);
    EXPECT_EQ(store.matrix(slice)->dtype, GetParam());
    EXPECT_EQ(store.matrix(slice)->n, slice.rows.size());
    EXPECT_EQ(store.matrix(slice)->k, slice.cols.size());
  }
  const WeightSlice norm{kNorm, {4, 20}, {0, 1}};
  EXPECT_EQ(*store.vector(norm), truth(source_, norm));
}

// Matrices too large to be staged at once are those that the device packs whole.
TEST_P(WeightStoreTypes, PiecesMakeTheWhole) {
  model_.vocab = 50'021;
  const WeightSource source = WeightSource::synthetic(model_);
  const WeightSlice slice{{TensorRole::Embedding, -1, -1}, {3, model_.vocab}, {0, model_.d}};
  std::vector<std::byte> raw(static_cast<std::size_t>(slice.count()) * size_of(GetParam()));
  ASSERT_GT(raw.size(), std::size_t{2} << 20);
  source.read(slice.id, slice.rows, slice.cols, raw);
  for (const char* name : {"reference", "cpu"}) {
    const auto device = make_device(name);
    const auto in_pieces =
        WeightStore(source, *device, model_, weights_in(NumberFormat::INT8)).matrix(slice);
    EXPECT_TRUE(
        in_pieces->bytes ==
        device->pack_integers(raw, slice.rows.size(), slice.cols.size(), GetParam(), {8, model_.d})
            .bytes)
        << name;
    const WeightMatrix wanted = device->pack(raw, slice.rows.size(), slice.cols.size(), GetParam());
    const auto held = WeightStore(source, *device, model_, {}).matrix(slice);
    EXPECT_TRUE(held->bytes == wanted.bytes) << name;
    EXPECT_EQ(held->n, wanted.n);
    EXPECT_EQ(held->k, wanted.k);
    EXPECT_EQ(held->layout, wanted.layout);
  }
}

// A conversion rounds each value once, from its exact widening.
TEST_P(WeightStoreTypes, ConvertsEachValueOnce) {
  const WeightSlice slice{kQuery, {2, 30}, {0, 24}};
  std::vector<float> wanted = truth(source_, slice);
  EXPECT_EQ(
      widened(*WeightStore(source_, *device_, model_, weights_in(NumberFormat::F32)).matrix(slice)),
      wanted);
  for (float& value : wanted) value = bf16_to_f32(f32_to_bf16(value));
  WeightStore rounded(source_, *device_, model_, weights_in(NumberFormat::BF16));
  EXPECT_EQ(widened(*rounded.matrix(slice)), wanted);
  EXPECT_EQ(widened(*rounded.table(slice)), wanted);
  EXPECT_EQ(*rounded.vector(slice), wanted);
}

// Integers are rounded from the exact widening, shards have the groups of the whole, and what is
// not multiplied with stays as stored.
TEST_P(WeightStoreTypes, HoldsIntegersOfTheSourcesValues) {
  model_.expert_hidden = 160;  // 16 leaves of 10
  const WeightSource source = WeightSource::synthetic(model_);
  for (const NumberFormat number : {NumberFormat::INT8, NumberFormat::INT4}) {
    WeightStore store(source, *device_, model_, weights_in(number));
    const TensorId down{TensorRole::Down, 1, 3};
    const WeightSlice shard{down, {2, 20}, {20, 60}};
    const auto held = store.matrix(shard);
    const IntegerFormat format{number == NumberFormat::INT8 ? 8 : 4, 10};
    EXPECT_EQ(held->integers, format);
    const std::vector<float> values = truth(source, shard);
    const std::byte* at = held->bytes.data();
    for (std::size_t first = 0; first < values.size(); first += 10) {
      std::vector<std::int8_t> wanted(10);
      const float scale = quantise_group(&values[first], 10, format.limit(), wanted.data());
      EXPECT_EQ(load_f32(at, DType::F32), scale);
      EXPECT_EQ(std::memcmp(at + 4, wanted.data(), 10), 0);
      at += 14;
    }
    EXPECT_EQ(at, held->bytes.data() + held->bytes.size());
    const WeightSlice router{{TensorRole::Router, 1, -1}, {0, 8}, {0, 24}};
    EXPECT_EQ(widened(*store.matrix(router)), truth(source, router));
    const WeightSlice table{{TensorRole::Embedding, -1, -1}, {3, 30}, {0, 24}};
    EXPECT_EQ(widened(*store.table(table)), truth(source, table));
    EXPECT_EQ(*store.vector({kNorm, {4, 20}, {0, 1}}), truth(source, {kNorm, {4, 20}, {0, 1}}));
  }
}

// Equal rectangles are one copy, other rectangles and other uses are not; bytes count copies.
TEST_P(WeightStoreTypes, EqualSlicesAreHeldOnce) {
  WeightStore store(source_, *device_, model_, {});
  EXPECT_EQ(store.bytes_held(), 0);
  const WeightSlice slice{kQuery, {0, 16}, {0, 24}};
  const auto held = store.matrix(slice);
  const auto bytes = static_cast<std::int64_t>(slice.count() * size_of(GetParam()));
  EXPECT_EQ(store.bytes_held(), bytes);
  EXPECT_EQ(store.matrix(slice), held);
  EXPECT_EQ(store.bytes_held(), bytes);
  EXPECT_NE(store.table(slice), held);
  EXPECT_EQ(store.bytes_held(), 2 * bytes);
  EXPECT_NE(store.matrix({kQuery, {0, 16}, {0, 23}}), held);
  EXPECT_NE(store.matrix({{TensorRole::K, 1, -1}, {0, 8}, {0, 24}}), held);
}

TEST_P(WeightStoreTypes, ThreadsThatAskAtOnceShareOneCopy) {
  constexpr int kThreads = 16;
  WeightStore store(source_, *device_, model_, {});
  std::vector<std::vector<std::shared_ptr<const WeightMatrix>>> got(kThreads);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : got) {
      threads.emplace_back([&] {
        for (std::int64_t e = 0; e < 8; ++e) {
          const TensorId up{TensorRole::Up, 0, static_cast<std::int32_t>(e)};
          mine.push_back(store.matrix({up, {0, 16}, {0, 24}}));
        }
      });
    }
  }
  for (const auto& mine : got) EXPECT_EQ(mine, got.front());
  EXPECT_EQ(store.bytes_held(), static_cast<std::int64_t>(8 * 16 * 24 * size_of(GetParam())));
}

}  // namespace
}  // namespace pentafold
