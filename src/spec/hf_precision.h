// hf_precision: how a published checkpoint stores its weights, from config.json.
//
// dtype (or torch_dtype) is the plain format; quantization_config replaces it for what it converts:
// fp8, mxfp4, gptq, awq, bitsandbytes, modelopt and compressed-tensors are read, others refused by
// name. The lists of modules left alone are honoured where they name all attention or all experts.
// Cost: a few look-ups. Held by spec/hf_shape_test.cc.
#pragma once

#include "base/result.h"
#include "spec/json_reader.h"
#include "spec/model_shape.h"

namespace pentafold {

// `quantized` holds quantization_config: the config itself, or the one around a text model.
Result<Precision> read_precision(const JsonMap& config, const JsonMap& quantized);

}  // namespace pentafold
