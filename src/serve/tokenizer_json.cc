#include "serve/tokenizer_json.h"

#include <algorithm>

namespace pentafold {
namespace {

constexpr int kDeepest = 64;  // real files nest 8 deep

int line_of(std::string_view text, std::size_t offset) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, text.size()));
  return 1 + static_cast<int>(std::count(text.begin(), end, '\n'));
}

// Offset at which brackets nest too deep; brackets inside strings do not count.
std::optional<std::size_t> too_deep_at(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepest) return i;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, const std::string& file) {
  if (const auto offset = too_deep_at(text)) {
    return make_error(
        ErrorCode::InvalidSpec,
        fmt::format("brackets nest deeper than {}; no tokenizer needs that", kDeepest), file,
        line_of(text, *offset));
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& fault) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("not valid JSON at byte {}; fetch the file again", fault.byte),
                      file, line_of(text, fault.byte));
  } catch (const nlohmann::json::exception&) {
    return make_error(ErrorCode::InvalidSpec,
                      "not valid JSON: a number is out of range; fetch the file again", file);
  }
}

Error JsonNode::error(ErrorCode code, std::string_view what) const {
  return make_error(code, fmt::format("{} {}", path_.empty() ? "the document" : path_, what),
                    *file_);
}

Error JsonNode::attach(const Error& inner) const {
  return make_error(inner.code, fmt::format("{}: {}", path_, inner.message), *file_);
}

JsonNode JsonNode::at(const std::string& key) const {
  static const nlohmann::json kNull;
  const std::string path = path_.empty() ? key : path_ + "." + key;
  if (!value_->is_object()) return {&kNull, path, file_};
  const auto found = value_->find(key);
  return {found == value_->end() ? &kNull : &*found, path, file_};
}

Result<std::vector<JsonNode>> JsonNode::items() const {
  if (!value_->is_array()) return wrong("must be an array");
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) {
    nodes.emplace_back(&(*value_)[i], fmt::format("{}[{}]", path_, i), file_);
  }
  return nodes;
}

Result<std::string> JsonNode::string(const std::string& key) const {
  const JsonNode node = at(key);
  if (!node.value_->is_string()) return node.wrong("must be a string");
  return node.value_->get<std::string>();
}

Result<std::string> JsonNode::string_or(const std::string& key, std::string fallback) const {
  if (at(key).is_null()) return fallback;
  return string(key);
}

Result<bool> JsonNode::boolean(const std::string& key, bool fallback) const {
  const JsonNode node = at(key);
  if (node.is_null()) return fallback;
  if (!node.value_->is_boolean()) return node.wrong("must be true or false");
  return node.value_->get<bool>();
}

Result<std::int64_t> JsonNode::integer(const std::string& key, std::int64_t most) const {
  const JsonNode node = at(key);
  if (!node.value_->is_number_unsigned() ||
      node.value_->get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
    return node.wrong(fmt::format("must be a whole number from 0 to {}", most));
  }
  return node.value_->get<std::int64_t>();
}

Result<std::string> JsonNode::type() const {
  if (!value_->is_object()) return wrong("must be an object with a \"type\"");
  return string("type");
}

Error JsonNode::unsupported_type(std::string_view kind, std::string_view supported) const {
  return error(ErrorCode::Unsupported,
               fmt::format("has the type \"{}\", which is not supported; supported {}: {}",
                           value_->value("type", std::string("?")), kind, supported));
}

}  // namespace pentafold
