#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

using Json = nlohmann::json;

// The essential fields of a published config.json; `common` are width, vocabulary, layers, heads
// and KV heads, which most families name alike.
Json config(const std::string& type, const std::vector<std::int64_t>& common, const char* rest) {
  Json out = Json::parse(rest);
  out["model_type"] = type;
  const char* keys[] = {"hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads",
                        "num_key_value_heads"};
  for (std::size_t i = 0; i < common.size(); ++i) out[keys[i]] = common[i];
  return out;
}

const char* const kDeepseek =
    R"({"intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "topk_method": "noaux_tc", "max_position_embeddings": 163840,
        "quantization_config": {"quant_method": "fp8"}})";

Json with(Json base, const char* changes) {
  base.merge_patch(Json::parse(changes));
  return base;
}

Json wrapped(const std::string& type, const Json& text) {
  return {{"model_type", type}, {"text_config", text}, {"vision_config", Json::object()}};
}

// Latent attention: `type` and what differs from DeepSeek-V3.
std::map<std::string, Json> latent_configs() {
  const std::vector<std::int64_t> v3 = {7168, 129280, 61, 128, 128};
  std::map<std::string, Json> out;
  out["deepseek-v3"] = config("deepseek_v3", v3, kDeepseek);
  const char* indexer = R"({"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048})";
  out["deepseek-v3.2"] = with(config("deepseek_v32", v3, kDeepseek), indexer);
  out["deepseek-v2-lite"] =
      with(config("deepseek_v2", {2048, 102400, 27, 16, 16}, kDeepseek),
           R"({"q_lora_rank": 0, "intermediate_size": 10944, "moe_intermediate_size": 1408,
               "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
               "first_k_dense_replace": 1, "topk_method": null, "quantization_config": null})");
  out["glm-5"] = with(config("glm_moe_dsa", {6144, 154880, 78, 64, 64}, kDeepseek),
                      R"({"q_lora_rank": 2048, "intermediate_size": 12288, "qk_nope_head_dim": 192,
               "v_head_dim": 256, "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048,
               "max_position_embeddings": 202752, "quantization_config": null})");
  const Json kimi = with(config("kimi_k2", {7168, 163840, 61, 64, 64}, kDeepseek),
                         R"({"n_routed_experts": 384, "first_k_dense_replace": 1,
                             "max_position_embeddings": 262144, "quantization_config": {
                               "quant_method": "compressed-tensors",
                               "ignore": ["re:.*self_attn.*", "re:.*shared_experts.*"],
                               "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}})");
  out["kimi-k2.5"] = wrapped("kimi_k25", kimi);
  Json v4 = config("deepseek_v4", {7168, 129280, 61, 128, 1},
                   R"({"moe_intermediate_size": 3072, "n_routed_experts": 384,
                       "n_shared_experts": 1, "num_experts_per_tok": 6, "num_hash_layers": 3,
                       "head_dim": 512, "q_lora_rank": 1536, "o_lora_rank": 1024, "o_groups": 16,
                       "index_n_heads": 64, "index_head_dim": 128, "index_topk": 1024,
                       "hc_mult": 4, "sliding_window": 128, "topk_method": "noaux_tc",
                       "expert_dtype": "fp4", "quantization_config": {"quant_method": "fp8"},
                       "max_position_embeddings": 1048576})");
  for (int i = 0; i < 61; ++i) v4["compress_ratios"].push_back(i < 2 || i % 2 == 1 ? 128 : 4);
  out["deepseek-v4-pro"] = v4;
  return out;
}

