// LineReader: the lines of a text too large to hold, plain or gzip.
//
// Only regular files are read; what a line and the whole (unpacked) may take is bounded, so that a
// small hostile file cannot fill the memory or the day.
// Source: zlib reads both kinds alike. Cost: about 1 ns a byte plain, 4 ns compressed; a buffer of
// 64 KiB, or of the longest line. Held by spec/trace_test.cc and tests/fuzz/trace_fuzz.cc.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

class LineReader {
 public:
  // `file` is for errors. Borrows the text.
  LineReader(std::string_view text, std::string file);
  static Result<LineReader> open(const std::string& path);

  // The next line without its end ("\n" or "\r\n"), valid until the next call. False: there is
  // none.
  Result<bool> next(std::string_view& line);
  int number() const { return number_; }  // of that line, from 1
  const std::string& file() const { return file_; }

 private:
  // Up to that many bytes; 0 at the end.
  using Source = std::function<Result<std::size_t>(char*, std::size_t)>;
  LineReader(Source source, std::string file);
  Status refill();
  Error refused(std::string message) const;

  Source source_;
  std::string file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;    // of what is not handed out
  std::size_t end_ = 0;      // of what is read
  std::size_t scanned_ = 0;  // no line end in [begin_, scanned_)
  std::size_t total_ = 0;
  bool exhausted_ = false;
  int number_ = 0;
};

}  // namespace pentafold
