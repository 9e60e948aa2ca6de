#include "base/text_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace pentafold {

Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) {
    return make_error(ErrorCode::Io, "no such file; check the path", path);
  }
  if (!std::filesystem::is_regular_file(status)) {
    return make_error(ErrorCode::InvalidSpec, "is not a regular file", path);
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return make_error(ErrorCode::Io, fmt::format("cannot be opened ({})", std::strerror(errno)),
                      path);
  }
  std::string text;
  char block[65536];
  while (stream.read(block, sizeof block) || stream.gcount() > 0) {
    text.append(block, static_cast<std::size_t>(stream.gcount()));
    if (text.size() > max_bytes) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("is longer than {} bytes; is it the right file?", max_bytes),
                        path);
    }
  }
  if (stream.bad()) return make_error(ErrorCode::Io, "cannot be read to its end", path);
  return text;
}

}  // namespace pentafold
