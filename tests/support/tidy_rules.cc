#include "support/tidy_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <regex>
#include <string_view>

#include "support/tidy_source.h"

namespace pentafold::tidy {
namespace {

constexpr std::size_t kMaxColumns = 100;
constexpr std::size_t kMaxLines = 400;
constexpr std::size_t kMaxCudaLines = 600;
constexpr int kMaxFunctionLines = 60;
constexpr std::array<std::string_view, 11> kEmptyWords = {
    "util",    "utils",    "utility", "common",        "helper", "helpers",
    "manager", "managers", "misc",    "miscellaneous", "v2"};
constexpr std::array<std::string_view, 3> kInterpreters = {"predict", "verify", "execute"};

std::string at(const SourceFile& file, std::size_t line, const std::string& sentence) {
  return fmt::format("{}:{}: {}", file.path, line, sentence);
}

bool is_cuda(const std::string& path) {
  return path.ends_with(".cu") || path.ends_with(".cuh");
}
bool is_header(const std::string& path) {
  return path.ends_with(".h") || path.ends_with(".cuh");
}

// "src/plan/mesh.h" -> "plan"; empty outside src.
std::string room_of(const std::string& path) {
  if (!path.starts_with("src/")) return {};
  const std::size_t end = path.find('/', 4);
  return end == std::string::npos ? std::string() : path.substr(4, end - 4);
}

std::size_t columns(const std::string& line) {
  const auto starts_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  };
  return static_cast<std::size_t>(std::ranges::count_if(line, starts_character));
}

// snake_case and PascalCase alike: "PlanHelper", "plan_helper" -> plan, helper.
std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    const bool starts = std::isupper(c) != 0 && i > 0 && std::isupper(name[i - 1]) == 0;
    if (std::isalnum(c) == 0 || starts) words.emplace_back();
    if (std::isalnum(c) != 0) words.back() += static_cast<char>(std::tolower(c));
  }
  return words;
}

std::string empty_word_in(const std::string& name) {
  for (const std::string& word : words_of(name)) {
    if (std::ranges::find(kEmptyWords, word) != kEmptyWords.end()) return word;
  }
  return {};
}

// Everything reachable in `layers` from `room`.
std::set<std::string> reachable(const Layers& layers, const std::string& room) {
  std::set<std::string> seen;
  std::vector<std::string> open = {room};
  while (!open.empty()) {
    const auto it = layers.find(open.back());
    open.pop_back();
    if (it == layers.end()) continue;
    for (const std::string& next : it->second) {
      if (seen.insert(next).second) open.push_back(next);
    }
  }
  return seen;
}

// Words in `backticks` of one line.
std::vector<std::string> quoted_words(const std::string& line) {
  static const std::regex kQuoted("`([^`]+)`");
  std::vector<std::string> words;
  for (std::sregex_iterator it(line.begin(), line.end(), kQuoted), end; it != end; ++it) {
    words.push_back((*it)[1]);
  }
  return words;
}

// A word that can only mean a place in the repository: from the root, or from src as #include does.
bool names_path(const std::string& word) {
  static const std::regex kRooted(R"((src|tests|docs|bench|specs|models|scripts|\.ci)/[\w./-]+)");
  static const std::regex kInclude(
      R"((base|spec|plan|policy|planner|predict|report|comm|kernels|verify|execute|)"
      R"(export|serve|cli))"
      R"(/[\w/-]+\.(h|cc|cu))");
  return std::regex_match(word, kRooted) || std::regex_match(word, kInclude);
}

bool exists(const Tree& tree, std::string word) {
  while (word.ends_with('/')) word.pop_back();
  return tree.paths.contains(word) || tree.paths.contains("src/" + word) ||
         tree.paths.contains("tests/" + word);
}

}  // namespace

Layers parse_layers(const std::string& text) {
  Layers layers;
  for (const std::string& line : split_lines(text)) {
    const std::size_t colon = line.find(':');
    if (line.starts_with('#') || colon == std::string::npos) continue;
    std::set<std::string>& may = layers[line.substr(0, colon)];
    for (const std::string& word : words_of(line.substr(colon + 1))) {
      if (!word.empty()) may.insert(word);
    }
  }
  return layers;
}

Complaints check_layers(const Layers& layers, const Tree& tree) {
  Complaints out;
  for (const auto& [room, may] : layers) {
    const std::set<std::string> all = reachable(layers, room);
    if (all.contains(room)) out.push_back("src/LAYERS:1: room " + room + " reaches itself");
    const bool interpreter = std::ranges::find(kInterpreters, room) != kInterpreters.end();
    for (const std::string_view other : kInterpreters) {
      if (interpreter && other != room && all.contains(std::string(other))) {
        out.push_back(
            fmt::format("src/LAYERS:1: {} reaches {}; the interpreters stay apart", room, other));
      }
    }
  }
  for (const std::string& path : tree.paths) {
    const std::string room = room_of(path + "/");
    const bool is_room = path == "src/" + room;
    if (is_room && tree.paths.lower_bound(path + "/") != tree.paths.end() &&
        tree.paths.lower_bound(path + "/")->starts_with(path + "/") && !layers.contains(room)) {
      out.push_back("src/LAYERS:1: room " + room + " is missing; say what it may include");
    }
  }
  return out;
}

