#include "cli/requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "base/random.h"
#include "base/text_file.h"

namespace pentafold {
namespace {

constexpr std::int64_t kDefaultMaxTokens = 64;
constexpr std::int64_t kMostTokens = 1'000'000;  // of one request
constexpr std::size_t kMaxBatchBytes = 256'000'000;

Result<std::vector<std::int32_t>> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    if (*at == ',' || *at == ' ') {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next < end && *next != ',' && *next != ' ')) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("--prompt-ids: {} is not a list of token ids like 1,2,3", quote_text(text)));
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

// A misspelt key would silently mean its default.
Status refuse_unknown(const nlohmann::json& line) {
  constexpr std::array<std::string_view, 3> kKeys = {"prompt", "prompt_ids", "max_tokens"};
  for (const auto& [key, value] : line.items()) {
    if (std::ranges::find(kKeys, key) != kKeys.end()) continue;
    const std::string meant = nearest(key, kKeys);
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("unknown key {}; {}", quote_text(key),
                                  meant.empty() ? "known are prompt, prompt_ids, max_tokens"
                                                : fmt::format("did you mean \"{}\"?", meant)));
  }
  return ok_status();
}

class Builder {
 public:
  Builder(const RunOptions& options, const PlanAndModel& loaded)
      : options_(options), model_(loaded.input.model), loaded_(loaded) {}

  Result<Prompts> build() {
    const std::string& dir = loaded_.input.checkpoint_dir;
    if (!dir.empty() && std::filesystem::exists(dir + "/tokenizer.json")) {
      PF_ASSIGN(out_.tokenizer, Tokenizer::load(dir));
    }
    for (const std::string& prompt : options_.prompts) PF_TRY(add_text(prompt, max_tokens()));
    for (const std::string& list : options_.prompt_ids) {
      PF_ASSIGN(auto ids, parse_ids(list));
      PF_TRY(add(std::move(ids), max_tokens(), "--prompt-ids"));
    }
    if (!options_.batch_file.empty()) PF_TRY(add_batch());
    if (out_.requests.empty()) PF_TRY(add_synthetic());
    return std::move(out_);
  }

 private:
  std::int64_t max_tokens() const {
    if (options_.max_tokens) return *options_.max_tokens;
    return loaded_.plan.requests.max_tokens > 0 ? loaded_.plan.requests.max_tokens
                                                : kDefaultMaxTokens;
  }

