#include "plan/plan_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "base/nearest.h"
#include "spec/quantity.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestQuote = 60;

// Values appear in messages; hostile ones may be long or hold control characters.
std::string quote(std::string_view value) {
  std::string out = "\"";
  for (const char c : value.substr(0, kLongestQuote)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return out + (value.size() > kLongestQuote ? "...\"" : "\"");
}

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

Result<std::size_t> parse_word(std::string_view key, const std::string& text,
                               std::span<const std::string_view> words) {
  const auto found = std::ranges::find(words, text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  const std::string meant = nearest(text, words);
  if (!meant.empty()) {
    return refused(
        fmt::format("{} does not know {}; did you mean \"{}\"?", key, quote(text), meant));
  }
  return refused(
      fmt::format("{} must be one of {}, not {}", key, fmt::join(words, ", "), quote(text)));
}

}  // namespace

StageSettings overlay(const StageSettings& own, const StageSettings& defaults) {
  StageSettings out = own;
  for (const DegreeKey& key : kDegreeKeys) {
    if (!(out.*key.field)) out.*key.field = defaults.*key.field;
  }
  if (!out.placement) out.placement = defaults.placement;
  return out;
}

StagePlan make_stage(const StageSettings& settings) {
  StagePlan stage;
  stage.dp = settings.dp.value_or(1);
  stage.sp = settings.sp.value_or(1);
  stage.tp = settings.tp.value_or(1);
  stage.etp = settings.etp.value_or(1);
  stage.ep = settings.ep.value_or(std::max<std::int64_t>(1, stage.ranks() / stage.etp));
  stage.placement = settings.placement.value_or(PlacementStyle::Blocked);
  return stage;
}

Result<PlacementStyle> parse_placement(const std::string& text) {
  static constexpr std::array<std::string_view, 3> kWords = {"blocked", "spread", "explicit"};
  static constexpr std::array<PlacementStyle, 3> kStyles = {
      PlacementStyle::Blocked, PlacementStyle::Spread, PlacementStyle::Explicit};
  PF_ASSIGN(const std::size_t index, parse_word("placement", text, kWords));
  return kStyles[index];
}

Result<OverflowPolicy> parse_overflow(const std::string& text) {
  static constexpr std::array<std::string_view, 2> kWords = {"drop", "next_best"};
  PF_ASSIGN(const std::size_t index, parse_word("overflow", text, kWords));
  return index == 0 ? OverflowPolicy::Drop : OverflowPolicy::NextBest;
}

Result<WeightFormats> parse_weights(const std::string& text) {
  static constexpr std::array<std::string_view, 6> kWords = {"as_stored", "bf16", "f16",
                                                             "f32",       "int8", "int4"};
  static constexpr std::array<NumberFormat, 6> kFormats = {NumberFormat::BF16, NumberFormat::BF16,
                                                           NumberFormat::F16,  NumberFormat::F32,
                                                           NumberFormat::INT8, NumberFormat::INT4};
  PF_ASSIGN(const std::size_t index, parse_word("weights", text, kWords));
  return index == 0 ? WeightFormats{} : weights_in(kFormats[index]);
}

Result<NumberFormat> parse_kv(const std::string& text) {
  static constexpr std::array<std::string_view, 4> kWords = {"f32", "bf16", "f16", "int8"};
  static constexpr std::array<NumberFormat, 4> kFormats = {NumberFormat::F32, NumberFormat::BF16,
                                                           NumberFormat::F16, NumberFormat::INT8};
  PF_ASSIGN(const std::size_t index, parse_word("kv", text, kWords));
  return kFormats[index];
}

Result<std::int64_t> parse_byte_size(const std::string& text) {
  auto read = to_bytes(text);
  if (!read) read = to_number(text);
  if (!read) {
    return refused(fmt::format(
        "device_memory must be a size such as 64GB, 64GiB or 68719476736 (bytes), not {}",
        quote(text)));
  }
  const double bytes = *read;
  if (bytes < 1.0 || bytes > static_cast<double>(kMaxDeviceMemory)) {
    return refused(fmt::format("device_memory = {} is outside 1 byte to 1 EiB", quote(text)));
  }
  return static_cast<std::int64_t>(bytes);
}

Result<std::int64_t> parse_integer(std::string_view key, const std::string& text, std::int64_t low,
                                   std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = end == text.data() + text.size() && !text.empty();
  if (!whole || status == std::errc::invalid_argument) {
    return refused(fmt::format("{} must be a whole number, not {}", key, quote(text)));
  }
  if (status != std::errc{} || value < low || value > high) {
    return refused(fmt::format("{} = {} is outside {} to {}", key, quote(text), low, high));
  }
  return value;
}

Result<double> parse_capacity_factor(const std::string& text) {
  const auto value = to_number(text);
  if (!value || *value <= 0.0 || *value > kMaxCapacityFactor) {
    return refused(fmt::format(
        "capacity_factor must be a number above 0 and up to {}, not {}; leave it out for dropless",
        kMaxCapacityFactor, quote(text)));
  }
  return *value;
}

Result<Precision> parse_precision(const std::string& text) {
  PF_ASSIGN(const NumberFormat format, parse_number_format(text));
  Precision precision;
  precision.experts = precision.linear = format;
  precision.other = bytes_per_value(format) >= 2.0 ? format : NumberFormat::BF16;
  return precision;
}

Result<std::string> parse_device_name(const std::string& text) {
  const bool printable =
      std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F && c != '"'; });
  if (text.empty() || text.size() > kLongestQuote || !printable) {
    return refused(fmt::format(
        "device must be the name of a device such as h200-sxm, up to {} characters, not {}",
        kLongestQuote, quote(text)));
  }
  return text;
}

Status check_extent(const Plan& plan) {
  const auto stages = static_cast<std::int64_t>(plan.stages.size());
  if (stages == 0 || stages > kMaxStages) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("the plan has {} stages; give 1 to {}", stages, kMaxStages),
                      plan.file);
  }
  // Summed with a stop: dp * sp * tp * stages * replicas of the largest degrees would overflow.
  std::int64_t ranks = 0;
  for (const StagePlan& stage : plan.stages) {
    ranks += stage.ranks();  // at most 2^36 each, by kMaxDegree
    if (ranks * plan.replicas > kMaxWorld) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("the plan needs more than {} ranks (this stage alone has {}, "
                                    "times {} replicas); use smaller degrees",
                                    kMaxWorld, stage.ranks(), plan.replicas),
                        plan.file, stage.line);
    }
  }
  return ok_status();
}

}  // namespace pentafold
