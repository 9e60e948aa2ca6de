# Writes OUTPUT, a C++ file that holds every file of FILES (relative to ROOT) as text, so that the
# program finds its catalog wherever it is started. Run by the build: cmake -DOUTPUT= ... -P.
set(body "")
foreach(file ${FILES})
  file(READ ${ROOT}/${file} text)
  # A string literal of more than 64 KiB is not portable; the catalog's files are far below it.
  string(APPEND body "    {\"${file}\", R\"~~~(${text})~~~\"},\n")
endforeach()
file(WRITE ${OUTPUT} "// Written by cmake/embed.cmake.
#include \"spec/embedded.h\"

namespace pentafold {

std::span<const EmbeddedFile> embedded_files() {
  static constexpr EmbeddedFile kFiles[] = {
${body}  };
  return kFiles;
}

}  // namespace pentafold
")
