#include "spec/weight_source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "spec/load_model.h"
#include "spec/synthetic_weights.h"

namespace pentafold {
namespace {

const std::string kTiny = PENTAFOLD_SOURCE_DIR "/models/tiny-moe";

ModelSpec shape(DType dtype) {
  ModelSpec m;
  m.vocab = 501;
  m.d = 66;
  m.heads = 3;
  m.kv_heads = 1;
  m.head_dim = 22;
  m.layers = {{false, 0}, {true, 0}};
  m.dense_hidden = 90;
  m.experts = 3;
  m.top_k = 1;
  m.expert_hidden = 37;
  m.qkv_bias = true;
  m.dtype = dtype;
  m.seed = 7;
  return m;
}

std::vector<std::byte> read_whole(const WeightSource& source, const TensorInfo& t) {
  std::vector<std::byte> out(static_cast<std::size_t>(t.count()) * size_of(source.dtype(t.id)));
  source.read(t.id, {0, t.rows}, {0, t.cols}, out);
  return out;
}

// Random rectangles of every tensor equal the same rectangle cut out of the whole.
void expect_slices_of_the_whole(const WeightSource& source, const ModelSpec& model) {
  std::mt19937 random(1);
  for (const TensorInfo& t : model_tensors(model)) {
    const auto whole = read_whole(source, t);
    const std::size_t element = size_of(source.dtype(t.id));
    for (int trial = 0; trial < 3; ++trial) {
      const auto cut = [&](std::int64_t n) {
        const auto a = static_cast<std::int64_t>(random() % static_cast<unsigned>(n + 1));
        const auto b = static_cast<std::int64_t>(random() % static_cast<unsigned>(n + 1));
        return Range{std::min(a, b), std::max(a, b)};
      };
      const Range rows = cut(t.rows);
      const Range cols = cut(t.cols);
      std::vector<std::byte> part(static_cast<std::size_t>(rows.size() * cols.size()) * element);
      source.read(t.id, rows, cols, part);
      const std::size_t run = static_cast<std::size_t>(cols.size()) * element;
      for (std::int64_t r = 0; r < rows.size() && run > 0; ++r) {
        const auto from =
            static_cast<std::size_t>((rows.begin + r) * t.cols + cols.begin) * element;
        ASSERT_EQ(
            std::memcmp(part.data() + static_cast<std::size_t>(r) * run, whole.data() + from, run),
            0)
            << checkpoint_name(model, t.id);
      }
    }
  }
}

float widen(DType dtype, const std::byte* at) {
  float value = 0.0F;
  std::uint16_t half = 0;
  if (dtype == DType::F32) {
    std::memcpy(&value, at, 4);
    return value;
  }
  std::memcpy(&half, at, 2);
  return dtype == DType::BF16 ? bf16_to_f32(half) : f16_to_f32(half);
}

TEST(WeightSource, SlicesEqualTheWhole) {
  for (const DType dtype : {DType::BF16, DType::F16, DType::F32}) {
    const ModelSpec m = shape(dtype);
    expect_slices_of_the_whole(WeightSource::synthetic(m), m);
  }
  const ModelSpec tiny = load_model(kTiny).value().model;
  expect_slices_of_the_whole(WeightSource::open_checkpoint(kTiny, tiny).value(), tiny);
}

TEST(WeightSource, SyntheticValuesHaveTheStatedSpread) {
  for (const DType dtype : {DType::BF16, DType::F16, DType::F32}) {
    const ModelSpec m = shape(dtype);
    const WeightSource source = WeightSource::synthetic(m);
    const auto moments = [&](TensorId id) {
      const TensorInfo t = tensor_info(m, id);
      const auto bytes = read_whole(source, t);
      double sum = 0.0;
      double squares = 0.0;
      double largest = 0.0;
      for (std::int64_t i = 0; i < t.count(); ++i) {
        const double v = widen(dtype, bytes.data() + static_cast<std::size_t>(i) * size_of(dtype));
        sum += v;
        squares += v * v;
        largest = std::max(largest, std::abs(v));
      }
      const auto n = static_cast<double>(t.count());
      return std::array{sum / n, std::sqrt(squares / n), largest};
    };
    const double std_wanted = 1.0 / std::sqrt(66.0);
    const auto matrix = moments({TensorRole::Embedding, -1, -1});  // 33,066 values
    EXPECT_NEAR(matrix[0], 0.0, std_wanted * 0.03);
    EXPECT_NEAR(matrix[1], std_wanted, std_wanted * 0.02);
    EXPECT_LE(matrix[2], std_wanted * std::sqrt(3.0) * 1.01);
    const auto norm = moments({TensorRole::FinalNorm, -1, -1});
    EXPECT_NEAR(norm[0], 1.0, 0.04);
    EXPECT_LE(norm[2], 1.101);
    EXPECT_LE(moments({TensorRole::QBias, 1, -1})[2], 0.0201);
  }
}

TEST(WeightSource, SyntheticTensorsDifferBySeedAndIdentity) {
  ModelSpec m = shape(DType::BF16);
  const auto draw = [&](TensorId id) {
    return read_whole(WeightSource::synthetic(m), tensor_info(m, id));
  };
  const auto first = draw({TensorRole::Up, 1, 0});
  EXPECT_EQ(first, draw({TensorRole::Up, 1, 0}));
  EXPECT_NE(first, draw({TensorRole::Up, 1, 1}));
  EXPECT_NE(first, draw({TensorRole::Gate, 1, 0}));
  m.seed = 8;
  EXPECT_NE(first, draw({TensorRole::Up, 1, 0}));
}

TEST(WeightSource, RoundingToF16InvertsWidening) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = f16_to_f32(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
      continue;
    }
    ASSERT_EQ(f32_to_f16(value), half);
    // Halfway to the next value goes to the even one; a little beyond goes up.
    if ((half & 0x7FFFU) >= 0x7BFFU) continue;
    const float next = f16_to_f32(static_cast<std::uint16_t>(half + 1));
    const float middle = value + (next - value) * 0.5F;
    ASSERT_EQ(f32_to_f16(middle), half + (half & 1U));
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, next)), half + 1);
  }
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7C00U);
  EXPECT_EQ(f32_to_f16(65519.0F), 0x7BFFU);
}

