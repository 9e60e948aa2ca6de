// The --plan shorthand, "tp=2,ep=4": a plan of like stages in one word. Unlike a file, it may leave
// dp to be inferred from ep (see infer_dp).
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/nearest.h"
#include "plan/plan_file.h"
#include "plan/plan_settings.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestShorthand = 4096;
constexpr const char* kSource = "--plan";

struct Shorthand {
  Plan plan;
  StageSettings stage;
  std::int64_t pp = 1;
};

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message), kSource);
}

// Puts a parsed value in its place.
template <class Value, class Target>
Status store(Result<Value> parsed, Target& target) {
  if (!parsed.ok()) return refused(parsed.error().message);
  target = *parsed;
  return ok_status();
}

using Setter = Status (*)(Shorthand&, const std::string&);
struct WordKey {
  std::string_view name;
  Setter set;
};

Status set_placement(Shorthand& out, const std::string& text) {
  if (text == "explicit") {
    return refused("placement=explicit needs a table of experts; write a plan file");
  }
  return store(parse_placement(text), out.stage.placement);
}

constexpr std::array<WordKey, 9> kWordKeys = {{
    {"pp",
     [](Shorthand& out, const std::string& text) {
       return store(parse_integer("pp", text, 1, kMaxStages), out.pp);
     }},
    {"placement", set_placement},
    {"weights",
     [](Shorthand& out, const std::string& text) {
       return store(parse_weights(text), out.plan.weights);
     }},
    {"kv",
     [](Shorthand& out, const std::string& text) { return store(parse_kv(text), out.plan.kv); }},
    {"overflow",
     [](Shorthand& out, const std::string& text) {
       return store(parse_overflow(text), out.plan.overflow);
     }},
    {"capacity_factor",
     [](Shorthand& out, const std::string& text) {
       return store(parse_capacity_factor(text), out.plan.capacity_factor);
     }},
    {"device_memory",
     [](Shorthand& out, const std::string& text) {
       return store(parse_byte_size(text), out.plan.device_memory_bytes);
     }},
    {"precision",
     [](Shorthand& out, const std::string& text) {
       return store(parse_precision(text), out.plan.precision);
     }},
    {"device",
     [](Shorthand& out, const std::string& text) {
       return store(parse_device_name(text), out.plan.device);
     }},
}};

std::vector<std::string_view> known_keys() {
  std::vector<std::string_view> keys;
  for (const DegreeKey& key : kDegreeKeys) keys.push_back(key.name);
  for (const IntegerKey& key : kIntegerKeys) keys.push_back(key.name);
  for (const WordKey& key : kWordKeys) keys.push_back(key.name);
  return keys;
}

Status set_key(Shorthand& out, const std::string& key, const std::string& value) {
  for (const DegreeKey& degree : kDegreeKeys) {
    if (degree.name != key) continue;
    return store(parse_integer(key, value, 1, kMaxDegree), out.stage.*degree.field);
  }
  for (const IntegerKey& number : kIntegerKeys) {
    if (number.name != key) continue;
    return store(parse_integer(key, value, number.low, number.high), out.plan.*number.field);
  }
  for (const WordKey& word : kWordKeys) {
    if (word.name == key) return word.set(out, value);
  }
  const std::string meant = nearest(key, known_keys());
  return refused(fmt::format("unknown key \"{:.60}\"; {}", key,
                             meant.empty() ? "write key=value pairs such as tp=2,ep=4,pp=2"
                                           : fmt::format("did you mean \"{}\"?", meant)));
}

// "tp=2,ep=4" speaks of 4 ranks: TP2 x DP2 attention, EP4 experts. Where the quotient is not whole
// dp stays 1, and the mesh refuses the pair with the sentence for it.
void infer_dp(StageSettings& stage) {
  if (stage.dp || !stage.ep) return;
  const std::int64_t experts = *stage.ep * stage.etp.value_or(1);
  const std::int64_t attention = stage.sp.value_or(1) * stage.tp.value_or(1);
  if (experts % attention == 0) stage.dp = experts / attention;
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

Result<Plan> parse_plan_shorthand(const std::string& text) {
  if (text.size() > kLongestShorthand) {
    return refused(fmt::format("is {} characters long, above the limit of {}; write a plan file",
                               text.size(), kLongestShorthand));
  }
  Shorthand out;
  std::vector<std::string> seen;
  for (const std::string& part : split_at_commas(text)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return refused(
          fmt::format("expected key=value pairs such as tp=2,ep=4, not \"{:.60}\"", part));
    }
    std::string key = part.substr(0, equals);
    if (key == "chunk") key = "prefill_chunk";
    if (std::ranges::find(seen, key) != seen.end()) {
      return refused(fmt::format("key \"{:.60}\" appears twice; keep one", key));
    }
    PF_TRY(set_key(out, key, part.substr(equals + 1)));
    seen.push_back(key);
  }
  if (out.plan.precision && out.plan.weights != WeightFormats{}) {
    return refused("weights and precision both say how weights are stored; keep one");
  }
  if (out.plan.precision && out.plan.kv) {
    return refused("kv and precision both say how the cache is stored; keep one");
  }
  infer_dp(out.stage);
  const StagePlan stage = make_stage(out.stage);
  out.plan.stages.assign(static_cast<std::size_t>(out.pp), stage);
  if (const Status extent = check_extent(out.plan); !extent.ok()) {
    return refused(extent.error().message);
  }
  return std::move(out.plan);
}

}  // namespace pentafold
