// Weights in integers as the cpu device reads them, and the memory for activations in integers.
//
// A product takes as many rows at a time as kIntegerRowBytes hold, and quantises each once for all
// of its panels. The memory belongs to the calling thread and stays with it.
// Cost: packing is a pass over the values. Held by kernels/gemm_integer_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "kernels/cpu/dispatch.h"

namespace pentafold::cpu {

// Row-major (n, k) values of `dtype` -> Panels16 of `format`; absent rows are zero.
WeightMatrix integer_panels(std::span<const std::byte> row_major, std::int64_t n, std::int64_t k,
                            DType dtype, const IntegerFormat& format);

// body(memory for them) for [0, rows) of a product over k columns of w, some rows at a time.
void for_integer_rows(std::int64_t rows, std::int64_t k, const IntegerFormat& format,
                      FunctionRef<void(const IntegerRows&)> body);

// Some rows of an expert.
struct IntegerChunk {
  const ExpertRows* expert = nullptr;
  IntegerRows x;
  IntegerRows hidden;      // the same rows
  std::int64_t first = 0;  // of the rows of all chunks
};

// body(chunks) for all rows of all experts, some rows at a time.
void for_integer_experts(std::span<const ExpertRows> experts,
                         FunctionRef<void(std::span<const IntegerChunk>)> body);

}  // namespace pentafold::cpu
