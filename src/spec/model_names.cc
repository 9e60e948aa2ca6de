#include "spec/model_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

constexpr std::size_t kMaxName = 256;

using Names = std::map<std::string, std::string, std::less<>>;

const Names& names() {
  static const Names kNames = [] {
    Names out;
    for (const CatalogModel& model : catalog_models()) {
      for (const std::string& alias : model.aliases) out.emplace(alias, model.name);
    }
    for (const CatalogModel& model : catalog_models()) out[model.name] = model.name;
    return out;
  }();
  return kNames;
}

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool names_a_format(std::string_view word) {
  constexpr std::array<std::string_view, 18> kFormats = {
      "fp8",  "fp4",  "nvfp4", "mxfp4", "mxfp8", "int4", "int8",  "awq",    "gptq",
      "bf16", "fp16", "w4a16", "w8a8",  "w4a8",  "kv",   "quark", "w4afp8", "dynamic"};
  return std::ranges::find(kFormats, word) != kFormats.end() || word.starts_with("quantized");
}

// Whether a word at the end of a name says nothing of the shape.
bool says_nothing(std::string_view word, std::string_view before) {
  constexpr std::array<std::string_view, 9> kTuning = {"instruct", "chat",    "hf",    "base", "it",
                                                       "thinking", "preview", "block", "text"};
  if (std::ranges::find(kTuning, word) != kTuning.end() || names_a_format(word)) return true;
  if (all_digits(word)) return word.size() == 4 || word.size() == 6 || word.size() == 8;
  if (word.starts_with("v0.")) return true;
  return word == "v2" && names_a_format(before);
}

std::string_view last_word(std::string_view name) {
  const std::size_t dash = name.rfind('-');
  return dash == std::string_view::npos ? std::string_view() : name.substr(dash + 1);
}

// Without owner and remarks, in the catalog's spelling.
std::string plain(std::string_view published) {
  published = published.substr(0, kMaxName);
  published = published.substr(0, published.find_first_of(" ("));
  const std::size_t slash = published.rfind('/');
  if (slash != std::string_view::npos) published.remove_prefix(slash + 1);
  std::string out;
  for (const char c : published) {
    out += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (out.starts_with("meta-llama-")) out.erase(0, 5);
  return out;
}

}  // namespace

std::optional<std::string> catalog_name_of(std::string_view published) {
  std::string name = plain(published);
  while (!name.empty()) {
    const auto found = names().find(name);
    if (found != names().end()) return found->second;
    const std::string_view word = last_word(name);
    if (word.empty()) return std::nullopt;
    const std::size_t rest = name.size() - word.size() - 1;
    if (!says_nothing(word, last_word(std::string_view(name).substr(0, rest)))) return std::nullopt;
    name.resize(rest);
  }
  return std::nullopt;
}

}  // namespace pentafold
