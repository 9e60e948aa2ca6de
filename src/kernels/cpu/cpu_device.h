// The cpu device: the reference's bits, vectorised with Highway and dispatched at run time.
//
// Lanes are independent outputs (16 outputs of a weight panel, 16 keys of a KV block, neighbouring
// elements), so every output stays the one chain device.h prescribes, whatever the vector width.
// The best of AVX-512, AVX2 or NEON is chosen when the program runs; a CPU without fused
// multiply-add gets the same bits, slowly. Source: Goto & van de Geijn (2008) for register tiles,
// FlashAttention (Dao et al. 2022) for the online softmax.
// Cost: bench/kernels_bench.cc. Held by kernels/gemm_test.cc, attention_test.cc and
// elementwise_test.cc: equal to the reference bit for bit on every target this CPU can run.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace pentafold {

std::unique_ptr<Device> make_cpu_device(Team* team);

}  // namespace pentafold
