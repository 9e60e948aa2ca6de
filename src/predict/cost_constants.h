// CostConstants: every number of the cost model that no datasheet states, in one place.
//
// Peaks come from spec/cluster.h; these say how much of a peak an operation reaches and what a step
// costs whatever its size. Starting values, each read off published kernel tables or fits and none
// adjusted to whole measured runs; `calibrate` replaces them by fits.
// Sources, by the letter behind a constant:
//   G  ai-dynamo/aiconfigurator GEMM tables, H100 and H200: median 72-78 % of the bf16 peak at
//      4096^3 and above, fp8 51-62 %; with four rows or fewer 77-83 % of the memory bandwidth;
//   M  its MoE tables, H100, TensorRT-LLM, SGLang and vLLM, balanced routing, 256 rows an expert
//      and more: bf16 23-50 %, fp8 20-38 % of the peak, so 0.35-0.65 of a plain product; 1 to 64
//      tokens: 59-79 % of the memory bandwidth;
//   B  inference-sim/inference-sim, fitted coefficients: 32 us a layer with its collectives, 126 us
//      a step, 4.4 us a request; KV 1.95 and weights 1.36 times the bytes' time;
//   N  microsoft/apex_plus NCCL tables, H100 and H200 on NVLink: large messages and the floor of
//      small ones;
//   A  attention kernels on H100 reach 50-75 % of the bf16 peak (FlashAttention-3, arXiv
//      2407.08608), least with short prompts;
//   D  none: the default of a design.
// Cost: a plain value. Held by predict/monotone_test.cc: no better device makes anything slower.
#pragma once

namespace pentafold {

struct CostConstants {
  double gemm_bf16 = 0.75;      // of the peak, large products (G)
  double gemm_low = 0.57;       // of the peak below 16 bits (G)
  double grouped_gemm = 0.60;   // of what a plain product reaches, experts (M)
  double attention = 0.55;      // of the bf16 peak (A)
  double stream = 0.80;         // of the memory bandwidth, weights (G)
  double expert_stream = 0.66;  // of the memory bandwidth, experts' weights (M)
  double kv_stream = 0.70;      // of the memory bandwidth, paged KV (between B and G)
  double link = 0.80;           // of a link's bandwidth (N)
  double min_rows = 16;         // a product of fewer rows takes as long as one of these (D)
  double layer_s = 20e-6;       // launches and small kernels of one layer (B)
  double step_s = 126e-6;       // scheduling and sampling of one step (B)
  double request_s = 4.4e-6;    // per request and step (B)
  double collective_s = 4e-6;   // start of one collective, beside the links' latencies (N)
  double hidden_comm = 0.0;     // part of dispatch and combine that overlaps with computing (D)
};

}  // namespace pentafold
