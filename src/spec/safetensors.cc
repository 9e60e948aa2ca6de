#include "spec/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/quote.h"

namespace pentafold {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format's integers are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kMaxRank = 8;

// Bytes of one element; types that are not listed are indexed without a check of their size.
std::optional<std::uint64_t> element_bytes(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 15> kSizes = {{{"BOOL", 1},
                                                                                  {"U8", 1},
                                                                                  {"I8", 1},
                                                                                  {"F8_E4M3", 1},
                                                                                  {"F8_E5M2", 1},
                                                                                  {"F8_E8M0", 1},
                                                                                  {"I16", 2},
                                                                                  {"U16", 2},
                                                                                  {"F16", 2},
                                                                                  {"BF16", 2},
                                                                                  {"I32", 4},
                                                                                  {"U32", 4},
                                                                                  {"F32", 4},
                                                                                  {"F64", 8},
                                                                                  {"I64", 8}}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  if (dtype == "U64") return 8;
  return std::nullopt;
}

// Collects entries from JSON events. Depth 1 is the file, depth 2 one tensor (or the metadata).
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<SafetensorsEntry> entries;
  std::string problem;

  bool null() override { return fail("holds null"); }
  bool boolean(bool) override { return fail("holds true or false"); }
  bool number_float(number_float_t, const string_t&) override {
    return fail("holds a number that is not whole");
  }
  bool binary(binary_t&) override { return fail("holds binary data"); }
  bool number_integer(number_integer_t) override { return fail("holds a negative number"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_list_) return fail("holds a number where none belongs");
    if (value > static_cast<std::uint64_t>(INT64_MAX)) return fail("holds a number above 2^63");
    if (field_ == Field::Shape) {
      if (entries.back().shape.size() == kMaxRank) {
        return fail(fmt::format("has more than {} dimensions", kMaxRank));
      }
      entries.back().shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (offsets_ == 2) return fail("has more than two data_offsets");
    (offsets_++ == 0 ? entries.back().begin : entries.back().end) = value;
    return true;
  }
  bool string(string_t& value) override {
    if (metadata_) return depth_ == 2 || fail("holds text where none belongs");
    if (depth_ != 2 || in_list_ || field_ != Field::Dtype)
      return fail("holds text where none belongs");
    entries.back().dtype = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override {
    if (in_list_ || depth_ == 2) return fail("is nested too deep");
    ++depth_;
    return true;
  }
  bool end_object() override {
    const bool tensor_ends = depth_ == 2 && !metadata_;
    --depth_;
    metadata_ = false;
    if (!tensor_ends) return true;
    if (seen_ != 7) return fail("does not have dtype, shape and data_offsets once each");
    if (offsets_ != 2) return fail("has no two data_offsets");
    return true;
  }
  bool start_array(std::size_t) override {
    const bool wanted = depth_ == 2 && !metadata_ && !in_list_ &&
                        (field_ == Field::Shape || field_ == Field::Offsets);
    if (!wanted) return fail("holds a list where none belongs");
    in_list_ = true;
    return true;
  }
  bool end_array() override {
    in_list_ = false;
    return true;
  }
  bool key(string_t& value) override {
    return depth_ == 1 ? start_tensor(value) : start_field(value);
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = fmt::format(
        "has a header that is not valid JSON (near byte {}); the file is damaged or "
        "not safetensors",
        position + kLengthBytes);
    return false;
  }

 private:
  enum class Field { None, Dtype, Shape, Offsets };

  bool fail(std::string_view what) {
    const bool inside = depth_ >= 1 && !entries.empty() && !metadata_;
    problem = fmt::format("has a malformed header: {} {}; the file is damaged or not safetensors",
                          metadata_ ? "__metadata__"
                          : inside  ? "tensor " + quote_text(entries.back().name)
                                    : "it",
                          what);
    return false;
  }
  bool start_tensor(string_t& name) {
    metadata_ = name == "__metadata__";
    if (metadata_) return true;
    if (!names_.insert(name).second) {
      problem = fmt::format("names tensor {} twice; write the checkpoint again", quote_text(name));
      return false;
    }
    entries.emplace_back();
    entries.back().name = std::move(name);
    field_ = Field::None;
    seen_ = 0;
    offsets_ = 0;
    return true;
  }
  bool start_field(const string_t& name) {
    if (metadata_) return true;
    field_ = name == "dtype"          ? Field::Dtype
             : name == "shape"        ? Field::Shape
             : name == "data_offsets" ? Field::Offsets
                                      : Field::None;
    if (field_ == Field::None) return fail(fmt::format("has an unknown key {}", quote_text(name)));
    const int bit = 1 << (static_cast<int>(field_) - 1);
    if ((seen_ & bit) != 0) return fail(fmt::format("has {} twice", name));
    seen_ |= bit;
    return true;
  }

  std::unordered_set<std::string> names_;
  Field field_ = Field::None;
  int depth_ = 0;
  int seen_ = 0;     // a bit per field
  int offsets_ = 0;  // how many of the two were read
  bool in_list_ = false;
  bool metadata_ = false;
};

// nullopt on overflow.
std::optional<std::uint64_t> product(const std::vector<std::int64_t>& shape, std::uint64_t bytes) {
  std::uint64_t n = bytes;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(n, static_cast<std::uint64_t>(dim), &n)) return std::nullopt;
  }
  return n;
}

std::optional<std::string> entry_problem(const SafetensorsEntry& e, std::uint64_t data_bytes) {
  if (e.end < e.begin) {
    return fmt::format("has data_offsets in reverse order ({}, {})", e.begin, e.end);
  }
  if (e.end > data_bytes) {
    return fmt::format("needs data up to byte {}, but the file holds {} bytes of data", e.end,
                       data_bytes);
  }
  const auto bytes = element_bytes(e.dtype);
  if (!bytes) return std::nullopt;
  const auto needed = product(e.shape, *bytes);
  if (!needed) return "has a shape whose size overflows 64 bits";
  if (*needed != e.end - e.begin) {
    return fmt::format("has {} bytes of data, but its shape and type {} need {}", e.end - e.begin,
                       e.dtype, *needed);
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> bytes,
                                                        const std::string& file) {
  const auto invalid = [&](std::string message) {
    return make_error(ErrorCode::InvalidSpec, std::move(message), file);
  };
  if (bytes.empty()) return invalid("is empty; download it again");
  if (bytes.size() < kLengthBytes) {
    return invalid(fmt::format("is {} bytes long, too short for safetensors; download it again",
                               bytes.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes) {
    return invalid(
        fmt::format("declares a header of {} bytes, above the limit of {}; the file is "
                    "damaged or not safetensors",
                    length, kMaxHeaderBytes));
  }
  if (length > bytes.size() - kLengthBytes) {
    return invalid(
        fmt::format("declares a header of {} bytes, but is only {} bytes long; it is "
                    "truncated: download it again",
                    length, bytes.size()));
  }
  const auto* begin = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  HeaderReader reader;
  if (length == 0 || *begin != '{') {
    return invalid(
        "has a header that is not a JSON object; the file is damaged or not safetensors");
  }
  if (!nlohmann::json::sax_parse(begin, begin + length, &reader)) return invalid(reader.problem);

  const std::uint64_t data_begin = kLengthBytes + length;
  const std::uint64_t data_bytes = bytes.size() - data_begin;
  for (SafetensorsEntry& e : reader.entries) {
    if (const auto problem = entry_problem(e, data_bytes)) {
      return invalid(fmt::format("tensor {} {}; the file is damaged: download it again",
                                 quote_text(e.name), *problem));
    }
    e.begin += data_begin;
    e.end += data_begin;
  }
  std::vector<SafetensorsEntry> entries = std::move(reader.entries);
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].begin < entries[i - 1].end) {
      return invalid(
          fmt::format("tensors {} and {} overlap; the file is damaged: download it again",
                      quote_text(entries[i - 1].name), quote_text(entries[i].name)));
    }
  }
  return entries;
}

}  // namespace pentafold