  Status add(std::vector<std::int32_t> ids, std::int64_t max_tokens, const std::string& where) {
    const auto fail = [&](std::string why) {
      return make_error(ErrorCode::InvalidSpec, where + ": " + std::move(why));
    };
    if (ids.empty()) return fail("the prompt is empty; give at least one token");
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= model_.vocab) {
        return fail(fmt::format("token id {} is outside the vocabulary of {}", id, model_.vocab));
      }
    }
    if (max_tokens < 1 || max_tokens > kMostTokens) {
      return fail(fmt::format("max tokens must be 1 to {}, not {}", kMostTokens, max_tokens));
    }
    const auto prompt = static_cast<std::int64_t>(ids.size());
    // Nobody asked for the default length: it gives way to the model's context.
    if (!options_.max_tokens && model_.max_positions > prompt) {
      max_tokens = std::min(max_tokens, model_.max_positions - prompt);
    }
    const std::int64_t total = prompt + max_tokens;
    if (model_.max_positions > 0 && total > model_.max_positions) {
      return fail(
          fmt::format("{} prompt + {} new tokens exceed the model's {} positions; shorten "
                      "the prompt or lower --max-tokens",
                      prompt, max_tokens, model_.max_positions));
    }
    Request request;
    request.id = RequestId(static_cast<std::int64_t>(out_.requests.size()));
    request.prompt = std::move(ids);
    request.max_tokens = max_tokens;
    if (!options_.ignore_eos) request.stop_ids = model_.eos_ids;
    out_.requests.push_back(std::move(request));
    return ok_status();
  }

  Status add_text(const std::string& text, std::int64_t max_tokens) {
    if (!out_.tokenizer) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("{} has no tokenizer.json, so text prompts cannot be read; use "
                                    "--prompt-ids 1,2,3",
                                    loaded_.input.path));
    }
    PF_ASSIGN(auto ids, out_.tokenizer->encode(text, true));
    return add(std::move(ids), max_tokens, "prompt");
  }

  Status add_batch() {
    const std::string& file = options_.batch_file;
    PF_ASSIGN(const std::string text, read_text_file(file, kMaxBatchBytes));
    const std::size_t before = out_.requests.size();
    std::istringstream in(text);
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty()) continue;
      const Status added = line.front() == '{' ? add_json(line) : add_text(line, max_tokens());
      if (added.ok()) continue;
      Error error = added.error();
      error.file = file;
      error.line = number;
      return error;
    }
    if (out_.requests.size() == before) {
      return make_error(ErrorCode::InvalidSpec, "holds no prompt; write one a line", file);
    }
    return ok_status();
  }

  // {"prompt": "text"} or {"prompt_ids": [1, 2]}, and optionally "max_tokens".
  Status add_json(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.is_object()) {
      return make_error(ErrorCode::InvalidSpec, "not a JSON object like {\"prompt\": \"...\"}");
    }
    PF_TRY(refuse_unknown(json));
    if (json.contains("prompt") && json.contains("prompt_ids")) {
      return make_error(ErrorCode::InvalidSpec, "has both prompt and prompt_ids; keep one");
    }
    std::int64_t limit = max_tokens();
    if (json.contains("max_tokens")) {
      if (!json["max_tokens"].is_number_integer()) {
        return make_error(ErrorCode::InvalidSpec, "max_tokens must be an integer");
      }
      limit = json["max_tokens"].get<std::int64_t>();
    }
    if (json.contains("prompt") && json["prompt"].is_string()) {
      return add_text(json["prompt"].get<std::string>(), limit);
    }
    std::vector<std::int32_t> ids;
    if (json.contains("prompt_ids") && json["prompt_ids"].is_array()) {
      for (const auto& id : json["prompt_ids"]) {
        if (!id.is_number_integer()) {
          return make_error(ErrorCode::InvalidSpec, "prompt_ids must be integers");
        }
        // Out of range as int64 is out of the vocabulary as well.
        const auto wide = id.get<std::int64_t>();
        ids.push_back(wide < 0 || wide > INT32_MAX ? -1 : static_cast<std::int32_t>(wide));
      }
      return add(std::move(ids), limit, "prompt_ids");
    }
    return make_error(ErrorCode::InvalidSpec,
                      "needs \"prompt\" (text) or \"prompt_ids\" (a list of integers)");
  }

  Status add_synthetic() {
    const SyntheticRequests& wanted = loaded_.plan.requests;
    if (wanted.requests < 1) {
      return make_error(ErrorCode::InvalidSpec,
                        "nothing to run: give --prompt, --prompt-ids or --batch, or a `requests:` "
                        "section in the plan file");
    }
    for (std::int64_t r = 0; r < wanted.requests; ++r) {
      std::vector<std::int32_t> ids;
      for (std::int64_t t = 0; t < wanted.prompt_tokens; ++t) {
        const std::uint64_t draw =
            mix64(wanted.seed ^ mix64(static_cast<std::uint64_t>((r << 32) + t)));
        ids.push_back(static_cast<std::int32_t>(draw % static_cast<std::uint64_t>(model_.vocab)));
      }
      PF_TRY(add(std::move(ids), max_tokens(), "requests"));
    }
    return ok_status();
  }

  const RunOptions& options_;
  const ModelSpec& model_;
  const PlanAndModel& loaded_;
  Prompts out_;
};

}  // namespace

Result<Prompts> make_prompts(const RunOptions& options, const PlanAndModel& loaded) {
  return Builder(options, loaded).build();
}

}  // namespace pentafold