std::map<std::string, Json> grouped_configs() {
  std::map<std::string, Json> out;
  out["dbrx"] = Json::parse(
      R"({"model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40,
          "vocab_size": 100352, "max_seq_len": 32768, "attn_config": {"kv_n_heads": 8},
          "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4}})");
  out["glm-4.5"] = config("glm4_moe", {5120, 151552, 92, 96, 8},
                          R"({"attention_bias": true, "first_k_dense_replace": 3, "head_dim": 128,
                 "intermediate_size": 12288, "moe_intermediate_size": 1536,
                 "n_routed_experts": 160, "n_shared_experts": 1, "num_experts_per_tok": 8,
                 "max_position_embeddings": 131072, "use_qk_norm": true})");
  out["gpt-oss-20b"] = config("gpt_oss", {2880, 201088, 24, 64, 8},
                              R"({"attention_bias": true, "head_dim": 64, "intermediate_size": 2880,
                 "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128,
                 "max_position_embeddings": 131072, "quantization_config": {"quant_method": "mxfp4",
                 "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}})");
  out["llama-4-maverick"] = wrapped(
      "llama4", config("llama4_text", {5120, 202048, 48, 40, 8},
                       R"({"head_dim": 128, "intermediate_size": 8192, "num_local_experts": 128,
                           "intermediate_size_mlp": 16384, "interleave_moe_layer_step": 2,
                           "num_experts_per_tok": 1, "max_position_embeddings": 1048576})"));
  out["ernie-4.5-21b-a3b"] =
      config("ernie4_5_moe", {2560, 103424, 28, 20, 4},
             R"({"head_dim": 128, "intermediate_size": 12288, "moe_intermediate_size": 1536,
                 "moe_num_experts": 64, "moe_k": 6, "moe_num_shared_experts": 2,
                 "moe_layer_start_index": 1, "tie_word_embeddings": true})");
  out["granite-3.1-3b-a800m"] =
      config("granitemoe", {1536, 49155, 32, 24, 8},
             R"({"intermediate_size": 512, "num_local_experts": 40, "num_experts_per_tok": 8,
                 "tie_word_embeddings": true})");
  out["grok-1"] = config("grok-1", {6144, 131072, 64, 48, 8},
                         R"({"intermediate_size": 32768, "num_experts": 8,
                             "num_experts_per_tok": 2, "tie_word_embeddings": true})");
  out["hunyuan-a13b"] =
      config("hunyuan_v1_moe", {4096, 128167, 32, 32, 8},
             R"({"head_dim": 128, "moe_intermediate_size": [3072, 3072], "num_experts": 64,
                 "moe_topk": [8, 8], "num_shared_expert": 1, "tie_word_embeddings": true})");
  out["phi-3.5-moe"] =
      config("phimoe", {4096, 32064, 32, 32, 8},
             R"({"intermediate_size": 6400, "num_local_experts": 16, "num_experts_per_tok": 2,
                 "attention_bias": true, "lm_head_bias": true})");
  out["minimax-m2.5"] =
      config("minimax_m2", {3072, 200064, 62, 48, 8},
             R"({"head_dim": 128, "intermediate_size": 1536, "num_local_experts": 256,
                 "num_experts_per_tok": 8, "quantization_config": {"quant_method": "fp8",
                 "modules_to_not_convert": ["gate", "lm_head"]}})");
  return out;
}

std::map<std::string, Json> hybrid_configs() {
  std::map<std::string, Json> out;
  Json m1 = config("minimax_m1", {6144, 200064, 80, 64, 8},
                   R"({"head_dim": 128, "intermediate_size": 9216, "num_local_experts": 32,
                       "num_experts_per_tok": 2})");
  for (int i = 0; i < 80; ++i) m1["attn_type_list"].push_back(i % 8 == 7 ? 1 : 0);
  out["minimax-m1"] = m1;
  out["jamba-1.5-mini"] =
      config("jamba", {4096, 65536, 32, 32, 8},
             R"({"intermediate_size": 14336, "num_experts": 16, "num_experts_per_tok": 2})");
  out["nemotron-3-nano-30b-a3b"] =
      config("nemotron_h", {2688, 131072, 52, 32, 2},
             R"({"head_dim": 128, "mamba_num_heads": 64, "mamba_head_dim": 64,
                 "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712,
                 "n_routed_experts": 128, "n_shared_experts": 1, "num_experts_per_tok": 6,
                 "hybrid_override_pattern":
                     "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"})");
  const char* delta =
      R"({"head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
          "linear_key_head_dim": 128, "linear_value_head_dim": 128, "num_experts": 512,
          "num_experts_per_tok": 10, "moe_intermediate_size": 512,
          "shared_expert_intermediate_size": 512})";
  out["qwen3-next-80b-a3b"] = config("qwen3_next", {2048, 151936, 48, 16, 2}, delta);
  Json q35 = with(config("qwen3_5_moe_text", {4096, 248320, 60, 32, 2}, delta),
                  R"({"linear_num_value_heads": 64, "moe_intermediate_size": 1024,
                      "shared_expert_intermediate_size": 1024})");
  for (int i = 0; i < 60; ++i) {
    q35["layer_types"].push_back(i % 4 == 3 ? "full_attention" : "linear_attention");
  }
  out["qwen3.5-397b-a17b"] = wrapped("qwen3_5_moe", q35);
  out["switch-base-8"] = Json::parse(
      R"({"model_type": "switch_transformers", "d_model": 768, "d_ff": 3072, "d_kv": 64,
          "num_heads": 12, "num_layers": 12, "num_experts": 8, "num_sparse_encoder_layers": 6,
          "num_sparse_decoder_layers": 6, "vocab_size": 32128})");
  return out;
}

