// The rest of a tokenizer.json: model, added tokens, post-processor; and tokenizer_config.json.
#include "serve/tokenizer_parse.h"

#include <algorithm>

#include "serve/tokenizer_json.h"

namespace pentafold {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

Status refuse_if_set(const JsonNode& model, const std::string& key) {
  PF_ASSIGN(const std::string value, model.string_or(key, ""));
  if (value.empty()) return ok_status();
  return model.at(key).error(ErrorCode::Unsupported,
                             fmt::format("is '{}'; only null or \"\" is supported", value));
}

Result<std::vector<std::pair<std::string, std::int32_t>>> read_vocab(const JsonNode& vocab) {
  if (!vocab.json().is_object()) return vocab.wrong("must be an object of token: id");
  std::vector<std::pair<std::string, std::int32_t>> tokens;
  tokens.reserve(vocab.json().size());
  for (const auto& [token, id] : vocab.json().items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > kMaxTokenId) {
      return vocab.wrong(fmt::format("gives '{}' an id that is not a whole number from 0 to {}",
                                     token, kMaxTokenId));
    }
    tokens.emplace_back(token, id.get<std::int32_t>());
  }
  return tokens;
}

Result<Merges> read_merges(const JsonNode& list) {
  if (!list.json().is_array()) return list.wrong("must be an array");
  Merges merges;
  merges.reserve(list.json().size());
  for (const nlohmann::json& item : list.json()) {
    if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      merges.emplace_back(item[0].get<std::string>(), item[1].get<std::string>());
      continue;
    }
    const std::string text = item.is_string() ? item.get<std::string>() : "";
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return list.wrong(fmt::format("[{}] must be \"left right\" or [\"left\", \"right\"]",
                                    &item - &list.json()[0]));
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

Result<std::vector<AddedToken>> read_added_tokens(const JsonNode& list) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  PF_ASSIGN(const std::vector<JsonNode> nodes, list.items());
  for (const JsonNode& node : nodes) {
    AddedToken token;
    PF_ASSIGN(const std::int64_t id, node.integer("id", kMaxTokenId));
    token.id = static_cast<std::int32_t>(id);
    PF_ASSIGN(token.content, node.string("content"));
    PF_ASSIGN(token.special, node.boolean("special", false));
    PF_ASSIGN(token.single_word, node.boolean("single_word", false));
    PF_ASSIGN(token.lstrip, node.boolean("lstrip", false));
    PF_ASSIGN(token.rstrip, node.boolean("rstrip", false));
    PF_ASSIGN(token.normalized, node.boolean("normalized", !token.special));
    if (token.content.size() > kLongestAddedToken) {
      return node.wrong(fmt::format("has a content longer than {} bytes", kLongestAddedToken));
    }
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return tokens;
}

// The table of ids. The reference numbers added tokens itself and only warns where the file says
// otherwise; a file that contradicts itself is refused here instead.
Status index_tokens(TokenizerParts& parts, const JsonNode& added) {
  std::int32_t largest = -1;
  for (const auto& [token, id] : parts.model.vocab()) largest = std::max(largest, id);
  for (const AddedToken& token : parts.added) largest = std::max(largest, token.id);
  parts.tokens.resize(static_cast<std::size_t>(largest) + 1);
  for (const auto& [token, id] : parts.model.vocab()) {
    parts.tokens[static_cast<std::size_t>(id)] = {token, true, false};
  }
  for (const AddedToken& token : parts.added) {
    TokenText& slot = parts.tokens[static_cast<std::size_t>(token.id)];
    const auto in_model = parts.model.find(token.content);
    if ((in_model.has_value() && *in_model != token.id) ||
        (slot.used && slot.text != token.content)) {
      return added.wrong(
          fmt::format("gives '{}' the id {}, but there {} is '{}'", token.content, token.id,
                      in_model.has_value() ? "its id" : "that id",
                      in_model.has_value() ? std::to_string(*in_model) : std::string(slot.text)));
    }
    slot = {token.content, true, slot.special || token.special};
    if (!parts.added_ids.emplace(token.content, token.id).second &&
        parts.added_ids.at(token.content) != token.id) {
      return added.wrong(fmt::format("has '{}' under two ids", token.content));
    }
  }
  return ok_status();
}

Status build_finders(TokenizerParts& parts) {
  RegexScratch scratch;
  for (const AddedToken& token : parts.added) {
    if (!token.normalized) {
      parts.raw_finder.add(token, token.content);
      continue;
    }
    std::string match = token.content;
    PF_TRY(normalize(parts.normalizer, scratch, match));
    parts.normalized_finder.add(token, match);
  }
  return ok_status();
}

Status read_special_ids(const JsonNode& node, const std::string& name, const TokenizerParts& parts,
                        std::vector<std::int32_t>& out) {
  const JsonNode special = node.at("special_tokens").at(name);
  PF_ASSIGN(const std::vector<JsonNode> ids, special.items("ids"));
  for (const JsonNode& id : ids) {
    const bool known = id.json().is_number_unsigned() &&
                       id.json().get<std::uint64_t>() < parts.tokens.size() &&
                       parts.tokens[id.json().get<std::size_t>()].used;
    if (!known) return id.wrong("is not the id of a token");
    out.push_back(id.json().get<std::int32_t>());
  }
  return ok_status();
}

Status read_template(const JsonNode& node, TokenizerParts& parts) {
  constexpr std::size_t kMostSpecial = 1024;  // ids around one sequence
  std::vector<std::int32_t> prefix, suffix;
  bool seen = false;
  PF_ASSIGN(const std::vector<JsonNode> items, node.items("single"));
  for (const JsonNode& item : items) {
    if (!item.at("Sequence").is_null()) {
      PF_ASSIGN(const std::string id, item.at("Sequence").string("id"));
      if (id != "A" || seen) return item.wrong("must be the one Sequence, A");
      seen = true;
      continue;
    }
    PF_ASSIGN(const std::string name, item.at("SpecialToken").string("id"));
    PF_TRY(read_special_ids(node, name, parts, seen ? suffix : prefix));
    if (prefix.size() + suffix.size() > kMostSpecial) {
      return node.wrong(fmt::format("adds more than {} ids", kMostSpecial));
    }
  }
  if (!seen) return node.at("single").wrong("has no Sequence A");
  parts.prefix.insert(parts.prefix.begin(), prefix.begin(), prefix.end());
  parts.suffix.insert(parts.suffix.end(), suffix.begin(), suffix.end());
  return ok_status();
}

Status read_post_processor(const JsonNode& node, TokenizerParts& parts) {
  if (node.is_null()) return ok_status();
  PF_ASSIGN(const std::string type, node.type());
  if (type == "TemplateProcessing") return read_template(node, parts);
  if (type == "ByteLevel") return ok_status();  // moves offsets, which we do not report
  if (type != "Sequence") {
    return node.unsupported_type("post_processors", "TemplateProcessing, ByteLevel, Sequence");
  }
  PF_ASSIGN(const std::vector<JsonNode> processors, node.items("processors"));
  for (const JsonNode& processor : processors) PF_TRY(read_post_processor(processor, parts));
  return ok_status();
}

// "bos_token": "<s>" or {"content": "<s>", ...}; nothing where it is null or absent.
Result<std::optional<std::int32_t>> read_named_token(const JsonNode& config, const std::string& key,
                                                     const TokenizerParts& parts) {
  const JsonNode node = config.at(key);
  if (node.is_null()) return std::optional<std::int32_t>();
  const bool plain = node.json().is_string();
  PF_ASSIGN(const std::string text, plain ? config.string(key) : node.string("content"));
  if (const auto found = parts.added_ids.find(text); found != parts.added_ids.end()) {
    return std::optional<std::int32_t>(found->second);
  }
  const auto id = parts.model.find(text);
  if (!id.has_value())
    return node.wrong(fmt::format("'{}' is not a token of tokenizer.json", text));
  return id;
}

Status override_special(const JsonNode& config, const std::string& name,
                        const TokenizerParts& parts, std::vector<std::int32_t>& ids) {
  const std::string key = "add_" + name + "_token";
  if (config.at(key).is_null()) return ok_status();
  PF_ASSIGN(const bool wanted, config.boolean(key, false));
  PF_ASSIGN(const std::optional<std::int32_t> id, read_named_token(config, name + "_token", parts));
  if (!id.has_value()) {
    if (!wanted) return ok_status();
    return config.at(key).wrong(fmt::format("is true, but there is no {}_token", name));
  }
  const auto found = std::find(ids.begin(), ids.end(), *id);
  if (wanted && found == ids.end()) ids.insert(name == "bos" ? ids.begin() : ids.end(), *id);
  if (!wanted) ids.erase(std::remove(ids.begin(), ids.end(), *id), ids.end());
  return ok_status();
}

}  // namespace

