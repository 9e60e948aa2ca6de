// What the YAML form and the shorthand of a plan share: key names, bounds, defaults, words.
//
// One table a kind of key, so that a key means the same, and has the same bounds, wherever it is
// written. The default rule of the two meshes lives here: attention degrees default to 1, etp to 1,
// and ep to all ranks of the stage that etp leaves (docs/plan-format.md).
// Cost: tables of a dozen entries, searched linearly. Held by plan/plan_file_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/plan.h"

namespace pentafold {

inline constexpr std::int64_t kMaxDegree = 4096;
inline constexpr std::int64_t kMaxWorld = 65536;
inline constexpr std::int64_t kMaxStages = 1024;
inline constexpr std::int64_t kMaxStageLayers = 65536;
inline constexpr std::int64_t kMaxExplicitEntries = 1'000'000;
inline constexpr std::int64_t kMaxSyntheticTokens = std::int64_t{1} << 32;
inline constexpr std::int64_t kMaxDeviceMemory = std::int64_t{1} << 60;
inline constexpr double kMaxCapacityFactor = 1e6;

// What was written about the meshes of a stage; what was not is filled by make_stage.
struct StageSettings {
  std::optional<std::int64_t> dp;
  std::optional<std::int64_t> sp;
  std::optional<std::int64_t> tp;
  std::optional<std::int64_t> ep;
  std::optional<std::int64_t> etp;
  std::optional<PlacementStyle> placement;
};

struct DegreeKey {
  std::string_view name;
  std::optional<std::int64_t> StageSettings::* field;
};
inline constexpr std::array<DegreeKey, 5> kDegreeKeys = {{
    {"dp", &StageSettings::dp},
    {"sp", &StageSettings::sp},
    {"tp", &StageSettings::tp},
    {"ep", &StageSettings::ep},
    {"etp", &StageSettings::etp},
}};

struct IntegerKey {
  std::string_view name;
  std::int64_t Plan::* field;
  std::int64_t low;
  std::int64_t high;
};
inline constexpr std::array<IntegerKey, 5> kIntegerKeys = {{
    {"replicas", &Plan::replicas, 1, kMaxWorld},
    {"microbatches", &Plan::microbatches, 1, 4096},
    {"prefill_chunk", &Plan::prefill_chunk, 1, std::int64_t{1} << 20},
    {"max_batch", &Plan::max_batch, 1, 65536},
    {"kv_blocks", &Plan::kv_blocks, 0, std::int64_t{1} << 32},
}};

// Settings of `own` over those of `defaults`, key by key.
StageSettings overlay(const StageSettings& own, const StageSettings& defaults);

// Fills what was not written: dp, sp, tp, etp 1; ep = ranks / etp (at least 1; when etp does not
// divide the ranks, the mesh refuses the pair later, with the sentence for it).
StagePlan make_stage(const StageSettings& settings);

// The words of keys whose value is a word. The message names key, value and the nearest word;
// the caller adds file and line.
Result<PlacementStyle> parse_placement(const std::string& text);
Result<OverflowPolicy> parse_overflow(const std::string& text);
Result<WeightFormats> parse_weights(const std::string& text);
Result<NumberFormat> parse_kv(const std::string& text);

// "64GB" (powers of 1000), "64GiB" (powers of 1024), "1.5 TB", "68719476736" -> bytes.
Result<std::int64_t> parse_byte_size(const std::string& text);

Result<std::int64_t> parse_integer(std::string_view key, const std::string& text, std::int64_t low,
                                   std::int64_t high);
// "fp8": experts, attention and MLPs in that format; embedding, head, router and norms too unless
// it is one of fewer than 16 bits, which leaves those bf16; the cache bf16.
Result<Precision> parse_precision(const std::string& text);
// Nothing is looked up: a device may be one that the catalog lacks.
Result<std::string> parse_device_name(const std::string& text);
Result<double> parse_capacity_factor(const std::string& text);

// Bounds on the whole: stages and world.
Status check_extent(const Plan& plan);

}  // namespace pentafold
