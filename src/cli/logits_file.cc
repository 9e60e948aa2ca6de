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
    if (!out) {
      return make_error(ErrorCode::Io, "logits cannot be written; is the folder there?",
                        target.string());
    }
  }
  return ok_status();
}

}  // namespace pentafold
