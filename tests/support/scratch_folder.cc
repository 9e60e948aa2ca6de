#include "support/scratch_folder.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/check.h"

namespace pentafold::testing {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  root_ = (fs::temp_directory_path() / "pentafold-XXXXXX").string();
  CHECK(mkdtemp(root_.data()) != nullptr, "no temporary folder");
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string ScratchFolder::path(const std::string& file) const {
  return file.empty() ? root_ : root_ + "/" + file;
}

std::string ScratchFolder::write(const std::string& file, const std::string& bytes) const {
  std::ofstream out(path(file), std::ios::binary);
  out << bytes;
  CHECK(out.flush().good(), "cannot write a temporary file");
  return path(file);
}

void ScratchFolder::copy_in(const std::string& from_folder) const {
  for (const auto& entry : fs::directory_iterator(from_folder)) {
    if (entry.is_regular_file()) fs::copy(entry.path(), root_);
  }
}

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good(), "no such file");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace pentafold::testing
