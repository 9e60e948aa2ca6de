// ScratchFolder: a fresh folder that is gone with the object, and whole files in it.
#pragma once

#include <string>

namespace pentafold::testing {

class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string path(const std::string& file = {}) const;  // of a file in it; empty: the folder
  std::string write(const std::string& file, const std::string& bytes) const;  // returns its path
  void copy_in(const std::string& from_folder) const;                          // its plain files

 private:
  std::string root_;
};

// CHECKs that the file can be read.
std::string read_bytes(const std::string& path);

}  // namespace pentafold::testing
