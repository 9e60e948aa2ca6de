// yaml_reader: YAML from strangers, and typed access to it with errors that name the line.
//
// load_yaml bounds what a document may do before it becomes a tree: size, nesting depth, and no
// anchors or aliases (the "billion laughs" document is made of those). YamlMap then reads one
// mapping: each getter checks type and range, refuse_unknown finds misspelt keys and proposes the
// nearest known one. No exception leaves this file.
// Source: YAML 1.2; parsing by yaml-cpp. Cost: two passes over the text; a lookup is O(log keys).
// Held by spec/yaml_reader_test.cc and tests/fuzz/config_fuzz.cc.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace YAML {
class Node;
}

namespace pentafold {

// One document of at most 1 MB, nested at most 32 deep. `file` names it in errors.
Result<YAML::Node> load_yaml(const std::string& text, const std::string& file);

// 1-based line of a node; 0 when it has none.
int yaml_line(const YAML::Node& node);

class YamlMap {
 public:
  static constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();
  static constexpr double kMaxNumber = 1e300;

  // A mapping without duplicate keys, whose keys are all plain scalars.
  static Result<YamlMap> of(const YAML::Node& node, const std::string& file);

  bool has(std::string_view key) const;
  std::vector<std::string> keys() const;  // in the order of their names
  int line() const { return line_; }
  int line(std::string_view key) const;  // of the key; of the mapping when the key is absent
  const std::string& file() const { return file_; }

  // The value of `key` if it is there, else the default; an error when it has the wrong type or is
  // outside [min, max]. A default of nullopt means that the key is required.
  Result<std::int64_t> integer(std::string_view key, std::optional<std::int64_t> default_value,
                               std::int64_t min = 0, std::int64_t max = kMaxInteger) const;
  Result<double> number(std::string_view key, std::optional<double> default_value, double min = 0.0,
                        double max = kMaxNumber) const;
  Result<bool> boolean(std::string_view key, std::optional<bool> default_value) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> default_value) const;
  // Index into `choices`.
  Result<std::size_t> choice(std::string_view key, std::span<const std::string_view> choices,
                             std::optional<std::size_t> default_value) const;
  // A sequence of integers, or one integer alone; empty when absent.
  Result<std::vector<std::int64_t>> integers(std::string_view key, std::int64_t min,
                                             std::int64_t max) const;
  // Nested values. The key must be there (ask has()).
  Result<YamlMap> map(std::string_view key) const;
  Result<std::vector<YAML::Node>> sequence(std::string_view key) const;
  Result<YAML::Node> node(std::string_view key) const;

  Status refuse_unknown(std::span<const std::string_view> known) const;

  // An InvalidSpec error at the line of `key`.
  Error error_at(std::string_view key, std::string message) const;

 private:
  struct Entry {
    std::shared_ptr<const YAML::Node> value;
    int line = 0;
  };
  YamlMap() = default;
  Result<std::string> scalar(std::string_view key, std::string_view wanted) const;

  std::map<std::string, Entry, std::less<>> entries_;
  std::string file_;
  int line_ = 0;
};

}  // namespace pentafold
