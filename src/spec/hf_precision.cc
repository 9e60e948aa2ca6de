#include "spec/hf_precision.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/quote.h"

namespace pentafold {
namespace {

Result<NumberFormat> read_plain(const JsonMap& config) {
  const char* key = config.has("dtype") ? "dtype" : "torch_dtype";
  PF_ASSIGN(const std::string name, config.text(key, "bfloat16"));
  if (name == "bfloat16") return NumberFormat::BF16;
  if (name == "float16") return NumberFormat::F16;
  if (name == "float32") return NumberFormat::F32;
  return config.unsupported(
      key, fmt::format("is {}; known are bfloat16, float16, float32", quote_text(name)));
}

Result<NumberFormat> of_bits(const JsonMap& quant, std::int64_t bits, bool integer) {
  if (bits == 8) return integer ? NumberFormat::INT8 : NumberFormat::FP8;
  if (bits == 4) return integer ? NumberFormat::INT4 : NumberFormat::NVFP4;
  return quant.unsupported("bits", fmt::format("is {}; known are 4 and 8", bits));
}

Result<NumberFormat> of_compressed_tensors(const JsonMap& quant) {
  PF_ASSIGN(const JsonMap groups, quant.map("config_groups"));
  PF_ASSIGN(const JsonMap group, groups.map("group_0"));
  PF_ASSIGN(const JsonMap weights, group.map("weights"));
  PF_ASSIGN(const std::int64_t bits, weights.integer("num_bits", std::nullopt, 1, 64));
  PF_ASSIGN(const std::string type, weights.text("type", "int"));
  return of_bits(quant, bits, type == "int");
}

Result<NumberFormat> of_modelopt(const JsonMap& quant) {
  PF_ASSIGN(const std::string algorithm, quant.text("quant_algo", std::nullopt));
  if (algorithm.starts_with("NVFP4")) return NumberFormat::NVFP4;
  if (algorithm.starts_with("FP8")) return NumberFormat::FP8;
  if (algorithm.starts_with("W4A")) return NumberFormat::INT4;
  return quant.unsupported(
      "quant_algo", fmt::format("is {}; known are NVFP4, FP8, W4A16, W4A8", quote_text(algorithm)));
}

Result<NumberFormat> read_quantized(const JsonMap& quant) {
  const char* key = "quant_method";
  PF_ASSIGN(const std::string method, quant.text(key, std::nullopt));
  if (method == "fp8" || method == "fbgemm_fp8") return NumberFormat::FP8;
  if (method == "mxfp4") return NumberFormat::MXFP4;
  if (method == "compressed-tensors") return of_compressed_tensors(quant);
  if (method == "modelopt") return of_modelopt(quant);
  if (method == "gptq" || method == "awq") {
    PF_ASSIGN(const std::int64_t bits, quant.integer("bits", 4, 1, 64));
    return of_bits(quant, bits, true);
  }
  if (method == "bitsandbytes") {
    PF_ASSIGN(const bool eight, quant.boolean("load_in_8bit", false));
    return eight ? NumberFormat::INT8 : NumberFormat::INT4;
  }
  return quant.unsupported(
      key, fmt::format("is {}; known are fp8, fbgemm_fp8, mxfp4, gptq, awq, bitsandbytes, "
                       "modelopt, compressed-tensors",
                       quote_text(method)));
}

// Whether a pattern of the list names `module` itself, not a part of it: "re:.*self_attn.*".
bool leaves_alone(const std::vector<std::string>& patterns, std::string_view module) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    const std::size_t at = pattern.find(module);
    return at != std::string::npos &&
           pattern.find_first_not_of(".*$", at + module.size()) == std::string::npos;
  });
}

Status read_exceptions(const JsonMap& quant, NumberFormat plain, Precision& out) {
  for (const char* key :
       {"modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules"}) {
    PF_ASSIGN(const auto patterns, quant.texts(key));
    if (leaves_alone(patterns, "self_attn")) out.linear = plain;
    if (leaves_alone(patterns, ".experts")) out.experts = plain;
  }
  return ok_status();
}

Status read_cache(const JsonMap& quant, Precision& out) {
  PF_ASSIGN(const std::string algorithm, quant.text("kv_cache_quant_algo", ""));
  if (algorithm.starts_with("FP8")) out.kv = NumberFormat::FP8;
  if (!quant.has("kv_cache_scheme")) return ok_status();
  PF_ASSIGN(const JsonMap scheme, quant.map("kv_cache_scheme"));
  PF_ASSIGN(const std::int64_t bits, scheme.integer("num_bits", 8, 1, 64));
  PF_ASSIGN(const std::string type, scheme.text("type", "float"));
  PF_ASSIGN(out.kv, of_bits(quant, bits, type == "int"));
  return ok_status();
}

}  // namespace

Result<Precision> read_precision(const JsonMap& config, const JsonMap& quantized) {
  PF_ASSIGN(const NumberFormat plain, read_plain(config));
  Precision out{plain, plain, plain, NumberFormat::BF16};
  if (quantized.has("quantization_config")) {
    PF_ASSIGN(const JsonMap quant, quantized.map("quantization_config"));
    PF_ASSIGN(out.experts, read_quantized(quant));
    if (out.experts != NumberFormat::MXFP4) out.linear = out.experts;  // mxfp4 is for experts only
    PF_TRY(read_exceptions(quant, plain, out));
    PF_TRY(read_cache(quant, out));
  }
  PF_ASSIGN(const std::string experts, config.text("expert_dtype", ""));
  if (experts == "fp4") out.experts = NumberFormat::MXFP4;
  return out;
}

}  // namespace pentafold
