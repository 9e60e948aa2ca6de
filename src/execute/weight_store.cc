#include "execute/weight_store.h"

#include <algorithm>
#include <utility>

namespace pentafold {
namespace {

// Of a slice as stored, at once: it stays in the nearest caches until it is packed.
constexpr std::int64_t kStagedBytes = std::int64_t{256} << 10;

template <class Bytes>
void convert(std::span<const std::byte> in, DType from, DType to, Bytes& out) {
  const std::size_t count = in.size() / size_of(from);
  out.resize(count * size_of(to));
  for (std::size_t i = 0; i < count; ++i) {
    store_f32(load_f32(in.data() + i * size_of(from), from), to, out.data() + i * size_of(to));
  }
}

// `piece`, whose rows follow those of `whole`, joins it; `n` rows in the end. Every row takes as
// many bytes as another, but for the last panel's.
void append_rows(WeightMatrix piece, std::int64_t n, WeightMatrix& whole) {
  if (piece.n == n) {
    whole = std::move(piece);
    return;
  }
  if (whole.bytes.empty()) {
    whole = WeightMatrix{n, piece.k, piece.dtype, piece.layout, {}, piece.integers};
    whole.bytes.reserve(piece.bytes.size() / static_cast<std::size_t>(panels_of(piece.n)) *
                        static_cast<std::size_t>(panels_of(n)));
  }
  whole.bytes.insert(whole.bytes.end(), piece.bytes.begin(), piece.bytes.end());
}

}  // namespace

WeightStore::WeightStore(WeightSource source, const Device& device, const ModelSpec& model,
                         const WeightFormats& weights)
    : source_(std::move(source)), device_(device), model_(model), weights_(weights) {}

HeldFormat WeightStore::format_of(TensorId id, WeightUse use) const {
  return held_format(weights_, model_, id, use, source_.dtype(id));
}

void WeightStore::sort(std::vector<WeightSlice>& slices) const {
  std::ranges::stable_sort(slices, {},
                           [this](const WeightSlice& slice) { return source_.place(slice.id); });
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
    SlabVector<std::byte> converted;
    convert(matrix.bytes, matrix.dtype, dtype, converted);
    matrix.bytes = std::move(converted);
    matrix.dtype = dtype;
  }
  return matrix;
}

// Piece by piece, so that loading never holds a slice twice and packs what it has just read.
WeightMatrix WeightStore::read_packed(const WeightSlice& slice) const {
  source_.announce(slice.id, slice.rows);
  const DType stored = source_.dtype(slice.id);
  const HeldFormat format = format_of(slice.id, WeightUse::Multiplied);
  const DType kept = format.dtype;
  const bool in_integers = format.integers.bits > 0;
  const std::int64_t row_bytes = slice.cols.size() * static_cast<std::int64_t>(size_of(stored));
  // Whole panels: what they are packed into can be laid one behind the other.
  const std::int64_t panels =
      std::max<std::int64_t>(1, kStagedBytes / std::max<std::int64_t>(1, row_bytes * kPanelWidth));
  const std::int64_t rows_at_once = std::min(panels * kPanelWidth, slice.rows.size());
  WeightMatrix whole;
  if (!in_integers) whole = device_.room_for(slice.rows.size(), slice.cols.size(), kept);
  std::vector<std::byte> staged(static_cast<std::size_t>(rows_at_once * row_bytes));
  std::vector<std::byte> converted;
  for (std::int64_t row = 0; row < slice.rows.size(); row += rows_at_once) {
    const Range rows{row, std::min(row + rows_at_once, slice.rows.size())};
    std::span<const std::byte> piece(staged.data(),
                                     static_cast<std::size_t>(rows.size() * row_bytes));
    source_.read(slice.id, {slice.rows.begin + rows.begin, slice.rows.begin + rows.end}, slice.cols,
                 std::span(staged).first(piece.size()));
    if (kept != stored) {
      convert(piece, stored, kept, converted);
      piece = converted;
    }
    if (in_integers) {
      append_rows(
          device_.pack_integers(piece, rows.size(), slice.cols.size(), kept, format.integers),
          slice.rows.size(), whole);
    } else {
      device_.pack_rows(piece, rows, whole);
    }
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
