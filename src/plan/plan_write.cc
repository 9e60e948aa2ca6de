#include "plan/plan_write.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "plan/plan_paths.h"
#include "plan/plan_settings.h"
#include "spec/number_format.h"

namespace pentafold {
namespace {

// Plain where YAML cannot misread it, else in double quotes.
std::string scalar(const std::string& text) {
  const auto plain_char = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_./-").find(c) != std::string_view::npos;
  };
  const bool letter_first = !text.empty() && (plain_char(text.front()) && text.front() != '-');
  constexpr std::string_view kNull = "null Null NULL";
  if (letter_first && std::ranges::all_of(text, plain_char) &&
      kNull.find(text) == std::string_view::npos) {
    return text;
  }
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string byte_size(std::int64_t bytes) {
  constexpr std::int64_t kGB = 1'000'000'000;
  constexpr std::int64_t kGiB = std::int64_t{1} << 30;
  if (bytes % kGB == 0) return fmt::format("{}GB", bytes / kGB);
  if (bytes % kGiB == 0) return fmt::format("{}GiB", bytes / kGiB);
  return fmt::format("{}", bytes);
}

std::string precision_value(const Precision& precision) {
  for (const NumberFormat format : kNumberFormats) {
    const auto word = parse_precision(to_string(format));
    if (word.ok() && *word == precision) return to_string(format);
  }
  return fmt::format("{{experts: {}, linear: {}, other: {}, kv: {}}}", to_string(precision.experts),
                     to_string(precision.linear), to_string(precision.other),
                     to_string(precision.kv));
}

const char* placement_word(PlacementStyle style) {
  switch (style) {
    case PlacementStyle::Blocked:
      return "blocked";
    case PlacementStyle::Spread:
      return "spread";
    case PlacementStyle::Explicit:
      return "explicit";
  }
  return "?";
}

bool same_degrees(const StagePlan& a, const StagePlan& b) {
  return a.dp == b.dp && a.sp == b.sp && a.tp == b.tp && a.ep == b.ep && a.etp == b.etp &&
         a.placement == b.placement;
}

bool same_entry(const ExplicitPlacement& a, const ExplicitPlacement& b) {
  return a.layer == b.layer && a.expert == b.expert && a.copies == b.copies;
}

bool same_stage(const StagePlan& a, const StagePlan& b) {
  return a.layers == b.layers && same_degrees(a, b) &&
         std::ranges::equal(a.explicit_placement, b.explicit_placement, same_entry);
}

// "dp: 2, sp: 1, ..." with `separator` between; placement only where it is not the default.
std::string degrees(const StagePlan& stage, const char* separator) {
  std::string out = fmt::format("dp: {1}{0}sp: {2}{0}tp: {3}{0}ep: {4}{0}etp: {5}", separator,
                                stage.dp, stage.sp, stage.tp, stage.ep, stage.etp);
  if (stage.placement != PlacementStyle::Blocked) {
    out += fmt::format("{}placement: {}", separator, placement_word(stage.placement));
  }
  return out;
}

std::string homes(const std::vector<ExpertCopy>& copies, bool backup) {
  std::vector<std::string> parts;
  for (const ExpertCopy& copy : copies) {
    if (copy.backup != backup) continue;
    const std::string ranks = fmt::format("{}", fmt::join(copy.ranks, ", "));
    parts.push_back(copy.ranks.size() == 1 ? ranks : "[" + ranks + "]");
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string entry_line(const ExplicitPlacement& entry) {
  std::string out = "      - {";
  if (entry.layer >= 0) out += fmt::format("layer: {}, ", entry.layer);
  out += fmt::format("expert: {}, copies: [{}]", entry.expert, homes(entry.copies, false));
  const std::string backups = homes(entry.copies, true);
  if (!backups.empty()) out += fmt::format(", backups: [{}]", backups);
  return out + "}\n";
}

std::string stage_text(const StagePlan& stage, std::size_t repeat, bool own_degrees) {
  std::vector<std::string> keys = {fmt::format("layers: {}", stage.layers)};
  if (repeat > 1) keys.push_back(fmt::format("repeat: {}", repeat));
  if (stage.placement != PlacementStyle::Explicit) {
    if (own_degrees) keys.push_back(degrees(stage, ", "));
    return fmt::format("  - {{{}}}\n", fmt::join(keys, ", "));
  }
  if (own_degrees) keys.push_back(degrees(stage, "\n    "));
  std::string out = fmt::format("  - {}\n    experts:{}\n", fmt::join(keys, "\n    "),
                                stage.explicit_placement.empty() ? " []" : "");
  for (const ExplicitPlacement& entry : stage.explicit_placement) out += entry_line(entry);
  return out;
}

std::string stages_text(const Plan& plan) {
  const StagePlan& first = plan.stages.front();
  const bool alike = std::ranges::all_of(
      plan.stages, [&](const StagePlan& stage) { return same_degrees(stage, first); });
  std::string out;
  if (first.layers == 0) {
    if (plan.stages.size() > 1) out += fmt::format("pp: {}\n", plan.stages.size());
    return out + degrees(first, "\n") + "\n";
  }
  if (alike) out += degrees(first, "\n") + "\n";
  out += "stages:\n";
  for (std::size_t begin = 0; begin < plan.stages.size();) {
    std::size_t end = begin + 1;
    while (end < plan.stages.size() && same_stage(plan.stages[begin], plan.stages[end])) ++end;
    out += stage_text(plan.stages[begin], end - begin, !alike);
    begin = end;
  }
  return out;
}

// What the plan is for: model, device and how things are stored there.
std::string target_text(const Plan& plan) {
  std::string out;
  if (!plan.model.empty()) {
    out += fmt::format("model: {}\n", scalar(written_model(plan.model, plan.file)));
  }
  if (!plan.device.empty()) out += fmt::format("device: {}\n", scalar(plan.device));
  if (plan.device_memory_bytes > 0) {
    out += fmt::format("device_memory: {}\n", byte_size(plan.device_memory_bytes));
  }
  if (plan.precision) out += fmt::format("precision: {}\n", precision_value(*plan.precision));
  if (const auto format = plan.weights.linear) {
    CHECK(plan.weights == weights_in(*format), "what fit_to_engine made is not written");
    out += fmt::format("weights: {}\n", to_string(*format));
  }
  if (plan.kv) out += fmt::format("kv: {}\n", to_string(*plan.kv));
  if (!plan.prefill_pool.empty()) {
    out += fmt::format("prefill_pool: {}\n", scalar(written_path(plan.prefill_pool, plan.file)));
  }
  return out;
}

std::string batching_text(const Plan& plan) {
  std::string out = fmt::format("microbatches: {}\nprefill_chunk: {}\nmax_batch: {}\n",
                                plan.microbatches, plan.prefill_chunk, plan.max_batch);
  if (plan.kv_blocks > 0) out += fmt::format("kv_blocks: {}\n", plan.kv_blocks);
  if (plan.capacity_factor) out += fmt::format("capacity_factor: {}\n", *plan.capacity_factor);
  if (plan.overflow == OverflowPolicy::NextBest) out += "overflow: next_best\n";
  const SyntheticRequests& r = plan.requests;
  if (r.requests > 0) {
    out += fmt::format("requests: {{count: {}, prompt_tokens: {}, max_tokens: {}, seed: {}}}\n",
                       r.requests, r.prompt_tokens, r.max_tokens, r.seed);
  }
  return out;
}

std::string comment_text(const std::string& comment) {
  std::string out = "# ";
  for (const char c : comment) {
    if (c == '\n') {
      out += "\n# ";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    }
  }
  while (out.ends_with(' ')) out.pop_back();
  return out + '\n';
}

}  // namespace

std::string format_plan(const Plan& plan, std::span<const std::string> comments) {
  std::string out;
  for (const std::string& comment : comments) out += comment_text(comment);
  out += target_text(plan);
  if (plan.replicas != 1) out += fmt::format("replicas: {}\n", plan.replicas);
  return out + stages_text(plan) + batching_text(plan);
}

}  // namespace pentafold