std::map<std::string, Json> engine_configs() {
  std::map<std::string, Json> out;
  out["qwen3-30b-a3b"] = config("qwen3_moe", {2048, 151936, 48, 32, 4},
                                R"({"head_dim": 128, "moe_intermediate_size": 768,
                                    "num_experts": 128, "num_experts_per_tok": 8})");
  out["mixtral-8x7b"] = config("mixtral", {4096, 32000, 32, 32, 8},
                               R"({"intermediate_size": 14336, "num_local_experts": 8,
                                   "num_experts_per_tok": 2})");
  out["olmoe-1b-7b"] = config("olmoe", {2048, 50304, 16, 16, 16},
                              R"({"intermediate_size": 1024, "num_experts": 64,
                                  "num_experts_per_tok": 8})");
  out["llama-3.1-8b"] =
      config("llama", {4096, 128256, 32, 32, 8}, R"({"intermediate_size": 14336})");
  out["qwen3-8b"] = config("qwen3", {4096, 151936, 36, 32, 8},
                           R"({"head_dim": 128, "intermediate_size": 12288})");
  out["qwen1.5-moe-a2.7b"] =
      config("qwen2_moe", {2048, 151936, 24, 16, 16},
             R"({"moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
                 "num_experts": 60, "num_experts_per_tok": 4})");
  return out;
}

std::map<std::string, Json> all_configs() {
  std::map<std::string, Json> out = latent_configs();
  out.merge(grouped_configs());
  out.merge(hybrid_configs());
  out.merge(engine_configs());
  return out;
}

ModelShape read(const Json& json) {
  const auto shape = parse_hf_shape(json.dump(), "config.json");
  EXPECT_TRUE(shape.ok()) << shape.error().to_string();
  return *shape;
}

Error refuse(const Json& json) {
  const auto shape = parse_hf_shape(json.dump(), "config.json");
  EXPECT_FALSE(shape.ok()) << json.dump();
  return shape.ok() ? Error{} : shape.error();
}

// Two descriptions of one model, written apart.
TEST(HfShape, EveryFamilyAgreesWithTheCatalog) {
  for (const auto& [name, json] : all_configs()) {
    const auto wanted = load_shape(name);
    ASSERT_TRUE(wanted.ok()) << name;
    const ModelShape got = read(json);
    const ModelShape& want = wanted->model;
    EXPECT_EQ(got.family, want.family);
    EXPECT_EQ(count_params(got).total, count_params(want).total) << name;
    EXPECT_EQ(count_params(got).active, count_params(want).active) << name;
    EXPECT_EQ(got.layers, want.layers) << name;
    EXPECT_EQ(got.stored, want.stored) << name << " " << to_string(got.stored);
    for (const std::int64_t tokens : {1, 5000, 300000}) {
      EXPECT_EQ(kv_bytes_of_sequence(got, NumberFormat::FP8, tokens),
                kv_bytes_of_sequence(want, NumberFormat::FP8, tokens))
          << name;
      EXPECT_EQ(attention_flops(got, tokens, false), attention_flops(want, tokens, false)) << name;
    }
    EXPECT_EQ(weight_flops_per_token(got), weight_flops_per_token(want)) << name;
  }
}

