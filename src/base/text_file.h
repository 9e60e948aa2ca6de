// read_text_file: a whole small file as a string, with a bound on its size.
//
// Only regular files are read (a pipe would wait forever), never more than max_bytes.
// Cost: one read. Held by base/text_file_test.cc.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace pentafold {

// Io: it cannot be opened or read. InvalidSpec: it is not a regular file, or is too large.
Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes);

}  // namespace pentafold
