// json_reader: JSON from strangers, and typed access to it with errors that name the key.
//
// parse_json bounds nesting before a tree is built. JsonMap reads one object: each getter checks
// type and range. A null counts as absent, as it does in Hugging Face configs.
// Source: RFC 8259; parsing by nlohmann/json. Cost: two passes over the text.
// Held by spec/hf_config_test.cc and tests/fuzz/config_fuzz.cc.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

// One document, nested at most 64 deep; errors carry the line.
Result<nlohmann::json> parse_json(const std::string& text, const std::string& file);

// Borrows the object, which must outlive it.
class JsonMap {
 public:
  // `prefix` names the object in errors ("rope_scaling."); empty for the document itself.
  static Result<JsonMap> of(const nlohmann::json& object, const std::string& file,
                            const std::string& prefix = {});

  bool has(std::string_view key) const;       // there and not null
  bool mentions(std::string_view key) const;  // there, maybe null

  // The value if it is there, else the default; nullopt as default means that it is required.
  Result<std::int64_t> integer(std::string_view key, std::optional<std::int64_t> default_value,
                               std::int64_t min, std::int64_t max) const;
  Result<double> number(std::string_view key, std::optional<double> default_value) const;
  Result<bool> boolean(std::string_view key, bool default_value) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> default_value) const;
  // A list of integers or one integer; empty when absent.
  Result<std::vector<std::int64_t>> integers(std::string_view key, std::int64_t min,
                                             std::int64_t max) const;
  Result<std::vector<std::string>> texts(std::string_view key) const;
  Result<JsonMap> map(std::string_view key) const;

  Error invalid(std::string_view key, std::string_view problem) const;
  Error unsupported(std::string_view key, std::string_view problem) const;

 private:
  JsonMap() = default;
  const nlohmann::json* find(std::string_view key) const;  // nullptr when absent or null

  const nlohmann::json* object_ = nullptr;
  std::string file_;
  std::string prefix_;
};

}  // namespace pentafold
