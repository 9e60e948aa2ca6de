// The catalog inside the program: the files of specs/ that planning looks names up in, as they were
// when it was built (cmake/embed.cmake), sorted by path. Held by spec/embedded_test.cc.
#pragma once

#include <span>
#include <string_view>

namespace pentafold {

struct EmbeddedFile {
  std::string_view path;  // "specs/models/qwen3-30b-a3b.yaml"
  std::string_view text;
};
std::span<const EmbeddedFile> embedded_files();

}  // namespace pentafold