Complaints check_includes(const SourceFile& file, const Layers& layers) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*"([^"]+)\")");
  Complaints out;
  const std::string room = room_of(file.path);
  const auto may = layers.find(room);
  if (may == layers.end()) return out;
  std::size_t number = 0;
  for (const std::string& line : split_lines(file.text)) {
    ++number;
    std::smatch match;
    if (!std::regex_search(line, match, kInclude)) continue;
    const std::string path = match[1];
    const std::string target = path.substr(0, path.find('/'));
    if (target == room || may->second.contains(target)) continue;
    if (target == "support" && file.path.ends_with("_test.cc")) continue;
    out.push_back(at(file, number,
                     layers.contains(target)
                         ? fmt::format("{} may not include {} (src/LAYERS)", room, target)
                         : fmt::format("\"{}\" is in no room; include it as \"room/file.h\", or "
                                       "a library's header with <>",
                                       path)));
  }
  return out;
}

Complaints check_lengths(const SourceFile& file) {
  Complaints out;
  const std::vector<std::string> lines = split_lines(file.text);
  const std::size_t limit = is_cuda(file.path) ? kMaxCudaLines : kMaxLines;
  if (lines.size() > limit) {
    out.push_back(at(file, limit + 1,
                     fmt::format("{} lines, above {}; split the file", lines.size(), limit)));
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (columns(lines[i]) > kMaxColumns) {
      out.push_back(
          at(file, i + 1, fmt::format("{} columns, above {}", columns(lines[i]), kMaxColumns)));
    }
  }
  const FunctionScan scan = find_functions(split_source(file.text).code);
  if (!scan.balanced)
    out.push_back(at(file, 1, "braces do not match, as the tidy test reads them"));
  for (const Function& function : scan.functions) {
    if (function.lines() > kMaxFunctionLines) {
      out.push_back(at(file, static_cast<std::size_t>(function.first_line),
                       fmt::format("a function of {} lines, above {}; give its parts names",
                                   function.lines(), kMaxFunctionLines)));
    }
  }
  return out;
}

Complaints check_names(const SourceFile& file) {
  static const std::regex kDeclared(R"(\b(?:class|struct|union|enum|namespace|concept)\s+(\w+))");
  Complaints out;
  if (const std::string word = empty_word_in(file.path); !word.empty()) {
    out.push_back(
        at(file, 1, fmt::format("\"{}\" in a path says nothing; name what it does", word)));
  }
  std::size_t number = 0;
  for (const std::string& line : split_lines(split_source(file.text).code)) {
    ++number;
    for (std::sregex_iterator it(line.begin(), line.end(), kDeclared), end; it != end; ++it) {
      const std::string word = empty_word_in((*it)[1]);
      if (word.empty()) continue;
      out.push_back(
          at(file, number,
             fmt::format("\"{}\" in {} says nothing; name what it does", word, (*it)[1].str())));
    }
  }
  return out;
}

Complaints check_comments(const SourceFile& file) {
  static const std::regex kOpenWork(R"(\b(TODO|FIXME)\b(?!\(#\d+\)))");
  static const std::regex kBareNolint(R"(\bNOLINT(NEXTLINE|BEGIN)?\b(?!(\([^)]*\))?: \S))");
  Complaints out;
  std::size_t number = 0;
  for (const std::string& line : split_lines(split_source(file.text).comments)) {
    ++number;
    if (std::regex_search(line, kOpenWork)) {
      out.push_back(at(file, number, "open work without an issue; finish it or write TODO(#n)"));
    }
    if (std::regex_search(line, kBareNolint)) {
      out.push_back(at(file, number, "NOLINT without a reason; write NOLINT(check): reason"));
    }
  }
  return out;
}

Complaints check_header(const SourceFile& file) {
  Complaints out;
  if (!is_header(file.path)) return out;
  if (!file.text.starts_with("//")) {
    out.push_back(
        at(file, 1, "a header opens with a comment: the idea, its source, cost and test"));
  }
  if (file.path.ends_with("-inl.h")) return out;  // Highway includes these once a target
  for (const std::string& line : split_lines(file.text)) {
    if (line.empty() || line.starts_with("//")) continue;
    if (line == "#pragma once") return out;
    break;
  }
  out.push_back(at(file, 1, "a header's first line of code is #pragma once"));
  return out;
}

Complaints check_document(const SourceFile& file, const Tree& tree) {
  Complaints out;
  bool fenced = false;
  std::size_t number = 0;
  for (const std::string& line : split_lines(file.text)) {
    ++number;
    if (line.starts_with("```")) fenced = !fenced;
    if (fenced) continue;
    for (const std::string& word : quoted_words(line)) {
      if (names_path(word) && !exists(tree, word)) {
        out.push_back(at(file, number, fmt::format("`{}` is not in the repository", word)));
      }
    }
  }
  return out;
}

Complaints check_invariants(const SourceFile& file, const Tree& tree) {
  static const std::regex kInvariant(R"(\bINV-\d+\b)");
  Complaints out;
  std::string open;  // the invariant that still owes its test
  std::size_t open_line = 0;
  std::set<std::string> seen;
  const auto close = [&] {
    if (!open.empty()) out.push_back(at(file, open_line, open + " names no test file that exists"));
    open.clear();
  };
  std::size_t number = 0;
  for (const std::string& line : split_lines(file.text)) {
    ++number;
    std::smatch match;
    // The first mention of a number is its definition; later ones only refer to it.
    if (std::regex_search(line, match, kInvariant) && seen.insert(match[0]).second) {
      close();
      open = match[0];
      open_line = number;
    }
    for (const std::string& word : quoted_words(line)) {
      const std::string path = word.substr(0, word.find(' '));
      if (path.ends_with("_test.cc") && exists(tree, path)) open.clear();
    }
  }
  close();
  return out;
}

}  // namespace pentafold::tidy
