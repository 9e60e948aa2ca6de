// LogitsFile: logits of a run as NumPy .npy matrices, float32, (tokens, vocab), one row a position.
//
// Rows arrive in any order from rank threads (one call at a time) and are kept until written.
// Cost: tokens * vocab * 4 bytes. Held by tests/e2e.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "execute/worker.h"

namespace pentafold {

class LogitsFile {
 public:
  // Whether `path` can be a file at all: asked before a run, not after it.
  static Status check_place(const std::string& path);
  void add(const LogitRow& row);
  // One request: exactly `path`. Several: path with ".<id>" before its extension, one file each.
  Status write(const std::string& path) const;

 private:
  std::map<RequestId, std::map<std::int64_t, std::vector<float>>> rows_;
};

}  // namespace pentafold