Result<BpeModel> read_model(const JsonNode& node) {
  PF_ASSIGN(const std::string type, node.string_or("type", "BPE"));
  if (type != "BPE") return node.unsupported_type("models", "BPE");
  const JsonNode dropout = node.at("dropout");
  if (!dropout.is_null() && dropout.json() != 0.0) {
    return dropout.error(ErrorCode::Unsupported, "must be null: dropout is for training");
  }
  PF_TRY(refuse_if_set(node, "continuing_subword_prefix"));
  PF_TRY(refuse_if_set(node, "end_of_word_suffix"));
  BpeConfig config;
  PF_ASSIGN(config.vocab, read_vocab(node.at("vocab")));
  PF_ASSIGN(config.merges, read_merges(node.at("merges")));
  PF_ASSIGN(config.fuse_unk, node.boolean("fuse_unk", false));
  PF_ASSIGN(config.byte_fallback, node.boolean("byte_fallback", false));
  PF_ASSIGN(config.ignore_merges, node.boolean("ignore_merges", false));
  if (!node.at("unk_token").is_null()) {
    PF_ASSIGN(config.unk_token, node.string("unk_token"));
  }
  Result<BpeModel> model = BpeModel::build(std::move(config));
  if (!model.ok()) return node.attach(model.error());
  return model;
}

