#include "execute/weight_store.h"

#include <algorithm>
#include <utility>

namespace pentafold {
namespace {

constexpr std::int64_t kStagedBytes = std::int64_t{1} << 20;  // of a slice as stored, at once

SlabVector<std::byte> convert(const SlabVector<std::byte>& in, DType from, DType to) {
  const std::size_t count = in.size() / size_of(from);
  SlabVector<std::byte> out(count * size_of(to));
  for (std::size_t i = 0; i < count; ++i) {
    store_f32(load_f32(in.data() + i * size_of(from), from), to, out.data() + i * size_of(to));
  }
  return out;
}

}  // namespace

WeightStore::WeightStore(WeightSource source, const Device& device, const ModelSpec& model,
                         const WeightFormats& weights)
    : source_(std::move(source)), device_(device), model_(model), weights_(weights) {}

HeldFormat WeightStore::format_of(TensorId id, WeightUse use) const {
  return held_format(weights_, model_, id, use, source_.dtype(id));
}

WeightStore::Entry& WeightStore::entry(const WeightSlice& slice, Use use) {
  const std::lock_guard lock(mutex_);
  auto& held =
      entries_[{slice.id, slice.rows.begin, slice.rows.end, slice.cols.begin, slice.cols.end, use}];
  if (!held) held = std::make_unique<Entry>();
  return *held;
}

WeightMatrix WeightStore::read(const WeightSlice& slice, DType dtype) const {
  WeightMatrix matrix;
  matrix.n = slice.rows.size();
  matrix.k = slice.cols.size();
  matrix.dtype = source_.dtype(slice.id);
  matrix.bytes.resize(static_cast<std::size_t>(slice.count()) * size_of(matrix.dtype));
  source_.read(slice.id, slice.rows, slice.cols, matrix.bytes);
  if (dtype != matrix.dtype) {
    matrix.bytes = convert(matrix.bytes, matrix.dtype, dtype);
    matrix.dtype = dtype;
  }
  return matrix;
}

// Piece by piece, so that loading never holds a slice twice.
WeightMatrix WeightStore::read_packed(const WeightSlice& slice) const {
  const std::int64_t row_bytes =
      slice.cols.size() * static_cast<std::int64_t>(size_of(source_.dtype(slice.id)));
  // Whole panels: what they are packed into can be laid one behind the other.
  const std::int64_t panels =
      std::max<std::int64_t>(1, kStagedBytes / std::max<std::int64_t>(1, row_bytes * kPanelWidth));
  const std::int64_t rows_at_once = panels * kPanelWidth;
  const HeldFormat format = format_of(slice.id, WeightUse::Multiplied);
  const auto pack = [&](const WeightSlice& part) {
    const WeightMatrix raw = read(part, format.dtype);
    if (format.integers.bits == 0) return device_.pack(raw.bytes, raw.n, raw.k, raw.dtype);
    return device_.pack_integers(raw.bytes, raw.n, raw.k, raw.dtype, format.integers);
  };
  if (slice.rows.size() <= rows_at_once) return pack(slice);
  WeightMatrix whole;
  for (std::int64_t row = slice.rows.begin; row < slice.rows.end; row += rows_at_once) {
    const Range rows{row, std::min(row + rows_at_once, slice.rows.end)};
    WeightMatrix piece = pack({slice.id, rows, slice.cols});
    if (whole.bytes.empty()) {
      whole =
          WeightMatrix{slice.rows.size(), piece.k, piece.dtype, piece.layout, {}, piece.integers};
      const std::int64_t all_panels = (whole.n + kPanelWidth - 1) / kPanelWidth;
      whole.bytes.reserve(piece.bytes.size() / static_cast<std::size_t>(panels) *
                          static_cast<std::size_t>(all_panels));
    }
    whole.bytes.insert(whole.bytes.end(), piece.bytes.begin(), piece.bytes.end());
  }
  return whole;
}

std::shared_ptr<const WeightMatrix> WeightStore::matrix(const WeightSlice& slice) {
  Entry& held = entry(slice, Use::Matrix);
  std::call_once(held.once, [&] {
    held.matrix = std::make_shared<const WeightMatrix>(read_packed(slice));
    bytes_ += static_cast<std::int64_t>(held.matrix->bytes.size());
  });
  return held.matrix;
}

std::shared_ptr<const WeightMatrix> WeightStore::table(const WeightSlice& slice) {
  Entry& held = entry(slice, Use::Table);
  std::call_once(held.once, [&] {
    const DType dtype = format_of(slice.id, WeightUse::LookedUp).dtype;
    held.matrix = std::make_shared<const WeightMatrix>(read(slice, dtype));
    bytes_ += static_cast<std::int64_t>(held.matrix->bytes.size());
  });
  return held.matrix;
}

std::shared_ptr<const std::vector<float>> WeightStore::vector(const WeightSlice& slice) {
  Entry& held = entry(slice, Use::Vector);
  std::call_once(held.once, [&] {
    const WeightMatrix raw = read(slice, format_of(slice.id, WeightUse::LookedUp).dtype);
    auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(slice.count()));
    for (std::size_t i = 0; i < values->size(); ++i) {
      (*values)[i] = load_f32(raw.bytes.data() + i * size_of(raw.dtype), raw.dtype);
    }
    bytes_ += static_cast<std::int64_t>(values->size() * sizeof(float));
    held.vector = std::move(values);
  });
  return held.vector;
}

}  // namespace pentafold
