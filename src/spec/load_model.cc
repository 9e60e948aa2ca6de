#include "spec/load_model.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text_file.h"
#include "spec/checkpoint.h"
#include "spec/json_reader.h"
#include "spec/tensors.h"

namespace pentafold {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxSpecBytes = 8'000'000;
constexpr std::int64_t kMaxTokenId = std::numeric_limits<std::int32_t>::max();

// Generation stops at the ids of generation_config.json where that file gives them.
Status read_generation_config(const fs::path& directory, ModelSpec& model) {
  const std::string path = (directory / "generation_config.json").string();
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return ok_status();
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxSpecBytes));
  PF_ASSIGN(const nlohmann::json document, parse_json(text, path));
  PF_ASSIGN(const JsonMap config, JsonMap::of(document, path));
  const auto replace = [&](const char* key, std::vector<std::int32_t>& ids) -> Status {
    if (!config.has(key)) return ok_status();
    PF_ASSIGN(const auto given, config.integers(key, 0, kMaxTokenId));
    ids.assign(given.begin(), given.end());
    return ok_status();
  };
  PF_TRY(replace("bos_token_id", model.bos_ids));
  PF_TRY(replace("eos_token_id", model.eos_ids));
  return validate(model, path);
}

// What the files hold counts, not what config.json says about them.
Status read_stored_type(const std::string& directory, ModelSpec& model) {
  PF_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(directory));
  const StoredTensor* embedding =
      checkpoint.find(checkpoint_name(model, {TensorRole::Embedding, -1, -1}));
  if (embedding != nullptr && embedding->usable) model.dtype = *embedding->usable;
  return ok_status();
}

Result<ModelInput> load_directory(const std::string& path) {
  const fs::path config = fs::path(path) / "config.json";
  std::error_code ignored;
  if (!fs::exists(config, ignored)) {
    return make_error(ErrorCode::Io,
                      "has no config.json; a model directory needs one (and safetensors files)",
                      path);
  }
  PF_ASSIGN(const std::string text, read_text_file(config.string(), kMaxSpecBytes));
  ModelInput out;
  PF_ASSIGN(out.model, parse_hf_config(text, config.string()));
  out.path = path;
  const fs::path plain = fs::path(path).lexically_normal();
  out.model.name = (plain.has_filename() ? plain : plain.parent_path()).filename().string();
  PF_TRY(read_generation_config(path, out.model));
  if (Checkpoint::present_in(path)) {
    PF_TRY(read_stored_type(path, out.model));
    out.checkpoint_dir = path;
  }
  return out;
}

}  // namespace

Result<ModelInput> load_model(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return load_directory(path);
  const std::string extension = fs::path(path).extension().string();
  const bool yaml = extension == ".yaml" || extension == ".yml";
  if (!yaml && extension != ".json") {
    return make_error(fs::exists(path, ignored) ? ErrorCode::Unsupported : ErrorCode::Io,
                      "is not a model; give a Hugging Face directory, its config.json, or a shape "
                      "spec (.yaml)",
                      path);
  }
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxSpecBytes));
  ModelInput out;
  out.path = path;
  if (yaml) {
    PF_ASSIGN(out.model, parse_shape_spec(text, path));
  } else {
    PF_ASSIGN(out.model, parse_hf_config(text, path));
  }
  return out;
}

}  // namespace pentafold
