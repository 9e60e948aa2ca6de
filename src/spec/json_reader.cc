#include "spec/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/quote.h"

namespace pentafold {
namespace {

using Json = nlohmann::json;

constexpr int kMaxJsonDepth = 64;
constexpr std::size_t kMaxList = 1U << 20;

// Walks the document without building it; stops at the first fault.
class DepthScan : public nlohmann::json_sax<Json> {
 public:
  bool too_deep = false;
  std::size_t fault_at = 0;  // byte of a syntax error, from 1

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fault_at = position;
    return false;
  }

 private:
  bool enter() { return !(too_deep = ++depth_ > kMaxJsonDepth); }
  bool leave() {
    --depth_;
    return true;
  }
  int depth_ = 0;
};

int line_at(const std::string& text, std::size_t position) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(position, text.size()));
  return 1 + static_cast<int>(std::count(text.begin(), end, '\n'));
}

std::string show(const Json& value) {
  if (value.is_string()) return quote_text(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return value.dump();
}

}  // namespace

Result<Json> parse_json(const std::string& text, const std::string& file) {
  DepthScan scan;
  if (!Json::sax_parse(text, &scan)) {
    if (scan.too_deep) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("is nested more than {} levels deep", kMaxJsonDepth), file);
    }
    return make_error(
        ErrorCode::InvalidSpec,
        text.empty() ? "is empty; expected JSON" : "is not valid JSON; correct it near here", file,
        line_at(text, scan.fault_at));
  }
  return Json::parse(text, nullptr, false);
}

Result<JsonMap> JsonMap::of(const Json& object, const std::string& file,
                            const std::string& prefix) {
  if (!object.is_object()) {
    return make_error(ErrorCode::InvalidSpec,
                      prefix.empty()
                          ? "must be a JSON object ({...})"
                          : fmt::format("{} must be a JSON object ({{...}}), not {}",
                                        prefix.substr(0, prefix.size() - 1), show(object)),
                      file);
  }
  JsonMap map;
  map.object_ = &object;
  map.file_ = file;
  map.prefix_ = prefix;
  return map;
}

const Json* JsonMap::find(std::string_view key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

bool JsonMap::has(std::string_view key) const {
  return find(key) != nullptr;
}
bool JsonMap::mentions(std::string_view key) const {
  return object_->contains(key);
}

Error JsonMap::invalid(std::string_view key, std::string_view problem) const {
  return make_error(ErrorCode::InvalidSpec, fmt::format("{}{} {}", prefix_, key, problem), file_);
}

Error JsonMap::unsupported(std::string_view key, std::string_view problem) const {
  return make_error(ErrorCode::Unsupported, fmt::format("{}{} {}", prefix_, key, problem), file_);
}

Result<std::int64_t> JsonMap::integer(std::string_view key,
                                      std::optional<std::int64_t> default_value, std::int64_t min,
                                      std::int64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (default_value) return *default_value;
    return invalid(key, "is missing; it must be a whole number");
  }
  if (!value->is_number_integer()) {
    return invalid(key, fmt::format("must be a whole number, not {}", show(*value)));
  }
  const bool huge = value->is_number_unsigned() &&
                    value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (huge || value->get<std::int64_t>() < min || value->get<std::int64_t>() > max) {
    return invalid(key,
                   fmt::format("is {}, which is not between {} and {}", show(*value), min, max));
  }
  return value->get<std::int64_t>();
}

Result<double> JsonMap::number(std::string_view key, std::optional<double> default_value) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (default_value) return *default_value;
    return invalid(key, "is missing; it must be a number");
  }
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    return invalid(key, fmt::format("must be a number, not {}", show(*value)));
  }
  return value->get<double>();
}

Result<bool> JsonMap::boolean(std::string_view key, bool default_value) const {
  const Json* value = find(key);
  if (value == nullptr) return default_value;
  if (!value->is_boolean()) {
    return invalid(key, fmt::format("must be true or false, not {}", show(*value)));
  }
  return value->get<bool>();
}

Result<std::string> JsonMap::text(std::string_view key,
                                  std::optional<std::string> default_value) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (default_value) return *std::move(default_value);
    return invalid(key, "is missing; it must be a string");
  }
  if (!value->is_string())
    return invalid(key, fmt::format("must be a string, not {}", show(*value)));
  return value->get<std::string>();
}

Result<std::vector<std::int64_t>> JsonMap::integers(std::string_view key, std::int64_t min,
                                                    std::int64_t max) const {
  std::vector<std::int64_t> out;
  const Json* value = find(key);
  if (value == nullptr) return out;
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() > kMaxList) return invalid(key, "is too long a list");
  for (const Json& item : list) {
    if (!item.is_number_integer()) {
      return invalid(key, fmt::format("must be whole numbers, not {}", show(item)));
    }
    const bool huge = item.is_number_unsigned() &&
                      item.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
    if (huge || item.get<std::int64_t>() < min || item.get<std::int64_t>() > max) {
      return invalid(key,
                     fmt::format("holds {}, which is not between {} and {}", show(item), min, max));
    }
    out.push_back(item.get<std::int64_t>());
  }
  return out;
}

Result<std::vector<std::string>> JsonMap::texts(std::string_view key) const {
  std::vector<std::string> out;
  const Json* value = find(key);
  if (value == nullptr) return out;
  if (!value->is_array()) return invalid(key, fmt::format("must be a list, not {}", show(*value)));
  if (value->size() > kMaxList) return invalid(key, "is too long a list");
  for (const Json& item : *value) {
    if (!item.is_string()) return invalid(key, fmt::format("must be strings, not {}", show(item)));
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<JsonMap> JsonMap::map(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return invalid(key, "is missing; it must be a JSON object");
  return of(*value, file_, fmt::format("{}{}.", prefix_, key));
}

}  // namespace pentafold
