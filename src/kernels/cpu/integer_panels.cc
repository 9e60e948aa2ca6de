#include "kernels/cpu/integer_panels.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace pentafold::cpu {
namespace {

constexpr std::int64_t kColumns = 4;  // of an output that lie in one lane

// Four integers plus their offset, each in a byte.
std::uint32_t unsigned_columns(const std::int8_t* q, std::int64_t bits) {
  std::uint32_t columns = 0;
  std::memcpy(&columns, q, sizeof columns);
  if (bits == 8) return columns ^ 0x80808080U;
  return (columns & 0x0F0F0F0FU) ^ 0x08080808U;
}

// Group g of `from`'s outputs to its place in a panel.
void place_group(const IntegerFormat& format, const IntegerRows& from, std::int64_t g,
                 std::byte* block) {
  constexpr std::int64_t kQuadBytes = kColumns * kPanelWidth;
  const std::int64_t step_bytes = 2 * kQuadBytes * format.bits / 8;
  for (std::int64_t output = 0; output < from.rows.size(); ++output) {
    const std::int8_t* q = from.q + (output * from.groups + g) * from.padded;
    std::byte* to = block + output * kColumns;
    for (std::int64_t i = 0; i < from.padded; i += kGroupStep, to += step_bytes) {
      const std::uint32_t first = unsigned_columns(q + i, format.bits);
      const std::uint32_t second = unsigned_columns(q + i + kColumns, format.bits);
      const std::uint32_t stored = format.bits == 8 ? first : first | second << 4;
      std::memcpy(to, &stored, sizeof stored);
      if (format.bits == 8) std::memcpy(to + kQuadBytes, &second, sizeof second);
    }
    std::byte* scales = block + from.padded / kGroupStep * step_bytes;
    std::memcpy(scales + output * std::int64_t{sizeof(float)},
                from.scale + output * from.groups + g, sizeof(float));
  }
}

std::int64_t row_bytes(std::int64_t k, const IntegerFormat& format) {
  return k / format.group *
         (padded_group(format.group) + std::int64_t{sizeof(float) + sizeof(std::int32_t)});
}

// Lays `rows` rows of k columns out from `memory`.
IntegerRows rows_at(std::byte* memory, Range rows, std::int64_t k, const IntegerFormat& format) {
  CHECK(k % format.group == 0, "a product over a part of a group");
  IntegerRows out;
  out.rows = rows;
  out.groups = k / format.group;
  out.padded = padded_group(format.group);
  out.scale = reinterpret_cast<float*>(memory);
  out.start = reinterpret_cast<std::int32_t*>(out.scale + rows.size() * out.groups);
  out.q = reinterpret_cast<std::int8_t*>(out.start + rows.size() * out.groups);
  return out;
}

// At least `bytes` of the calling thread's.
std::byte* scratch(std::int64_t bytes) {
  thread_local std::vector<std::byte> memory(static_cast<std::size_t>(kIntegerRowBytes));
  if (std::ssize(memory) < bytes) memory.resize(static_cast<std::size_t>(bytes));
  return memory.data();
}

// An expert without nodes has no outputs, and its hidden units go nowhere.
std::int64_t hidden_width(const ExpertRows& e) {
  return e.nodes.empty() ? 0 : e.down.k.size();
}
const IntegerFormat& hidden_format(const ExpertRows& e) {
  return e.nodes.empty() ? e.up.w->integers : e.down.w->integers;
}

}  // namespace

WeightMatrix integer_panels(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                            DType dtype, const IntegerFormat& format) {
  CHECK(k % format.group == 0);
  WeightMatrix w{n, k, DType::F32, WeightLayout::Panels16, {}, format};
  const std::int64_t block = group_bytes(format, kPanelWidth);
  w.bytes.resize(static_cast<std::size_t>(panels_of(n) * (k / format.group) * block));
  std::vector<float> values(static_cast<std::size_t>(kPanelWidth * k));
  std::vector<std::byte> memory(static_cast<std::size_t>(kPanelWidth * row_bytes(k, format)));
  std::byte* to = w.bytes.data();
  for (std::int64_t first = 0; first < n; first += kPanelWidth) {
    const Range rows{0, std::min(kPanelWidth, n - first)};
    const std::byte* from = row_major.data() + static_cast<std::size_t>(first * k) * size_of(dtype);
    for (std::int64_t i = 0; i < rows.size() * k; ++i) {
      values[static_cast<std::size_t>(i)] =
          load_f32(from + static_cast<std::size_t>(i) * size_of(dtype), dtype);
    }
    const IntegerRows quantised = rows_at(memory.data(), rows, k, format);
    for (std::int64_t row = 0; row < rows.size(); ++row) {
      quantise_row(values.data() + row * k, format, format.limit(), quantised, row);
    }
    for (std::int64_t g = 0; g < quantised.groups; ++g, to += block) {
      if (rows.size() < kPanelWidth) std::fill_n(to, block, std::byte{0});
      place_group(format, quantised, g, to);
    }
  }
  return w;
}

void for_integer_rows(std::int64_t rows, std::int64_t k, const IntegerFormat& format,
                      FunctionRef<void(const IntegerRows&)> body) {
  const std::int64_t bytes = std::max<std::int64_t>(1, row_bytes(k, format));
  const std::int64_t at_once = std::max<std::int64_t>(1, kIntegerRowBytes / bytes);
  for (std::int64_t first = 0; first < rows; first += at_once) {
    const Range some{first, std::min(first + at_once, rows)};
    body(rows_at(scratch(some.size() * bytes), some, k, format));
  }
}

void for_integer_experts(std::span<const ExpertRows> experts,
                         FunctionRef<void(std::span<const IntegerChunk>)> body) {
  std::vector<IntegerChunk> chunks;
  std::byte* memory = scratch(0);
  std::int64_t used = 0;
  std::int64_t first = 0;
  const auto flush = [&] {
    if (!chunks.empty()) body(chunks);
    chunks.clear();
    used = first = 0;
  };
  for (const ExpertRows& e : experts) {
    const std::int64_t of_x = row_bytes(e.up.k.size(), e.up.w->integers);
    const std::int64_t of_hidden = row_bytes(hidden_width(e), hidden_format(e));
    const std::int64_t bytes = std::max<std::int64_t>(1, of_x + of_hidden);
    for (std::int64_t row = 0; row < std::ssize(e.x);) {
      if (used > 0 && used + bytes > kIntegerRowBytes) flush();
      if (used == 0) memory = scratch(bytes);
      const std::int64_t fit = std::max<std::int64_t>(1, (kIntegerRowBytes - used) / bytes);
      const Range rows{row, std::min<std::int64_t>(row + fit, std::ssize(e.x))};
      std::byte* at = memory + used;
      chunks.push_back({&e, rows_at(at, rows, e.up.k.size(), e.up.w->integers),
                        rows_at(at + rows.size() * of_x, rows, hidden_width(e), hidden_format(e)),
                        first});
      used += rows.size() * bytes;
      first += rows.size();
      row = rows.end;
    }
  }
  flush();
}

}  // namespace pentafold::cpu
