#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "spec/load_model.h"

namespace pentafold {
namespace {

using Json = nlohmann::json;

// What every family's config must hold.
Json base(const std::string& type) {
  Json c = {{"model_type", type},
            {"vocab_size", 128},
            {"hidden_size", 64},
            {"num_attention_heads", 64},
            {"num_hidden_layers", 6},
            {"intermediate_size", 96},
            {"num_experts", 8},
            {"num_experts_per_tok", 2},
            {"moe_intermediate_size", 48},
            {"shared_expert_intermediate_size", 80},
            {"head_dim", 2},
            {"eos_token_id", 3}};
  if (type == "mixtral") c.erase("num_experts"), c["num_local_experts"] = 8;
  return c;
}

const std::vector<std::string> kTypes = {"mixtral", "qwen2_moe", "qwen3_moe",
                                         "olmoe",   "llama",     "qwen3"};

ModelSpec read(const Json& config) {
  const auto result = parse_hf_config(config.dump(), "config.json");
  EXPECT_TRUE(result.ok()) << result.error().to_string();
  return *result;
}

Error refuse(const Json& config) {
  const auto result = parse_hf_config(config.dump(), "config.json");
  EXPECT_FALSE(result.ok()) << config.dump();
  return result.ok() ? Error{} : result.error();
}

std::vector<std::int64_t> windows(const Json& config) {
  std::vector<std::int64_t> out;
  for (const LayerSpec& layer : read(config).layers) out.push_back(layer.sliding_window);
  return out;
}

std::vector<bool> moe_layers(const Json& config) {
  std::vector<bool> out;
  for (const LayerSpec& layer : read(config).layers) out.push_back(layer.moe);
  return out;
}

TEST(HfConfig, AbsentKeysTakeTheFamilysDefaults) {
  const std::vector<double> theta = {1e6, 1e4, 1e4, 1e4, 1e4, 1e4};
  const std::vector<double> eps = {1e-5, 1e-6, 1e-6, 1e-5, 1e-6, 1e-6};
  const std::vector<std::int64_t> kv_heads = {8, 16, 4, 64, 64, 32};
  const std::vector<bool> norm_topk = {true, false, false, false, true, true};
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    const ModelSpec m = read(base(kTypes[i]));
    EXPECT_EQ(to_string(m.family), kTypes[i]);
    EXPECT_EQ(m.rope.theta, theta[i]) << kTypes[i];
    EXPECT_EQ(m.norm_eps, eps[i]) << kTypes[i];
    EXPECT_EQ(m.kv_heads, kv_heads[i]) << kTypes[i];
    EXPECT_EQ(m.norm_topk, norm_topk[i]) << kTypes[i];
    EXPECT_EQ(m.qkv_bias, kTypes[i] == "qwen2_moe") << kTypes[i];
    EXPECT_FALSE(m.o_bias || m.mlp_bias || m.tied_embeddings);
    EXPECT_EQ(m.eos_ids, std::vector<std::int32_t>{3});
    Json c = base(kTypes[i]);
    c["num_key_value_heads"] = nullptr;
    EXPECT_EQ(read(c).kv_heads, 64) << kTypes[i];
    c["hidden_size"] = 256;
    c["head_dim"] = nullptr;
    EXPECT_EQ(read(c).head_dim, 4) << kTypes[i];
    c.erase("head_dim");
    EXPECT_EQ(read(c).head_dim, kTypes[i] == "qwen3" ? 128 : 4) << kTypes[i];
  }
  EXPECT_EQ(read(base("llama")).bos_ids, std::vector<std::int32_t>{1});
  EXPECT_TRUE(read(base("qwen3")).bos_ids.empty());
}

TEST(HfConfig, FamiliesHaveTheirOwnArithmetic) {
  const ModelSpec qwen2 = read(base("qwen2_moe"));
  EXPECT_EQ(qwen2.shared_hidden, 80);
  EXPECT_TRUE(qwen2.shared_gate);
  EXPECT_EQ(qwen2.expert_hidden, 48);
  EXPECT_EQ(read(base("mixtral")).expert_hidden, 96);
  EXPECT_EQ(read(base("olmoe")).expert_hidden, 96);
  EXPECT_EQ(read(base("olmoe")).qk_norm, QkNorm::FullWidth);
  EXPECT_EQ(read(base("qwen3")).qk_norm, QkNorm::PerHead);
  EXPECT_EQ(read(base("qwen3_moe")).qk_norm, QkNorm::PerHead);
  EXPECT_EQ(read(base("llama")).experts, 0);
  EXPECT_EQ(read(base("llama")).dense_hidden, 96);

  for (const char* type : {"llama", "qwen3", "qwen3_moe", "olmoe"}) {
    Json c = base(type);
    c["attention_bias"] = true;
    EXPECT_TRUE(read(c).qkv_bias && read(c).o_bias) << type;
  }
  Json c = base("llama");
  c["mlp_bias"] = true;
  EXPECT_TRUE(read(c).mlp_bias);
  c = base("qwen2_moe");
  c["qkv_bias"] = false;
  c["norm_topk_prob"] = true;
  EXPECT_FALSE(read(c).qkv_bias);
  EXPECT_TRUE(read(c).norm_topk);
  c = base("olmoe");
  c["clip_qkv"] = 8.0;
  EXPECT_EQ(read(c).clip_qkv, 8.0);
  c["sliding_window"] = 16;
  EXPECT_EQ(refuse(c).code, ErrorCode::Unsupported);
}

TEST(HfConfig, QwenLayersHoldExpertsWhereTheConfigSays) {
  Json c = base("qwen3_moe");
  EXPECT_EQ(moe_layers(c), std::vector<bool>(6, true));
  c["decoder_sparse_step"] = 2;
  EXPECT_EQ(moe_layers(c), (std::vector<bool>{false, true, false, true, false, true}));
  c["mlp_only_layers"] = {1, 5};
  EXPECT_EQ(moe_layers(c), (std::vector<bool>{false, false, false, true, false, false}));
  EXPECT_EQ(read(c).dense_hidden, 96);
  c["mlp_only_layers"] = {1, 3, 5};
  EXPECT_FALSE(read(c).has_experts());
  c["mlp_only_layers"] = {6};
  EXPECT_EQ(refuse(c).code, ErrorCode::InvalidSpec);
}

TEST(HfConfig, SlidingWindowsFollowEachFamilysRule) {
  using V = std::vector<std::int64_t>;
  Json c = base("mixtral");
  c["sliding_window"] = 16;
  EXPECT_EQ(windows(c), V(6, 16));
  c["sliding_window"] = nullptr;
  EXPECT_EQ(windows(c), V(6, 0));
  for (const char* type : {"qwen2_moe", "qwen3_moe", "qwen3"}) {
    c = base(type);
    c["sliding_window"] = 16;
    c["max_window_layers"] = 4;
    EXPECT_EQ(windows(c), V(6, 0)) << type << ": a window alone is not used";
    c["use_sliding_window"] = true;
    const V wanted = type == std::string("qwen2_moe")   ? V{16, 0, 16, 0, 0, 0}
                     : type == std::string("qwen3_moe") ? V(6, 16)
                                                        : V{0, 0, 0, 0, 16, 16};
    EXPECT_EQ(windows(c), wanted) << type;
    c["sliding_window"] = nullptr;
    EXPECT_EQ(windows(c), V(6, 0)) << type;
  }
  c = base("qwen3");
  c["use_sliding_window"] = true;
  c["layer_types"] = {"full_attention", "sliding_attention", "full_attention",
                      "full_attention", "full_attention",    "full_attention"};
  EXPECT_EQ(windows(c), (V{0, 4096, 0, 0, 0, 0}));
  c["use_sliding_window"] = false;
  EXPECT_NE(refuse(c).message.find("no sliding_window is in use"), std::string::npos);
  c["layer_types"][0] = "chunked_attention";
  EXPECT_EQ(refuse(c).code, ErrorCode::Unsupported);
  c["layer_types"] = {"full_attention"};
  EXPECT_NE(refuse(c).message.find("1 entries for 6 layers"), std::string::npos);
}

TEST(HfConfig, RopeIsReadInBothSpellings) {
  Json c = base("llama");
  c["rope_theta"] = 5e5;
  c["max_position_embeddings"] = 8192;
  c["rope_scaling"] = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 2048}};
  const RopeSpec old = read(c).rope;
  EXPECT_EQ(old.scaling, RopeScaling::Llama3);
  EXPECT_EQ(old.theta, 5e5);
  EXPECT_EQ(old.factor, 8.0);
  EXPECT_EQ(old.original_max_position, 2048);
  c["rope_parameters"] = c["rope_scaling"];
  c["rope_parameters"]["rope_theta"] = 7e5;
  c.erase("rope_scaling");
  const RopeSpec renewed = read(c).rope;
  EXPECT_EQ(renewed.scaling, RopeScaling::Llama3);
  EXPECT_EQ(renewed.theta, 7e5) << "inside the parameters wins";
  EXPECT_EQ(renewed.original_max_position, 2048);
  c["rope_parameters"].erase("low_freq_factor");
  EXPECT_NE(refuse(c).message.find("rope_parameters.low_freq_factor is missing"),
            std::string::npos);

  c["rope_parameters"] = {{"type", "linear"}, {"factor", 4}};
  EXPECT_EQ(read(c).rope.scaling, RopeScaling::Linear);
  EXPECT_EQ(read(c).rope.factor, 4.0);
  c["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 3e4}};
  EXPECT_EQ(read(c).rope.scaling, RopeScaling::None);
  EXPECT_EQ(read(c).rope.theta, 3e4);
  for (const char* kind : {"dynamic", "longrope", "proportional"}) {
    c["rope_parameters"] = {{"rope_type", kind}, {"factor", 2.0}};
    EXPECT_EQ(refuse(c).code, ErrorCode::Unsupported);
    EXPECT_NE(refuse(c).message.find("supported are default, linear, llama3, yarn"),
              std::string::npos);
  }
  c["rope_parameters"] = {{"factor", 2.0}};
  EXPECT_NE(refuse(c).message.find("rope_parameters.rope_type is missing"), std::string::npos);
  c["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}};
  EXPECT_EQ(refuse(c).code, ErrorCode::Unsupported);
  c.erase("rope_parameters");
  c["partial_rotary_factor"] = 0.25;
  EXPECT_EQ(refuse(c).code, ErrorCode::Unsupported);
}

TEST(HfConfig, YarnResolvesItsAttentionFactor) {
  Json c = base("qwen3");
  c["max_position_embeddings"] = 4096;
  const auto yarn = [&](Json extra) {
    extra["rope_type"] = "yarn";
    c["rope_scaling"] = extra;
    return read(c).rope;
  };
  const RopeSpec plain = yarn({{"factor", 4.0}});
  EXPECT_DOUBLE_EQ(plain.attention_factor, 0.1 * std::log(4.0) + 1.0);
  EXPECT_EQ(plain.original_max_position, 4096);
  EXPECT_EQ(plain.beta_fast, 32.0);
  EXPECT_EQ(plain.beta_slow, 1.0);
  EXPECT_TRUE(plain.truncate);
  EXPECT_EQ(yarn({{"factor", 4.0}, {"attention_factor", 1.25}}).attention_factor, 1.25);
  EXPECT_DOUBLE_EQ(
      yarn({{"factor", 4.0}, {"mscale", 2.0}, {"mscale_all_dim", 0.5}}).attention_factor,
      (0.2 * std::log(4.0) + 1.0) / (0.05 * std::log(4.0) + 1.0));
  EXPECT_DOUBLE_EQ(yarn({{"factor", 4.0}, {"mscale", 2.0}}).attention_factor,
                   0.1 * std::log(4.0) + 1.0);
  EXPECT_EQ(yarn({{"factor", 1.0}}).attention_factor, 1.0);
  const RopeSpec implied = yarn({{"original_max_position_embeddings", 1024}, {"truncate", false}});
  EXPECT_EQ(implied.factor, 4.0) << "the ratio of the two context lengths";
  EXPECT_FALSE(implied.truncate);
}

TEST(HfConfig, WhatIsNotSupportedIsRefusedByName) {
  const auto with = [](const char* key, const Json& value) {
    Json c = base("llama");
    c[key] = value;
    const Error e = refuse(c);
    EXPECT_EQ(e.code, ErrorCode::Unsupported) << key;
    return e.to_string();
  };
  EXPECT_EQ(
      with("model_type", "gpt2"),
      "config.json: model_type is \"gpt2\"; supported are mixtral, qwen2_moe, qwen3_moe, olmoe, "
      "llama, qwen3");
  EXPECT_EQ(with("hidden_act", "gelu"),
            "config.json: hidden_act is \"gelu\"; supported are silu, swish");
  EXPECT_NE(with("quantization_config", {{"bits", 4}}).find("quantised"), std::string::npos);
  EXPECT_NE(with("torch_dtype", "float8_e4m3fn").find("supported are bfloat16"), std::string::npos);
  EXPECT_NE(with("dtype", "int8").find("dtype is \"int8\""), std::string::npos);
}

TEST(HfConfig, EveryKeyWithAWrongValueGetsASentence) {
  Json full = base("qwen2_moe");
  full.update({{"num_key_value_heads", 64},
               {"rms_norm_eps", 1e-6},
               {"rope_theta", 1e4},
               {"max_position_embeddings", 512},
               {"decoder_sparse_step", 1},
               {"qkv_bias", true},
               {"norm_topk_prob", false},
               {"tie_word_embeddings", false},
               {"use_sliding_window", true},
               {"sliding_window", 8},
               {"max_window_layers", 2},
               {"mlp_only_layers", Json::array({0})},
               {"torch_dtype", "float32"},
               {"hidden_act", "silu"},
               {"bos_token_id", 1},
               {"layer_types", nullptr},
               {"rope_scaling", nullptr}});
  ASSERT_TRUE(parse_hf_config(full.dump(), "c").ok());
  for (const auto& [key, value] : full.items()) {
    for (const Json& wrong : {Json(-7), Json("text"), Json(1e300), Json{{"a", 1}}, Json{"x"},
                              Json(-0.5), Json(true), Json(18446744073709551615ULL)}) {
      if (wrong.is_boolean() && value.is_boolean()) continue;
      if (wrong.is_object() && key == "rope_scaling") continue;  // any object may declare defaults
      Json c = full;
      c[key] = wrong;
      const Error e = refuse(c);
      EXPECT_FALSE(e.message.empty()) << key << " " << wrong.dump();
      EXPECT_EQ(e.file, "config.json");
    }
  }
  Json c = full;
  c["hidden_size"] = "64";
  EXPECT_EQ(refuse(c).to_string(), "config.json: hidden_size must be a whole number, not \"64\"");
  c.erase("hidden_size");
  EXPECT_EQ(refuse(c).to_string(),
            "config.json: hidden_size is missing; it must be a whole number");
}

TEST(HfConfig, MalformedJsonGetsASentence) {
  const auto refusal = [](const std::string& text) {
    return parse_hf_config(text, "config.json").error().to_string();
  };
  EXPECT_EQ(refusal(""), "config.json:1: is empty; expected JSON");
  EXPECT_EQ(refusal("{\n\"a\": 1,\n oops}"),
            "config.json:3: is not valid JSON; correct it near here");
  EXPECT_EQ(refusal("[]"), "config.json: must be a JSON object ({...})");
  EXPECT_EQ(refusal(std::string(1000000, '[')), "config.json: is nested more than 64 levels deep");
  EXPECT_NE(refusal("{\"hidden_size\": NaN}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"a\": 1e999}").find("not valid JSON"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
