// "ttft=1s,tpot=20ms,gpus=min" -> Targets.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"
#include "spec/quantity.h"
#include "spec/workload.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestTargets = 4096;
constexpr double kLargestLimit = 1e15;

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

Result<double> parse_limit(const std::string& text, const std::string& key) {
  const auto value = to_number(text);
  if (!value) {
    return refused(
        fmt::format("target {} must be a number, its unit being part of the name, not {}", key,
                    quote_text(text)));
  }
  return *value;
}

struct TargetKey {
  std::string_view name;
  std::optional<double> Targets::* limit;  // null: only an objective
  Result<double> (*parse)(const std::string&, const std::string&);
  std::string_view wish;  // "min", "max", or empty: only a limit
  Objective objective;
};
constexpr Objective kNone = Objective::TokensPerSecondPerGpu;
constexpr std::array<TargetKey, 10> kTargets = {
    {{"ttft", &Targets::ttft_s, parse_seconds, "min", Objective::Ttft},
     {"tpot", &Targets::tpot_s, parse_seconds, "min", Objective::Tpot},
     {"tokens_per_s_per_gpu", &Targets::tokens_per_s_per_gpu, parse_limit, "max",
      Objective::TokensPerSecondPerGpu},
     {"prefill_tokens_per_s_per_gpu", &Targets::prefill_tokens_per_s_per_gpu, parse_limit, "",
      kNone},
     {"tokens_per_s", &Targets::tokens_per_s, parse_limit, "", kNone},
     {"goodput", &Targets::goodput_per_s, parse_rate, "", kNone},
     {"dollars_per_mtok", &Targets::dollars_per_mtok, parse_limit, "", kNone},
     {"memory_fraction", nullptr, parse_limit, "", kNone},
     {"gpus", nullptr, nullptr, "min", Objective::Gpus},
     {"cost", nullptr, nullptr, "min", Objective::Cost}}};

constexpr std::array<std::string_view, 4> kMetrics = {"ttft", "tpot", "itl", "e2e"};
struct Quantile {
  std::string_view name;
  int percent;
};
constexpr std::array<Quantile, 4> kQuantiles = {
    {{"_mean", 0}, {"_p50", 50}, {"_p90", 90}, {"_p99", 99}}};

