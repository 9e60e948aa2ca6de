#include "spec/checkpoint.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "base/text_file.h"
#include "spec/json_reader.h"

namespace pentafold {
namespace {

constexpr std::size_t kMaxIndexBytes = 32'000'000;
constexpr std::size_t kMaxShards = 4096;

std::string join(const std::string& directory, const std::string& file) {
  return (std::filesystem::path(directory) / file).string();
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::optional<DType> usable_type(std::string_view name) {
  for (const DType dtype : {DType::BF16, DType::F16, DType::F32}) {
    if (name == to_string(dtype)) return dtype;
  }
  return std::nullopt;
}

// A plain file name: nothing that leads out of the directory.
bool plain_shard_name(std::string_view name) {
  return name.size() <= 255 && name.ends_with(".safetensors") && !name.starts_with(".") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

using ShardMap = std::map<std::string, std::vector<std::string>>;  // shard -> its tensors

Result<ShardMap> read_index(const std::string& path) {
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxIndexBytes));
  PF_ASSIGN(const nlohmann::json document, parse_json(text, path));
  const auto invalid = [&](std::string message) {
    return make_error(ErrorCode::InvalidSpec, std::move(message), path);
  };
  if (!document.is_object() || !document.contains("weight_map") ||
      !document["weight_map"].is_object()) {
    return invalid("has no \"weight_map\" object; it is not a safetensors index");
  }
  ShardMap shards;
  for (const auto& [tensor, shard] : document["weight_map"].items()) {
    if (!shard.is_string()) {
      return invalid(fmt::format("gives tensor {} no file name", quote_text(tensor)));
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!plain_shard_name(name)) {
      return invalid(
          fmt::format("names shard {}; a shard must be a .safetensors file of the same "
                      "directory",
                      quote_text(name)));
    }
    shards[name].push_back(tensor);
    if (shards.size() > kMaxShards)
      return invalid(fmt::format("names more than {} shards", kMaxShards));
  }
  if (shards.empty()) return invalid("names no tensors; download it again");
  return shards;
}

}  // namespace

bool Checkpoint::present_in(const std::string& directory) {
  return exists(join(directory, kSingleFile)) || exists(join(directory, kIndexFile));
}

Result<std::vector<SafetensorsEntry>> Checkpoint::map_file(const std::string& path) {
  PF_ASSIGN(MappedFile file, MappedFile::open(path));
  PF_ASSIGN(auto entries, parse_safetensors(file.bytes(), path));
  files_.push_back(std::make_unique<const MappedFile>(std::move(file)));
  return entries;
}

void Checkpoint::add(const SafetensorsEntry& entry, const MappedFile& file) {
  tensors_[entry.name] =
      StoredTensor{entry.dtype, usable_type(entry.dtype), entry.shape,
                   file.bytes().subspan(entry.begin, entry.end - entry.begin), &file};
}

Status Checkpoint::open_shards(const std::string& directory) {
  const std::string index = join(directory, kIndexFile);
  PF_ASSIGN(const ShardMap shards, read_index(index));
  for (const auto& [shard, tensors] : shards) {
    const std::string path = join(directory, shard);
    if (!exists(path)) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("names shard {}, which is not in the directory; download it",
                                    quote_text(shard)),
                        index);
    }
    PF_ASSIGN(const auto entries, map_file(path));
    const std::unordered_set<std::string> wanted(tensors.begin(), tensors.end());
    for (const SafetensorsEntry& entry : entries) {
      if (wanted.contains(entry.name)) add(entry, *files_.back());
    }
    for (const std::string& tensor : tensors) {
      if (!tensors_.contains(tensor)) {
        return make_error(
            ErrorCode::InvalidSpec,
            fmt::format("places tensor {} in shard {}, which does not hold it; download "
                        "both again",
                        quote_text(tensor), quote_text(shard)),
            index);
      }
    }
  }
  return ok_status();
}

Result<Checkpoint> Checkpoint::open(const std::string& directory) {
  Checkpoint checkpoint;
  const std::string single = join(directory, kSingleFile);
  if (exists(single)) {
    PF_ASSIGN(const auto entries, checkpoint.map_file(single));
    for (const SafetensorsEntry& entry : entries) {
      checkpoint.add(entry, *checkpoint.files_.back());
    }
    return checkpoint;
  }
  if (!exists(join(directory, kIndexFile))) {
    return make_error(ErrorCode::Io,
                      fmt::format("holds neither {} nor {}; a checkpoint needs one of them",
                                  kSingleFile, kIndexFile),
                      directory);
  }
  PF_TRY(checkpoint.open_shards(directory));
  return checkpoint;
}

const StoredTensor* Checkpoint::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace pentafold