Result<std::shared_ptr<TokenizerParts>> parse_tokenizer(std::string_view json,
                                                        const std::string& file) {
  PF_ASSIGN(const nlohmann::json document, parse_json(json, file));
  const JsonNode root(&document, "", &file);
  if (!document.is_object()) return root.wrong("must be an object");
  PF_ASSIGN(BpeModel model, read_model(root.at("model")));
  auto parts = std::make_shared<TokenizerParts>(std::move(model));
  PF_ASSIGN(parts->added, read_added_tokens(root.at("added_tokens")));
  PF_TRY(index_tokens(*parts, root.at("added_tokens")));
  PF_TRY(read_normalizer(root.at("normalizer"), parts->normalizer));
  PF_TRY(read_pre_tokenizer(root.at("pre_tokenizer"), parts->pre_tokenizer));
  PF_TRY(read_post_processor(root.at("post_processor"), *parts));
  PF_ASSIGN(parts->decoder, read_decoder(root.at("decoder")));
  if (const Status built = build_finders(*parts); !built.ok()) {
    return root.at("added_tokens").attach(built.error());
  }
  return parts;
}

Status apply_tokenizer_config(std::string_view json, const std::string& file,
                              TokenizerParts& parts) {
  PF_ASSIGN(const nlohmann::json document, parse_json(json, file));
  const JsonNode root(&document, "", &file);
  if (!document.is_object()) return root.wrong("must be an object");
  PF_TRY(override_special(root, "bos", parts, parts.prefix));
  return override_special(root, "eos", parts, parts.suffix);
}

}  // namespace pentafold