// "ttft_p99"; without seconds yet.
std::optional<ServedLimit> served_limit(std::string_view key) {
  for (std::size_t m = 0; m < kMetrics.size(); ++m) {
    if (!key.starts_with(kMetrics[m])) continue;
    const auto quantile =
        std::ranges::find(kQuantiles, key.substr(kMetrics[m].size()), &Quantile::name);
    if (quantile == kQuantiles.end()) continue;
    return ServedLimit{static_cast<ServedMetric>(m), quantile->percent, 0};
  }
  return std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\n\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

Error unknown_key(std::string_view key) {
  std::vector<std::string_view> known;
  for (const TargetKey& target : kTargets) known.push_back(target.name);
  std::vector<std::string> served;
  for (const std::string_view metric : kMetrics) {
    for (const Quantile& quantile : kQuantiles) {
      served.push_back(fmt::format("{}{}", metric, quantile.name));
    }
  }
  std::vector<std::string_view> all = known;
  all.insert(all.end(), served.begin(), served.end());
  const std::string meant = nearest(key, all);
  return refused(
      fmt::format("unknown target {}; {}known are {}, and of a simulated workload {} each with {}",
                  quote_text(key), meant.empty() ? "" : fmt::format("did you mean \"{}\"? ", meant),
                  fmt::join(known, ", "), fmt::join(kMetrics, ", "), "_mean, _p50, _p90 or _p99"));
}

// gpus=32, cost=5: a number where only a wish goes.
Error only_a_wish(const TargetKey& target, const std::string& value) {
  const std::string_view instead =
      target.name == "gpus"
          ? "how many there are is not a target, but part of the fleet (--gpus 32)"
          : "a limit on cost is dollars_per_mtok";
  return refused(fmt::format("target {} can only be {}, not {}; {}", target.name, target.wish,
                             quote_text(value), instead));
}

Status store_limit(const TargetKey& target, const std::string& value, Targets& out) {
  if (target.parse == nullptr) return only_a_wish(target, value);
  PF_ASSIGN(const double limit, target.parse(value, std::string(target.name)));
  if (limit <= 0 || limit > kLargestLimit) {
    return refused(fmt::format("target {} = {} must be above 0{}", target.name, quote_text(value),
                               limit > 0 ? " and at most 1e15" : ""));
  }
  if (target.limit != nullptr) {
    out.*target.limit = limit;
    return ok_status();
  }
  if (limit > 1) {
    return refused(
        fmt::format("target memory_fraction = {} is above 1, the whole device", quote_text(value)));
  }
  out.memory_fraction = limit;
  return ok_status();
}

struct Reading {
  Targets targets;
  std::array<bool, kTargets.size()> seen = {};
  const TargetKey* objective = nullptr;
};

Status read_served(ServedLimit limit, const std::string& value, Targets& out) {
  const std::string name = limit.name();
  if (std::ranges::find(out.served, name, &ServedLimit::name) != out.served.end()) {
    return refused(fmt::format("target {} appears twice; keep one", name));
  }
  PF_ASSIGN(limit.seconds, parse_seconds(value, name));
  if (!(limit.seconds > 0 && limit.seconds <= kLargestLimit)) {
    return refused(fmt::format("target {} = {} must be above 0", name, quote_text(value)));
  }
  out.served.push_back(limit);
  return ok_status();
}

Status read_item(std::string_view item, Reading& reading) {
  const std::size_t equals = item.find('=');
  const std::string_view key = trimmed(item.substr(0, equals));
  const auto target = std::ranges::find(kTargets, key, &TargetKey::name);
  if (equals == std::string_view::npos) {
    return refused(fmt::format(
        "target {} has no value; write ttft=1s,tpot=20ms,gpus=min for example", quote_text(item)));
  }
  const std::string value(trimmed(item.substr(equals + 1)));
  if (const auto served = served_limit(key)) return read_served(*served, value, reading.targets);
  if (target == kTargets.end()) return unknown_key(key);
  if (value != "min" && value != "max") {
    // A limit and a wish for the same thing go together: tpot=20ms,tpot=min.
    bool& seen = reading.seen[static_cast<std::size_t>(target - kTargets.begin())];
    if (seen) return refused(fmt::format("target {} appears twice; keep one", key));
    seen = true;
    return store_limit(*target, value, reading.targets);
  }
  if (value != target->wish) {
    return refused(fmt::format(
        "target {} cannot be {}; {}", key, value,
        target->wish.empty() ? "give it a number" : fmt::format("{} can", target->wish)));
  }
  if (reading.objective != nullptr) {
    return refused(
        fmt::format("targets {}={} and {}={} contradict each other, for only one thing can be "
                    "best; keep one and "
                    "give the other a limit",
                    reading.objective->name, reading.objective->wish, key, value));
  }
  reading.objective = &*target;
  reading.targets.objective = target->objective;
  return ok_status();
}

}  // namespace

std::string ServedLimit::name() const {
  const auto quantile = std::ranges::find(kQuantiles, percent, &Quantile::percent);
  return fmt::format("{}{}", kMetrics[static_cast<std::size_t>(metric)], quantile->name);
}

const char* to_string(Objective objective) {
  switch (objective) {
    case Objective::TokensPerSecondPerGpu:
      return "tokens_per_s_per_gpu=max";
    case Objective::Gpus:
      return "gpus=min";
    case Objective::Cost:
      return "cost=min";
    case Objective::Ttft:
      return "ttft=min";
    case Objective::Tpot:
      return "tpot=min";
  }
  return "?";
}

Result<Targets> parse_targets(const std::string& text) {
  Reading reading;
  if (text.size() > kLongestTargets) {
    return refused(fmt::format("the targets are {} characters long; write at most {}", text.size(),
                               kLongestTargets));
  }
  if (trimmed(text).empty()) return reading.targets;
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    PF_TRY(read_item(trimmed(rest.substr(0, comma)), reading));
    if (comma == std::string_view::npos) return reading.targets;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace pentafold
