// MappedFile: a file's bytes as read-only memory, for as long as the object lives.
//
// Weights are read from the page cache without a copy of the file in this process. What is read
// with read() does not count as this process's memory, as touched pages of a mapping do. A file
// that another process shortens while it is mapped ends this one (SIGBUS): do not edit live
// weights.
// Cost: a system call; pages load when touched. Held by spec/checkpoint_test.cc.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace pentafold {

class MappedFile {
 public:
  // An empty file maps to no bytes. Errors: Io; InvalidSpec when it is not a regular file.
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Copies `part`, a part of bytes(), to `out`. Thread-safe.
  void read(std::span<const std::byte> part, std::byte* out) const;
  // Says that it will be read soon.
  void announce(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int descriptor_ = -1;  // none where many files are open
};

}  // namespace pentafold
