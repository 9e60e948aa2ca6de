#include "cli/logits_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace pentafold {
namespace {

// Format 1.0: magic, header length, a Python dict padded so that data starts at a multiple of 64.
std::string npy_header(std::size_t rows, std::size_t cols) {
  std::string dict =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  constexpr std::size_t kPreamble = 10;
  while ((kPreamble + dict.size() + 1) % 64 != 0) dict += ' ';
  dict += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(dict.size() & 0xFFU);
  out += static_cast<char>(dict.size() >> 8U);
  return out + dict;
}

}  // namespace

Status LogitsFile::check_place(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder, ignored)) {
    return make_error(ErrorCode::Io, "logits cannot be written there: no such folder", path);
  }
  if (std::filesystem::is_directory(path, ignored)) {
    return make_error(ErrorCode::Io, "logits cannot be written there: it is a folder", path);
  }
  return ok_status();
}

void LogitsFile::add(const LogitRow& row) {
  rows_[row.request][row.position].assign(row.logits.begin(), row.logits.end());
}

Status LogitsFile::write(const std::string& path) const {
  for (const auto& [request, rows] : rows_) {
    std::filesystem::path target(path);
    if (rows_.size() > 1) {
      target.replace_filename(fmt::format("{}.{}{}", target.stem().string(), request.value,
                                          target.extension().string()));
    }
    std::ofstream out(target, std::ios::binary);
    out << npy_header(rows.size(), rows.begin()->second.size());
    for (const auto& [position, logits] : rows) {
      out.write(reinterpret_cast<const char*>(logits.data()),
                static_cast<std::streamsize>(logits.size() * sizeof(float)));
    }
    if (!out.flush()) {
      return make_error(ErrorCode::Io,
                        "logits cannot be written; is the disk full, or the file read-only?",
                        target.string());
    }
  }
  return ok_status();
}

}  // namespace pentafold
