// CostConstants: every number of the cost model that no datasheet states, in one place.
//
// Peaks come from spec/cluster.h; these say how much of a peak an operation reaches and what a step
// costs whatever its size. Starting values are read off public measurements; `calibrate` replaces
// them by fits.
// Sources: gemm, streaming: ai-dynamo/aiconfigurator kernel tables for H100 and H200 (median 72-78
// % of the bf16 peak at 4096^3 and above, fp8 51-62 %, weight streaming 77-83 % of the bandwidth);
// per-layer, per-step and per-request times: inference-sim/inference-sim, fitted coefficients
// (32 us, 126 us, 4.4 us); collectives: microsoft/apex_plus NCCL tables (8 H100 on NVLink, small
// messages).
// Cost: a plain value. Held by predict/monotone_test.cc: no better device makes anything slower.
#pragma once

namespace pentafold {

struct CostConstants {
  double gemm_bf16 = 0.75;     // of the peak, large products
  double gemm_low = 0.57;      // of the peak below 16 bits
  double grouped_gemm = 0.80;  // of what a plain product reaches: experts' rows come in odd counts
  double attention = 0.55;     // of the bf16 peak, prefill
  double stream = 0.80;        // of the memory bandwidth, weights
  double kv_stream = 0.70;     // of the memory bandwidth, paged KV
  double link = 0.80;          // of a link's bandwidth
  double min_rows = 16;        // a product of fewer rows takes as long as one of these
  double layer_s = 20e-6;      // launches and small kernels of one layer
  double step_s = 126e-6;      // scheduling and sampling of one step
  double request_s = 4.4e-6;   // per request and step
  double collective_s = 4e-6;  // start of one collective, beside the links' latencies
  double hidden_comm = 0.0;    // part of dispatch and combine that overlaps with computing
};

}  // namespace pentafold
