// Ways to break a checkpoint: each edits one thing of a copy of a golden one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "support/scratch_folder.h"

namespace pentafold::testing {

using Json = nlohmann::ordered_json;
using Edit = std::function<void(const ScratchFolder&)>;

inline constexpr const char* kWeights = "model.safetensors";
inline constexpr const char* kIndex = "model.safetensors.index.json";
inline constexpr const char* kTensor = "model.layers.1.self_attn.q_proj.weight";

// `change` gets the parsed file and leaves what is to be written.
inline Edit edit_json(const std::string& file, const std::function<void(Json&)>& change) {
  return [=](const ScratchFolder& at) {
    Json json = Json::parse(read_bytes(at.path(file)));
    change(json);
    at.write(file, json.dump());
  };
}

inline Edit set_config(const std::string& key, const Json& value) {
  return edit_json("config.json", [=](Json& config) { config[key] = value; });
}

inline std::uint64_t header_length(const std::string& bytes) {
  std::uint64_t length = 0;
  bytes.copy(reinterpret_cast<char*>(&length), sizeof length);
  return length;
}

inline std::string length_bytes(std::uint64_t length) {
  return {reinterpret_cast<const char*>(&length), sizeof length};
}

// Rewrites the header of the safetensors file; the data stays.
inline Edit edit_header(const std::function<void(Json&)>& change) {
  return [=](const ScratchFolder& at) {
    const std::string bytes = read_bytes(at.path(kWeights));
    const std::uint64_t length = header_length(bytes);
    Json header = Json::parse(bytes.substr(8, length));
    change(header);
    const std::string text = header.dump();
    at.write(kWeights, length_bytes(text.size()) + text + bytes.substr(8 + length));
  };
}

inline Edit edit_tensor(const std::string& key, const Json& value) {
  return edit_header([=](Json& header) { header[kTensor][key] = value; });
}

// The whole file: `change` maps its bytes.
inline Edit edit_bytes(const std::string& file,
                       const std::function<std::string(const std::string&)>& change) {
  return [=](const ScratchFolder& at) { at.write(file, change(read_bytes(at.path(file)))); };
}

inline Edit replace_file(const std::string& file, const std::string& bytes) {
  return [=](const ScratchFolder& at) { at.write(file, bytes); };
}

inline Edit remove_file(const std::string& file) {
  return [=](const ScratchFolder& at) { std::filesystem::remove(at.path(file)); };
}

}  // namespace pentafold::testing
