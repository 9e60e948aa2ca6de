// safetensors: the index of one weight file, checked before anything is believed.
//
// A file is an 8-byte little-endian length, a JSON header of that length ({name: {dtype, shape,
// data_offsets}}) and the data. The header comes from strangers: its length, depth, names, shapes
// and offsets are checked for range, overflow, order, overlap and duplicates; the JSON is read as
// events, so memory is bounded by what is kept. Types this program cannot compute with are indexed
// all the same (a checkpoint may hold them beside what is needed).
// Source: the safetensors format description (github.com/huggingface/safetensors).
// Cost: O(header), O(n log n) for the overlap check.
// Held by spec/safetensors_test.cc and tests/fuzz/safetensors_fuzz.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace pentafold {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as written: "BF16", "F8_E4M3", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the file
  std::uint64_t end = 0;
};

// `bytes` is the whole file; `file` names it in errors. Entries come in the order of their data.
Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> bytes,
                                                        const std::string& file);

}  // namespace pentafold
