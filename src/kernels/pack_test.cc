// Packing: where every element comes to lie, whole and in pieces.
#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/test_tensors.h"

namespace pentafold::testing {
namespace {

// By the definition: groups of up to four panels, each group [k][panels][16], absent rows zero.
std::vector<std::byte> panels_of(const std::vector<std::byte>& rows, std::int64_t n, std::int64_t k,
                                 std::size_t size) {
  const std::int64_t panels = (n + 15) / 16;
  std::vector<std::byte> out(static_cast<std::size_t>(panels * 16 * k) * size);
  for (std::int64_t row = 0; row < n; ++row) {
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t group = row / 64;
      const std::int64_t width = 16 * std::min<std::int64_t>(4, panels - 4 * group);
      const std::int64_t to = group * 64 * k + i * width + row % 64;
      std::memcpy(out.data() + static_cast<std::size_t>(to) * size,
                  rows.data() + static_cast<std::size_t>(row * k + i) * size, size);
    }
  }
  return out;
}

TEST(Pack, PiecesAndWholesLieByTheDefinition) {
  Draw draw(5);
  const auto cpu = make_device("cpu");
  const auto reference = make_device("reference");
  for (int round = 0; round < 200; ++round) {
    const DType type = std::array{DType::F32, DType::BF16, DType::F16}[draw.integer(0, 2)];
    const std::int64_t n = draw.integer(1, 200);
    const std::int64_t k = draw.integer(1, 70);
    const std::vector<std::byte> rows = random_weights(draw, n * k, type);
    const auto row_bytes = static_cast<std::size_t>(k) * size_of(type);
    for (const Device* device : {cpu.get(), reference.get()}) {
      const WeightMatrix whole = device->pack(rows, n, k, type);
      WeightMatrix pieces = device->room_for(n, k, type);
      for (std::int64_t row = 0; row < n;) {
        const std::int64_t end = std::min(n, row + kPanelWidth * draw.integer(1, 3));
        device->pack_rows(std::span(rows).subspan(static_cast<std::size_t>(row) * row_bytes,
                                                  static_cast<std::size_t>(end - row) * row_bytes),
                          {row, end}, pieces);
        row = end;
      }
      EXPECT_TRUE(pieces.bytes == whole.bytes);
      const auto wanted = device == cpu.get() ? panels_of(rows, n, k, size_of(type)) : rows;
      EXPECT_TRUE(std::ranges::equal(whole.bytes, wanted)) << n << " x " << k;
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