// Removing any one field either changes nothing (a default) or is refused by its name; no value of
// the wrong type or sign is taken.
TEST(HfShape, EveryFieldIsCheckedAndEveryMissingOneNamed) {
  for (const auto& [name, json] : all_configs()) {
    const Json inner = json.contains("text_config") ? json["text_config"] : json;
    for (const auto& [key, value] : inner.items()) {
      // Latent attention has no KV heads, whatever its config says.
      const bool unread = key == "num_key_value_heads" && inner.contains("q_lora_rank");
      if (!value.is_number_integer() || unread) continue;
      Json without = inner;
      without.erase(key);
      const auto shape = parse_hf_shape(without.dump(), "config.json");
      if (!shape.ok()) {
        // The engine's reader knows the expert count by two names.
        const std::string wanted = key == "num_local_experts" ? "experts" : key;
        EXPECT_NE(shape.error().message.find(wanted), std::string::npos) << name << " " << key;
      }
      Json negative = inner;
      negative[key] = -7;
      const Error error = refuse(negative);
      EXPECT_NE(error.message.find(key), std::string::npos) << name << ": " << error.message;
      EXPECT_EQ(error.file, "config.json");
      negative[key] = "many";
      EXPECT_NE(refuse(negative).message.find(key), std::string::npos) << name;
    }
  }
}

TEST(HfShape, UnknownFamiliesAreRefusedWithTheNearestAndTheList) {
  const Error error = refuse({{"model_type", "deepseek_v33"}});
  EXPECT_EQ(error.code, ErrorCode::Unsupported);
  EXPECT_NE(error.message.find("did you mean \"deepseek_v3\"?"), std::string::npos);
  for (const char* known : {"llama", "qwen3_moe", "jamba", "gpt_oss", "deepseek_v4"}) {
    EXPECT_NE(error.message.find(known), std::string::npos) << known;
  }
  EXPECT_NE(refuse(Json::object()).message.find("model_type is missing"), std::string::npos);
}

TEST(HfShape, WhatIsLeftOutIsSaid) {
  const auto notes = [](const Json& json) {
    std::string out;
    for (const std::string& note : read(json).not_counted) out += note + "\n";
    return out;
  };
  auto configs = all_configs();
  EXPECT_EQ(notes(configs["mixtral-8x7b"]), "");
  EXPECT_NE(notes(configs["kimi-k2.5"]).find("vision tower"), std::string::npos);
  EXPECT_NE(notes(configs["deepseek-v4-pro"]).find("3 hash-routed layers"), std::string::npos);
  EXPECT_NE(notes(configs["switch-base-8"]).find("encoder of 12 layers: 283 M"), std::string::npos);
  const Json mtp = with(configs["deepseek-v3"], R"({"num_nextn_predict_layers": 1})");
  EXPECT_NE(notes(mtp).find("1 multi-token prediction layer,"), std::string::npos);
}

std::string precision(const char* quantization) {
  Json json = all_configs()["qwen3-30b-a3b"];
  json["quantization_config"] = Json::parse(quantization);
  return to_string(read(json).stored);
}

TEST(HfShape, QuantisationSaysHowWeightsAreStored) {
  EXPECT_EQ(precision(R"({"quant_method": "fp8"})"), "fp8");
  EXPECT_EQ(precision(R"({"quant_method": "mxfp4"})"), "mxfp4 experts, bf16");
  EXPECT_EQ(precision(R"({"quant_method": "gptq", "bits": 8})"), "int8");
  EXPECT_EQ(precision(R"({"quant_method": "awq"})"), "int4");
  EXPECT_EQ(precision(R"({"quant_method": "bitsandbytes", "load_in_8bit": true})"), "int8");
  EXPECT_EQ(precision(R"({"quant_method": "modelopt", "quant_algo": "NVFP4",
                          "ignore": ["model.layers.0.self_attn*"],
                          "kv_cache_scheme": {"num_bits": 8, "type": "float"}})"),
            "nvfp4 experts, bf16, kv fp8");
  EXPECT_EQ(precision(R"({"quant_method": "compressed-tensors", "ignore": ["re:.*mlp.experts.*"],
                          "config_groups": {"group_0": {"weights": {"num_bits": 8,
                          "type": "float"}}}})"),
            "bf16 experts, fp8");
  Json json = all_configs()["qwen3-30b-a3b"];
  json["quantization_config"] = {{"quant_method", "sorcery"}};
  EXPECT_NE(refuse(json).message.find("\"sorcery\"; known are fp8"), std::string::npos);
  json["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 3}};
  EXPECT_NE(refuse(json).message.find("is 3; known are 4 and 8"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
