// Checkpoint: the tensors of one directory of safetensors files, by name.
//
// One file (model.safetensors) or shards named by model.safetensors.index.json. Files are mapped,
// not read; the index is checked against them when the directory is opened: every shard exists and
// holds what the index says, and no shard lies outside the directory.
// Source: the layout of Hugging Face checkpoints. Cost: O(tensors) to open.
// Held by spec/checkpoint_test.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "spec/mapped_file.h"
#include "spec/safetensors.h"

namespace pentafold {

struct StoredTensor {
  std::string dtype;            // as the file says
  std::optional<DType> usable;  // one of the types computed with, if it is one
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // borrowed from the Checkpoint, a part of the file's
  const MappedFile* file = nullptr;  // likewise
};

class Checkpoint {
 public:
  static constexpr const char* kSingleFile = "model.safetensors";
  static constexpr const char* kIndexFile = "model.safetensors.index.json";

  // Whether the directory holds either of the two.
  static bool present_in(const std::string& directory);

  static Result<Checkpoint> open(const std::string& directory);

  // nullptr when there is none of that name.
  const StoredTensor* find(const std::string& name) const;
  std::size_t size() const { return tensors_.size(); }

 private:
  Checkpoint() = default;
  // Maps a file and returns its entries; the mapping is kept.
  Result<std::vector<SafetensorsEntry>> map_file(const std::string& path);
  void add(const SafetensorsEntry& entry, const MappedFile& file);
  Status open_shards(const std::string& directory);

  std::vector<std::unique_ptr<const MappedFile>> files_;  // tensors point to them
  std::unordered_map<std::string, StoredTensor> tensors_;
};

}  // namespace pentafold
