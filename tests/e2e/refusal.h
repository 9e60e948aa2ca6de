// refused: whether a process turned its input down as it promises to.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/process.h"

namespace pentafold::testing {

// Exit code 2, one line on stderr that starts with "pentafold: " and holds every one of `parts`,
// nothing on stdout.
inline ::testing::AssertionResult refused(const ProcessResult& result,
                                          const std::vector<std::string>& parts) {
  const auto wrong = [&](const std::string& what) {
    return ::testing::AssertionFailure()
           << what << "\nexit code " << result.exit_code << ", signal " << result.signal
           << "\nstdout: " << result.out << "\nstderr: " << result.err;
  };
  if (result.timed_out) return wrong("it hangs");
  if (result.exit_code != 2) return wrong("the exit code is not 2");
  if (!result.out.empty()) return wrong("it writes on stdout");
  if (std::ranges::count(result.err, '\n') != 1 || !result.err.ends_with('\n')) {
    return wrong("stderr is not one line");
  }
  if (!result.err.starts_with("pentafold: ")) return wrong("stderr does not start with the name");
  for (const std::string& part : parts) {
    if (result.err.find(part) == std::string::npos) return wrong("it does not say: " + part);
  }
  return ::testing::AssertionSuccess();
}

}  // namespace pentafold::testing
