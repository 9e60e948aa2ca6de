// run_process: a child process from start to end, with what it wrote and how it ended.
//
// stdin is empty. Output goes through unnamed files, so that a child that writes much cannot block.
// A child that lives past the timeout is killed, and timed_out says so.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace pentafold::testing {

struct ProcessResult {
  int exit_code = -1;  // -1: ended by a signal, or never started
  int signal = 0;
  bool timed_out = false;
  std::string out;
  std::string err;
};

// argv[0] is searched on PATH when it holds no slash. Runs in `folder`, or here when that is empty.
ProcessResult run_process(const std::vector<std::string>& argv, std::chrono::seconds timeout,
                          const std::string& folder = {});

}  // namespace pentafold::testing
