// The built program as a user meets it: a process. PENTAFOLD_BINARY in the environment names
// another build of it, so that one test binary can judge the sanitizer builds too.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "support/process.h"

namespace pentafold::testing {

inline std::string binary() {
  const char* other = std::getenv("PENTAFOLD_BINARY");
  return other != nullptr ? other : PENTAFOLD_BINARY_DIR "/pentafold";
}

// Of a file of the repository.
inline std::string repo(const std::string& path) {
  return std::string(PENTAFOLD_SOURCE_DIR) + "/" + path;
}

// Runs in the repository's root, as the examples of the help do.
inline ProcessResult pentafold(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), binary());
  return run_process(arguments, std::chrono::seconds(120), PENTAFOLD_SOURCE_DIR);
}

}  // namespace pentafold::testing
