#include "spec/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pentafold {
namespace {

// Descriptors are few (a thousand, often), and checkpoints may have more shards.
constexpr int kMostDescriptors = 512;

Error io_error(const std::string& path, const char* what, int code) {
  return make_error(
      ErrorCode::Io,
      fmt::format("cannot be {} ({}); check path and permissions", what, std::strerror(code)),
      path);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_error(path, "opened", errno);
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const int code = errno;
    ::close(fd);
    return io_error(path, "examined", code);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return make_error(ErrorCode::InvalidSpec, "is not a regular file", path);
  }
  MappedFile file;
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size > 0) {
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
      const int code = errno;
      ::close(fd);
      return io_error(path, "mapped", code);
    }
    file.data_ = static_cast<const std::byte*>(data);
    file.size_ = size;
  }
  if (fd < kMostDescriptors) {
    file.descriptor_ = fd;
  } else {
    ::close(fd);
  }
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void MappedFile::read(std::span<const std::byte> part, std::byte* out) const {
  while (descriptor_ >= 0 && !part.empty()) {
    const ssize_t got = ::pread(descriptor_, out, part.size(), part.data() - data_);
    if (got <= 0) break;
    out += got;
    part = part.subspan(static_cast<std::size_t>(got));
  }
  if (!part.empty()) std::memcpy(out, part.data(), part.size());
}

void MappedFile::announce(std::span<const std::byte> part) const {
  if (descriptor_ < 0) return;
  static_cast<void>(::posix_fadvise(descriptor_, part.data() - data_,
                                    static_cast<off_t>(part.size()), POSIX_FADV_WILLNEED));
}

}  // namespace pentafold
