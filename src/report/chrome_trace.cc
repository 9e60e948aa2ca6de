#include "report/chrome_trace.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>

#include "base/check.h"

namespace pentafold {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 18;

// JSON has no infinity and no nan.
double finite(double value) {
  return std::isfinite(value) ? value : 0;
}

void add_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else {
      // Bytes that may be no UTF-8 would break the document for every reader.
      out += byte < 0x20 || byte >= 0x7F ? '?' : c;
    }
  }
  out += '"';
}

void add_numbers(std::string& out, std::span<const TraceNumber> numbers) {
  out += "\"args\":{";
  const char* before = "";
  for (const auto& [name, value] : numbers) {
    out += before;
    add_text(out, name);
    fmt::format_to(std::back_inserter(out), ":{}", finite(value));
    before = ",";
  }
  out += '}';
}

// Microseconds, to the nanosecond.
void add_time(std::string& out, const char* key, double seconds) {
  fmt::format_to(std::back_inserter(out), "\"{}\":{:.3f},", key, finite(seconds) * 1e6);
}

}  // namespace

ChromeTrace::ChromeTrace(std::FILE* file, std::string path) : file_(file), path_(std::move(path)) {
  buffer_.reserve(kBuffer + 4096);
  buffer_ = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
}

Result<ChromeTrace> ChromeTrace::create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return make_error(ErrorCode::Io, fmt::format("cannot be written ({})", std::strerror(errno)),
                      path);
  }
  return ChromeTrace(file, path);
}

void ChromeTrace::begin_event() {
  CHECK(file_ != nullptr);
  if (buffer_.size() >= kBuffer) flush();
  buffer_ += events_++ == 0 ? "\n" : ",\n";
}

void ChromeTrace::flush() {
  failed_ =
      std::fwrite(buffer_.data(), 1, buffer_.size(), file_.get()) != buffer_.size() || failed_;
  buffer_.clear();
}

void ChromeTrace::name_process(std::int64_t process, std::string_view name) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_),
                 R"({{"ph":"M","name":"process_name","pid":{},"tid":0,"args":{{"name":)", process);
  add_text(buffer_, name);
  buffer_ += "}}";
}

void ChromeTrace::name_thread(std::int64_t process, std::int64_t thread, std::string_view name) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_),
                 R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":)", process,
                 thread);
  add_text(buffer_, name);
  buffer_ += "}}";
}

void ChromeTrace::slice(const TraceSlice& slice) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_), R"({{"ph":"X","pid":{},"tid":{},)", slice.process,
                 slice.thread);
  add_time(buffer_, "ts", slice.start_s);
  add_time(buffer_, "dur", slice.duration_s);
  buffer_ += "\"name\":";
  add_text(buffer_, slice.name);
  buffer_ += ',';
  add_numbers(buffer_, slice.numbers);
  buffer_ += '}';
}

void ChromeTrace::counter(std::int64_t process, std::string_view name, double time_s,
                          double value) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_), R"({{"ph":"C","pid":{},"tid":0,)", process);
  add_time(buffer_, "ts", time_s);
  buffer_ += "\"name\":";
  add_text(buffer_, name);
  buffer_ += ',';
  const TraceNumber number{name, value};
  add_numbers(buffer_, {&number, 1});
  buffer_ += '}';
}

Status ChromeTrace::close() {
  CHECK(file_ != nullptr);
  buffer_ += "\n]}\n";
  flush();
  const bool closed = std::fclose(file_.release()) == 0;
  if (closed && !failed_) return ok_status();
  return make_error(ErrorCode::Io, "cannot be written to its end; is the disk full?", path_);
}

}  // namespace pentafold
