#include "verify/audit_launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestLine = 4000;
constexpr std::int64_t kMostOfAnything = 1'000'000;

struct Launcher {
  std::string_view name;
  std::array<std::string_view, 3> per_node;  // flags, normalised
  std::array<std::string_view, 3> nodes;
  std::array<std::string_view, 2> world;  // the flag is the total
};

constexpr std::array kLaunchers = {
    Launcher{"deepspeed", {"num-gpus", "", ""}, {"num-nodes", "", ""}, {"", ""}},
    Launcher{"torchrun", {"nproc-per-node", "", ""}, {"nnodes", "", ""}, {"", ""}},
    Launcher{"accelerate", {"", "", ""}, {"", "", ""}, {"num-processes", ""}},
    Launcher{"mpirun", {"npernode", "", ""}, {"nodes", "", ""}, {"np", "n"}},
    Launcher{"srun", {"ntasks-per-node", "gpus-per-node", ""}, {"nodes", "N", ""}, {"ntasks", "n"}},
    Launcher{"vllm", {"", "", ""}, {"", "", ""}, {"", ""}},
    Launcher{"sglang", {"", "", ""}, {"", "", ""}, {"", ""}},
};

struct DegreeFlag {
  std::string_view flag;
  std::string_view degree;
};
constexpr std::array kDegreeFlags = {
    DegreeFlag{"pp-size", "pp"},
    DegreeFlag{"pp", "pp"},
    DegreeFlag{"pipeline-parallel-size", "pp"},
    DegreeFlag{"pipeline-model-parallel-size", "pp"},
    DegreeFlag{"tp-size", "tp"},
    DegreeFlag{"tp", "tp"},
    DegreeFlag{"tensor-parallel-size", "tp"},
    DegreeFlag{"tensor-model-parallel-size", "tp"},
    DegreeFlag{"ep-size", "ep"},
    DegreeFlag{"ep", "ep"},
    DegreeFlag{"expert-parallel-size", "ep"},
    DegreeFlag{"expert-model-parallel-size", "ep"},
    DegreeFlag{"dp-size", "dp"},
    DegreeFlag{"dp", "dp"},
    DegreeFlag{"data-parallel-size", "dp"},
    DegreeFlag{"sp-size", "sp"},
    DegreeFlag{"sequence-parallel-size", "sp"},
    DegreeFlag{"context-parallel-size", "sp"},
};

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> out(1);
  for (const char c : line) {
    const bool gap = c == ' ' || c == '\n' || c == '\t' || c == '\\';
    if (!gap) {
      out.back() += c;
    } else if (!out.back().empty()) {
      out.emplace_back();
    }
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

// "--num_gpus=16", "--num-gpus 16", "-np 16": name without dashes, and the number if there is one.
std::map<std::string, std::int64_t> flags_of(const std::vector<std::string>& words) {
  std::map<std::string, std::int64_t> out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!words[i].starts_with('-')) continue;
    std::string name = words[i];
    std::string value = i + 1 < words.size() ? words[i + 1] : "";
    if (const std::size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    name.erase(0, name.find_first_not_of('-') == std::string::npos ? name.size()
                                                                   : name.find_first_not_of('-'));
    std::ranges::replace(name, '_', '-');
    std::int64_t number = 0;
    const auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (status != std::errc{} || end != value.data() + value.size()) continue;
    if (number >= 1 && number <= kMostOfAnything) out.emplace(name, number);
  }
  return out;
}

template <std::size_t N>
std::optional<std::int64_t> first_of(const std::map<std::string, std::int64_t>& flags,
                                     const std::array<std::string_view, N>& names) {
  for (const std::string_view name : names) {
    const auto it = flags.find(std::string(name));
    if (!name.empty() && it != flags.end()) return it->second;
  }
  return std::nullopt;
}

void count_world(const Launcher& launcher, const std::map<std::string, std::int64_t>& flags,
                 LaunchLine& out) {
  if (const auto world = first_of(flags, launcher.world)) {
    out.world = *world;
    out.how = fmt::format("{} processes", *world);
    return;
  }
  if (const auto per_node = first_of(flags, launcher.per_node)) {
    const std::int64_t nodes = first_of(flags, launcher.nodes).value_or(1);
    out.world = *per_node * nodes;
    out.how = fmt::format("{} counts processes of a node: {} x {} nodes", launcher.name, *per_node,
                          nodes);
    return;
  }
  if (launcher.name != "vllm" && launcher.name != "sglang") return;
  // The server starts what its degrees need. sglang's dp ranks share the tensor ranks.
  const auto degree = [&](const char* name) {
    const auto it = out.degrees.find(name);
    return it == out.degrees.end() ? 1 : it->second;
  };
  const bool shared = launcher.name == "sglang";
  out.world = degree("pp") * degree("tp") * (shared ? 1 : degree("dp"));
  out.how = fmt::format("{} starts {}", launcher.name, shared ? "tp x pp" : "tp x pp x dp");
}

}  // namespace

Result<LaunchLine> parse_launch(const std::string& line) {
  if (line.size() > kLongestLine) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("the launch line is longer than {} characters", kLongestLine));
  }
  const std::vector<std::string> words = words_of(line);
  const std::map<std::string, std::int64_t> flags = flags_of(words);
  LaunchLine out;
  for (const DegreeFlag& flag : kDegreeFlags) {
    const auto it = flags.find(std::string(flag.flag));
    if (it != flags.end()) out.degrees.emplace(flag.degree, it->second);
  }
  for (const std::string& word : words) {
    for (const Launcher& launcher : kLaunchers) {
      const bool found =
          out.launcher.empty() &&
          (word == launcher.name || word.ends_with("/" + std::string(launcher.name)) ||
           word.starts_with(std::string(launcher.name) + "."));
      if (!found) continue;
      out.launcher = launcher.name;
      count_world(launcher, flags, out);
    }
  }
  if (!out.launcher.empty()) return out;
  return make_error(ErrorCode::InvalidSpec,
                    fmt::format("{} starts none of the launchers known: deepspeed, torchrun, "
                                "accelerate, mpirun, srun, vllm, sglang",
                                quote_text(line)));
}

}  // namespace pentafold
