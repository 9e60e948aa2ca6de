#include "spec/line_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace pentafold {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 16;
constexpr std::size_t kMaxLine = std::size_t{1} << 23;
constexpr std::size_t kMaxTotal = std::size_t{1} << 33;

struct CloseGzip {
  void operator()(gzFile file) const { gzclose(file); }
};
using Gzip = std::unique_ptr<gzFile_s, CloseGzip>;

Error io_error(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::Io, what, path);
}

Error damaged(const std::string& path, const char* what) {
  return make_error(ErrorCode::InvalidSpec,
                    fmt::format("is gzip data that {}; fetch or compress the file again", what),
                    path);
}

Result<Gzip> open_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return errno == ENOENT
               ? io_error(path, "no such file; check the path")
               : io_error(path, fmt::format("cannot be opened ({})", std::strerror(errno)));
  }
  struct stat info = {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return make_error(ErrorCode::InvalidSpec, "is not a regular file", path);
  }
  gzFile opened = gzdopen(fd, "rb");
  if (opened == nullptr) {
    ::close(fd);
    return io_error(path, "cannot be opened: there is no memory for it");
  }
  Gzip file(opened);
  gzbuffer(file.get(), 1U << 18);
  return file;
}

Result<std::size_t> read_some(gzFile file, const std::string& path, char* to, std::size_t most) {
  const int got = gzread(file, to, static_cast<unsigned>(most));
  int code = Z_OK;
  const char* message = gzerror(file, &code);
  if (code == Z_ERRNO) {
    return io_error(path, fmt::format("cannot be read to its end ({})", message));
  }
  if (code == Z_BUF_ERROR) return damaged(path, "ends too early");
  if (got < 0 || code < 0) return damaged(path, "is damaged");
  return static_cast<std::size_t>(got);
}

}  // namespace

LineReader::LineReader(Source source, std::string file)
    : source_(std::move(source)), file_(std::move(file)), buffer_(kBlock) {}

LineReader::LineReader(std::string_view text, std::string file)
    : LineReader(
          [text](char* to, std::size_t most) mutable -> Result<std::size_t> {
            const std::size_t n = std::min(most, text.size());
            std::copy_n(text.begin(), n, to);
            text.remove_prefix(n);
            return n;
          },
          std::move(file)) {}

Result<LineReader> LineReader::open(const std::string& path) {
  PF_ASSIGN(Gzip opened, open_file(path));
  // std::function wants to copy what it holds.
  const std::shared_ptr<gzFile_s> file(std::move(opened));
  return LineReader(
      [file, path](char* to, std::size_t most) { return read_some(file.get(), path, to, most); },
      path);
}

Error LineReader::refused(std::string message) const {
  return make_error(ErrorCode::InvalidSpec, std::move(message), file_, number_ + 1);
}

Status LineReader::refill() {
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
            buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
  scanned_ -= begin_;
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) {
    if (end_ >= kMaxLine) {
      return refused(fmt::format("is longer than {} bytes; is it the right file?", kMaxLine));
    }
    buffer_.resize(buffer_.size() * 2);
  }
  PF_ASSIGN(const std::size_t got, source_(buffer_.data() + end_, buffer_.size() - end_));
  end_ += got;
  total_ += got;
  exhausted_ = got == 0;
  if (total_ <= kMaxTotal) return ok_status();
  return refused(fmt::format("what came before is more than {} bytes; cut the file", kMaxTotal));
}

Result<bool> LineReader::next(std::string_view& line) {
  while (true) {
    const void* found =
        end_ > scanned_ ? std::memchr(buffer_.data() + scanned_, '\n', end_ - scanned_) : nullptr;
    const bool ended = found != nullptr;
    if (!ended) scanned_ = end_;
    if (!ended && !exhausted_) {
      PF_TRY(refill());
      continue;
    }
    if (!ended && begin_ == end_) return false;
    if (number_ + 1 == std::numeric_limits<int>::max()) return refused("is one line too many");
    const std::size_t stop =
        ended ? static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data()) : end_;
    line = std::string_view(buffer_.data() + begin_, stop - begin_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin_ = scanned_ = ended ? stop + 1 : stop;
    ++number_;
    return true;
  }
}

}  // namespace pentafold
