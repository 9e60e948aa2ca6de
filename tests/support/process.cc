#include "support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "base/check.h"

namespace pentafold::testing {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

std::string read_all(const File& file) {
  std::string text;
  char block[65536];
  std::rewind(file.get());
  while (const std::size_t n = std::fread(block, 1, sizeof block, file.get())) {
    text.append(block, n);
  }
  return text;
}

// Only what is allowed between fork and exec in a process that may have threads.
[[noreturn]] void become(char* const* argv, const char* folder, int out, int err) {
  const int none = open("/dev/null", O_RDONLY);
  if (*folder != '\0' && chdir(folder) != 0) _exit(127);
  dup2(none, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execvp(argv[0], argv);
  _exit(127);
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& argv, std::chrono::seconds timeout,
                          const std::string& folder) {
  CHECK(!argv.empty());
  const File out(std::tmpfile());
  const File err(std::tmpfile());
  CHECK(out && err, "no room for temporary files");
  std::vector<char*> pointers;
  for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);

  const pid_t child = fork();
  CHECK(child >= 0, "cannot fork");
  if (child == 0) become(pointers.data(), folder.c_str(), fileno(out.get()), fileno(err.get()));

  ProcessResult result;
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline && !result.timed_out) {
      result.timed_out = true;
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = read_all(out);
  result.err = read_all(err);
  return result;
}

}  // namespace pentafold::testing
