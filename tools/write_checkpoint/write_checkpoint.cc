// write_checkpoint SPEC.yaml FOLDER [SHARD_BYTES]: a synthetic model as a Hugging Face checkpoint
// (config.json, safetensors shards, index), to measure how fast such a thing loads. The same bits
// come out of it as out of the spec. Only for specs of Mixtral's kind.
#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "spec/load_model.h"
#include "spec/tensors.h"
#include "spec/weight_source.h"

namespace pentafold {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{16} << 20;

struct Shard {
  std::string file;
  std::vector<TensorInfo> tensors;
};

Error failed(const std::string& path) {
  return make_error(ErrorCode::Io, "cannot be written; is the folder there, and not full?", path);
}

Status check_kind(const ModelSpec& m, const std::string& path) {
  bool mixtral = m.family == Family::Synthetic && m.gated_mlp && m.norm_topk &&
                 m.activation == Activation::Silu && m.router_order == RouterOrder::SoftmaxTopk &&
                 m.shared_hidden == 0 && m.qk_norm == QkNorm::None && !m.qkv_bias && !m.clip_qkv &&
                 m.rope.scaling == RopeScaling::None;
  for (const LayerSpec& layer : m.layers) {
    mixtral = mixtral && layer.moe && layer.sliding_window == 0;
  }
  if (mixtral) return ok_status();
  return make_error(ErrorCode::Unsupported,
                    "is not a synthetic model of Mixtral's kind: experts in every layer, three "
                    "matrices, softmax then top-k, nothing shared",
                    path);
}

nlohmann::json config_of(const ModelSpec& m) {
  const char* dtype =
      m.dtype == DType::F32 ? "float32" : (m.dtype == DType::F16 ? "float16" : "bfloat16");
  return {{"architectures", {"MixtralForCausalLM"}},
          {"model_type", "mixtral"},
          {"vocab_size", m.vocab},
          {"hidden_size", m.d},
          {"intermediate_size", m.expert_hidden},
          {"num_hidden_layers", m.num_layers()},
          {"num_attention_heads", m.heads},
          {"num_key_value_heads", m.kv_heads},
          {"head_dim", m.head_dim},
          {"num_local_experts", m.experts},
          {"num_experts_per_tok", m.top_k},
          {"rope_theta", m.rope.theta},
          {"rms_norm_eps", m.norm_eps},
          {"tie_word_embeddings", m.tied_embeddings},
          {"hidden_act", "silu"},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"torch_dtype", dtype}};
}

bool is_vector(const TensorInfo& info) {
  return info.cols == 1 && info.id.role != TensorRole::Router;
}

std::vector<Shard> cut(const ModelSpec& model, std::int64_t shard_bytes) {
  std::vector<Shard> out(1);
  std::int64_t bytes = 0;
  for (const TensorInfo& info : model_tensors(model)) {
    if (bytes >= shard_bytes) {
      out.emplace_back();
      bytes = 0;
    }
    bytes += info.count() * static_cast<std::int64_t>(size_of(model.dtype));
    out.back().tensors.push_back(info);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, out.size());
  }
  return out;
}

Status write_shard(const ModelSpec& model, const Shard& shard, const std::string& path) {
  const WeightSource source = WeightSource::synthetic(model);
  const auto element = static_cast<std::int64_t>(size_of(model.dtype));
  nlohmann::ordered_json header;
  std::int64_t offset = 0;
  for (const TensorInfo& info : shard.tensors) {
    std::vector<std::int64_t> shape = {info.rows};
    if (!is_vector(info)) shape.push_back(info.cols);
    const std::int64_t end = offset + info.count() * element;
    header[checkpoint_name(model, info.id)] = {
        {"dtype", to_string(model.dtype)}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::ofstream file(path, std::ios::binary);
  for (int byte = 0; byte < 8; ++byte) file.put(static_cast<char>(text.size() >> (8 * byte)));
  file << text;
  std::vector<std::byte> piece;
  for (const TensorInfo& info : shard.tensors) {
    const std::int64_t rows = std::max<std::int64_t>(1, kPieceBytes / (info.cols * element));
    for (std::int64_t row = 0; row < info.rows; row += rows) {
      const Range some{row, std::min(row + rows, info.rows)};
      piece.resize(static_cast<std::size_t>(some.size() * info.cols * element));
      source.read(info.id, some, {0, info.cols}, piece);
      file.write(reinterpret_cast<const char*>(piece.data()), std::ssize(piece));
    }
  }
  file.flush();
  return file ? ok_status() : Status(failed(path));
}

Status write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  return file ? ok_status() : Status(failed(path));
}

Status write_checkpoint(const std::string& spec, const std::string& folder,
                        std::int64_t shard_bytes) {
  PF_ASSIGN(const ModelInput input, load_model(spec));
  PF_TRY(check_kind(input.model, spec));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  PF_TRY(write_text(folder + "/config.json", config_of(input.model).dump(2) + "\n"));
  nlohmann::json index = {{"weight_map", nlohmann::json::object()}};
  for (const Shard& shard : cut(input.model, shard_bytes)) {
    PF_TRY(write_shard(input.model, shard, folder + "/" + shard.file));
    for (const TensorInfo& info : shard.tensors) {
      index["weight_map"][checkpoint_name(input.model, info.id)] = shard.file;
    }
  }
  return write_text(folder + "/model.safetensors.index.json", index.dump(1) + "\n");
}

}  // namespace
}  // namespace pentafold

int main(int argc, char** argv) {
  std::int64_t shard_bytes = 4'000'000'000;
  if (argc == 4) {
    const std::string_view text = argv[3];
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), shard_bytes);
    if (bad != std::errc() || end != text.data() + text.size() || shard_bytes < 1) argc = 0;
  }
  if (argc != 3 && argc != 4) {
    fmt::print(stderr, "usage: write_checkpoint SPEC.yaml FOLDER [SHARD_BYTES]\n");
    return 2;
  }
  const auto done = pentafold::write_checkpoint(argv[1], argv[2], shard_bytes);
  if (done.ok()) return 0;
  fmt::print(stderr, "write_checkpoint: {}\n", done.error().to_string());
  return 2;
}
