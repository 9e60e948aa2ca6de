#include "spec/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <sstream>

#include "base/nearest.h"
#include "base/quote.h"

namespace pentafold {
namespace {

constexpr int kMaxYamlDepth = 32;

int line_of(const YAML::Mark& mark) {
  return mark.line < 0 ? 0 : mark.line + 1;
}

// Thrown through yaml-cpp by the pre-scan, and caught in load_yaml.
struct RefusedYaml {
  std::string message;
  int line = 0;
};

// Sees the document as events before any tree is built, and stops at what we do not read.
class PreScan : public YAML::EventHandler {
 public:
  int documents() const { return documents_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw RefusedYaml{"holds more than one YAML document; keep one and remove the \"---\" line",
                        line_of(mark)};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { refuse(mark, anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, 1); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    refuse(mark, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    enter(mark, anchor);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    enter(mark, anchor);
  }
  void OnMapEnd() override { --depth_; }

 private:
  static void refuse(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == YAML::NullAnchor) return;
    throw RefusedYaml{
        "uses a YAML anchor or alias (& or *), which is not read here; write the value out",
        line_of(mark)};
  }
  void enter(const YAML::Mark& mark, YAML::anchor_t anchor) {
    refuse(mark, anchor);
    if (++depth_ > kMaxYamlDepth) {
      throw RefusedYaml{
          fmt::format("is nested more than {} levels deep; flatten it", kMaxYamlDepth),
          line_of(mark)};
    }
  }
  int documents_ = 0;
  int depth_ = 0;
};

}  // namespace

int yaml_line(const YAML::Node& node) {
  return line_of(node.Mark());
}

Result<YAML::Node> load_yaml(const std::string& text, const std::string& file,
                             std::size_t max_bytes) {
  const auto invalid = [&](std::string message, int line) {
    return make_error(ErrorCode::InvalidSpec, std::move(message), file, line);
  };
  if (text.size() > max_bytes) {
    return invalid(
        fmt::format(
            "is {} bytes long, above the limit of {} for a YAML file; is it the right file?",
            text.size(), max_bytes),
        0);
  }
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    PreScan scan;
    while (parser.HandleNextDocument(scan)) {
    }
    if (scan.documents() == 0) return invalid("is empty; expected a mapping of keys to values", 0);
    return YAML::Load(text);
  } catch (const RefusedYaml& refused) {
    return invalid(refused.message, refused.line);
  } catch (const YAML::Exception& e) {
    return invalid(fmt::format("is not valid YAML ({})", e.msg), line_of(e.mark));
  } catch (const std::exception& e) {
    return invalid(fmt::format("cannot be read as YAML ({})", e.what()), 0);
  }
}

Result<YamlMap> YamlMap::of(const YAML::Node& node, const std::string& file) {
  YamlMap out;
  out.file_ = file;
  out.line_ = yaml_line(node);
  if (!node.IsMap()) {
    return make_error(ErrorCode::InvalidSpec, "expected a mapping of keys to values (key: value)",
                      file, out.line_);
  }
  for (const auto& item : node) {
    const int line = yaml_line(item.first);
    if (!item.first.IsScalar()) {
      return make_error(ErrorCode::InvalidSpec, "a key must be a plain word", file, line);
    }
    const std::string& key = item.first.Scalar();
    const auto [place, fresh] =
        out.entries_.try_emplace(key, Entry{std::make_shared<YAML::Node>(item.second), line});
    if (!fresh) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("key {} appears twice (first in line {}); keep one",
                                    quote_text(key), place->second.line),
                        file, line);
    }
  }
  return out;
}

bool YamlMap::has(std::string_view key) const {
  return entries_.find(key) != entries_.end();
}

std::vector<std::string> YamlMap::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, entry] : entries_) out.push_back(key);
  return out;
}

int YamlMap::line(std::string_view key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? line_ : it->second.line;
}

Error YamlMap::error_at(std::string_view key, std::string message) const {
  return make_error(ErrorCode::InvalidSpec, std::move(message), file_, line(key));
}

Result<std::string> YamlMap::scalar(std::string_view key, std::string_view wanted) const {
  const auto it = entries_.find(key);
  if (it == entries_.end()) {
    return error_at(key, fmt::format("key {} is missing; add it with {}", quote_text(key), wanted));
  }
  if (!it->second.value->IsScalar()) {
    return error_at(key,
                    fmt::format("{} must be {}, not a list, a mapping or nothing", key, wanted));
  }
  return it->second.value->Scalar();
}