TEST(WeightSource, CheckpointsMustFitTheModel) {
  const ModelSpec good = load_model(kTiny).value().model;
  const auto refusal = [&](const ModelSpec& m) {
    const auto opened = WeightSource::open_checkpoint(kTiny, m);
    return opened.ok() ? std::string() : opened.error().to_string();
  };
  EXPECT_EQ(refusal(good), "");
  ModelSpec m = good;
  m.qkv_bias = true;
  EXPECT_EQ(refusal(m), kTiny +
                            ": tensor \"model.layers.0.self_attn.q_proj.bias\" is missing (and 23 "
                            "more); check that weights and config.json belong together");
  m = good;
  m.vocab = 4097;
  m.tied_embeddings = true;
  EXPECT_EQ(refusal(m), kTiny +
                            ": tensor \"model.embed_tokens.weight\" has shape (4096, 256), but "
                            "config.json asks for (4097, 256); check that weights and config.json "
                            "belong together");
}

TEST(WeightSource, UnusableTypesAreRefusedByName) {
  namespace fs = std::filesystem;
  const std::string directory = testing::TempDir() + "weight_source_test";
  fs::create_directories(directory);
  std::ifstream in(kTiny + "/model.safetensors", std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(in)), {});
  const std::size_t tensor = file.find("\"model.norm.weight\"");
  const std::size_t type = file.find("\"BF16\"", tensor);
  ASSERT_NE(type, std::string::npos);
  file.replace(type, 6, "\"I16\" ");
  std::ofstream(directory + "/model.safetensors", std::ios::binary) << file;
  const auto opened = WeightSource::open_checkpoint(directory, load_model(kTiny).value().model);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message.find(
                "tensor \"model.norm.weight\" has type \"I16\"; supported are BF16, F16, F32"),
            std::string::npos)
      << opened.error().message;
  fs::remove_all(directory);
}

}  // namespace
}  // namespace pentafold
