// Reading of tokenizer.json: a node knows its path, so every error can say where it is.
//
// Idea: typed look-ups with defaults return Result, and the path ("pre_tokenizer.pretokenizers[1]")
// stands in the sentence, since nlohmann/json keeps no line numbers of values.
// Cost: one small string a node visited. Held by serve/tokenizer_parse_test.cc.
// Internal to serve/tokenizer_parse*.cc, the only files that compile nlohmann/json here.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/tokenizer_parts.h"

namespace pentafold {

class JsonNode {
 public:
  JsonNode(const nlohmann::json* value, std::string path, const std::string* file)
      : value_(value), path_(std::move(path)), file_(file) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }

  Error error(ErrorCode code, std::string_view what) const;
  Error wrong(std::string_view what) const { return error(ErrorCode::InvalidSpec, what); }
  Error attach(const Error& inner) const;  // the same error, said to be here

  JsonNode at(const std::string& key) const;  // a null node where the key is absent
  Result<std::vector<JsonNode>> items() const;
  Result<std::vector<JsonNode>> items(const std::string& key) const { return at(key).items(); }

  Result<std::string> string(const std::string& key) const;
  Result<std::string> string_or(const std::string& key, std::string fallback) const;
  Result<bool> boolean(const std::string& key, bool fallback) const;
  Result<std::int64_t> integer(const std::string& key, std::int64_t most) const;  // 0..most
  Result<std::string> type() const;                                               // the key "type"
  Error unsupported_type(std::string_view kind, std::string_view supported) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
  const std::string* file_;
};

// The document, or a sentence with the line of the fault. Depth is bounded before parsing.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& file);

Status read_normalizer(const JsonNode& node, std::vector<NormalizeStep>& steps);
Status read_pre_tokenizer(const JsonNode& node, std::vector<SplitStep>& steps);
Result<DecoderPlan> read_decoder(const JsonNode& node);
Result<BpeModel> read_model(const JsonNode& node);

}  // namespace pentafold