Result<std::int64_t> YamlMap::integer(std::string_view key,
                                      std::optional<std::int64_t> default_value, std::int64_t min,
                                      std::int64_t max) const {
  if (!has(key) && default_value) return *default_value;
  PF_ASSIGN(const std::string text, scalar(key, "a whole number"));
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) {
    return error_at(key, fmt::format("{} must be a whole number, not {}", key, quote_text(text)));
  }
  if (value < min || value > max) {
    return error_at(key,
                    max == kMaxInteger
                        ? fmt::format("{} = {} is below {}, the least allowed", key, value, min)
                        : fmt::format("{} = {} is outside {} to {}", key, value, min, max));
  }
  return value;
}

Result<double> YamlMap::number(std::string_view key, std::optional<double> default_value,
                               double min, double max) const {
  if (!has(key) && default_value) return *default_value;
  PF_ASSIGN(const std::string text, scalar(key, "a number"));
  double value = 0.0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return error_at(key, fmt::format("{} must be a number, not {}", key, quote_text(text)));
  }
  if (value < min || value > max) {
    return error_at(key,
                    max == kMaxNumber
                        ? fmt::format("{} = {} is below {}, the least allowed", key, value, min)
                        : fmt::format("{} = {} is outside {} to {}", key, value, min, max));
  }
  return value;
}

Result<bool> YamlMap::boolean(std::string_view key, std::optional<bool> default_value) const {
  if (!has(key) && default_value) return *default_value;
  PF_ASSIGN(const std::string text, scalar(key, "true or false"));
  if (text == "true") return true;
  if (text == "false") return false;
  return error_at(key, fmt::format("{} must be true or false, not {}", key, quote_text(text)));
}

Result<std::string> YamlMap::text(std::string_view key,
                                  std::optional<std::string> default_value) const {
  if (!has(key) && default_value) return *std::move(default_value);
  return scalar(key, "a word or text");
}

Result<std::size_t> YamlMap::choice(std::string_view key, std::span<const std::string_view> choices,
                                    std::optional<std::size_t> default_value) const {
  if (!has(key) && default_value) return *default_value;
  const std::string wanted = fmt::format("one of {}", fmt::join(choices, ", "));
  PF_ASSIGN(const std::string text, scalar(key, wanted));
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == text) return i;
  }
  return error_at(key, fmt::format("{} must be {}, not {}", key, wanted, quote_text(text)));
}

Result<std::vector<std::int64_t>> YamlMap::integers(std::string_view key, std::int64_t min,
                                                    std::int64_t max) const {
  std::vector<std::int64_t> out;
  if (!has(key)) return out;
  const YAML::Node& node = *entries_.find(key)->second.value;
  if (!node.IsSequence()) {
    PF_ASSIGN(const std::int64_t single, integer(key, std::nullopt, min, max));
    out.push_back(single);
    return out;
  }
  for (const auto& item : node) {
    std::int64_t value = 0;
    const std::string text = item.IsScalar() ? item.Scalar() : std::string();
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc{} || end != text.data() + text.size()) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("{} must be a list of whole numbers, but holds {}", key, quote_text(text)),
          file_, yaml_line(item));
    }
    if (value < min || value > max) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("{} holds {}, outside {} to {}", key, value, min, max), file_,
                        yaml_line(item));
    }
    out.push_back(value);
  }
  return out;
}

Result<YAML::Node> YamlMap::node(std::string_view key) const {
  const auto it = entries_.find(key);
  if (it == entries_.end())
    return error_at(key, fmt::format("key {} is missing; add it", quote_text(key)));
  return YAML::Node(*it->second.value);
}

Result<YamlMap> YamlMap::map(std::string_view key) const {
  PF_ASSIGN(const YAML::Node child, node(key));
  if (!child.IsMap()) {
    return error_at(key, fmt::format("{} must be a mapping of keys to values", key));
  }
  return of(child, file_);
}

Result<std::vector<YAML::Node>> YamlMap::sequence(std::string_view key) const {
  PF_ASSIGN(const YAML::Node child, node(key));
  if (!child.IsSequence()) return error_at(key, fmt::format("{} must be a list", key));
  std::vector<YAML::Node> out;
  for (const auto& item : child) out.emplace_back(item);
  return out;
}

Status YamlMap::refuse_unknown(std::span<const std::string_view> known) const {
  // In the order of lines, so that the first mistake of the file is the one named.
  const std::string* worst = nullptr;
  for (const auto& [key, entry] : entries_) {
    bool found = false;
    for (const std::string_view k : known) found = found || k == key;
    if (!found && (worst == nullptr || entry.line < line(*worst))) worst = &key;
  }
  if (worst == nullptr) return ok_status();
  const std::string meant = nearest(*worst, known);
  return error_at(*worst, meant.empty() ? fmt::format("unknown key {}; known are {}",
                                                      quote_text(*worst), fmt::join(known, ", "))
                                        : fmt::format("unknown key {}; did you mean \"{}\"?",
                                                      quote_text(*worst), meant));
}

}  // namespace pentafold
