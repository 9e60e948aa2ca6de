// NumPy's .npy files of float32 matrices, for golden logits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pentafold::testing {

struct NpyMatrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<float> values;
};

// CHECKs that the file is a C-ordered little-endian float32 matrix.
NpyMatrix read_npy(const std::string& path);

}  // namespace pentafold::testing
