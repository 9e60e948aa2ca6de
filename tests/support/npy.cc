#include "support/npy.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/check.h"

namespace pentafold::testing {

NpyMatrix read_npy(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  CHECK(bytes.size() > 10 && bytes.compare(1, 5, "NUMPY") == 0, "not an .npy file");
  const std::size_t header =
      10 + static_cast<unsigned char>(bytes[8]) + 256U * static_cast<unsigned char>(bytes[9]);
  const std::string text = bytes.substr(10, header - 10);
  CHECK(text.find("'<f4'") != std::string::npos);
  CHECK(text.find("'fortran_order': False") != std::string::npos);
  NpyMatrix out;
  const std::size_t shape = text.find("'shape': (");
  CHECK(shape != std::string::npos);
  long rows = 0;
  long cols = 0;
  CHECK(std::sscanf(text.c_str() + shape, "'shape': (%ld, %ld)", &rows, &cols) == 2);
  out.rows = rows;
  out.cols = cols;
  out.values.resize(static_cast<std::size_t>(rows * cols));
  CHECK(bytes.size() == header + out.values.size() * sizeof(float));
  std::memcpy(out.values.data(), bytes.data() + header, out.values.size() * sizeof(float));
  return out;
}

}  // namespace pentafold::testing
