// Reach: the most that a device's operators ever get out of it, whatever the shape.
//
// The greatest utilisation of a fitted surface (predict/efficiency.h) bounds every shape: an
// operator takes at least its operations or bytes at that rate. Proofs that no plan can beat a time
// stand on it (planner/certificate.cc). Engine factors included. Cost: a few operator calls. Held
// by predict/reach_test.cc (no random shape beats it).
#pragma once

#include "predict/engine_profile.h"
#include "predict/operators.h"
#include "spec/model_shape.h"

namespace pentafold {

struct Reach {
  double linear_flops = 0;        // per second: products in the precision of the linear weights
  double other_flops = 0;         // likewise embedding, head, router
  double expert_flops = 0;        // of experts
  double attention_flops = 0;     // of prefill attention
  double weight_bytes_per_s = 0;  // reading dense weights
  double expert_bytes_per_s = 0;  // reading experts' weights
  double kv_bytes_per_s = 0;      // reading the cache in decode
};
Reach reach_of(const Operators& operators, const GpuSpec& gpu, const EngineProfile& engine,
               const ModelShape& model, const Precision& precision);

}  // namespace pentafold
