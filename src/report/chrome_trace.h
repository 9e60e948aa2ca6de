// ChromeTrace: a timeline as JSON that Perfetto (ui.perfetto.dev) and chrome://tracing show.
//
// A process is a row of threads (a replica), a thread is a row of slices (a rank, a stage), a
// counter is a curve of a process. Events are written as they come, so that a million steps take a
// megabyte of memory.
// Source: "Trace Event Format" (Chromium project). Cost: about 0.3 us and 80 bytes an event.
// Held by report/chrome_trace_test.cc.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace pentafold {

// A named number of a slice or counter.
using TraceNumber = std::pair<std::string_view, double>;

struct TraceSlice {
  std::int64_t process = 0;
  std::int64_t thread = 0;
  double start_s = 0;
  double duration_s = 0;
  std::string_view name;
  std::span<const TraceNumber> numbers;  // shown when the slice is clicked
};

class ChromeTrace {
 public:
  // Io when the file cannot be made; what was there is gone.
  static Result<ChromeTrace> create(const std::string& path);
  ChromeTrace(ChromeTrace&&) = default;
  ChromeTrace& operator=(ChromeTrace&&) = default;
  ~ChromeTrace() = default;

  void name_process(std::int64_t process, std::string_view name);
  void name_thread(std::int64_t process, std::int64_t thread, std::string_view name);
  void slice(const TraceSlice& slice);
  void counter(std::int64_t process, std::string_view name, double time_s, double value);
  std::int64_t events() const { return events_; }

  // Ends the document; Io when something of it could not be written. Nothing may follow.
  Status close();

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  ChromeTrace(std::FILE* file, std::string path);
  void begin_event();
  void flush();

  std::unique_ptr<std::FILE, CloseFile> file_;
  std::string path_;
  std::string buffer_;
  std::int64_t events_ = 0;
  bool failed_ = false;
};

}  // namespace pentafold
