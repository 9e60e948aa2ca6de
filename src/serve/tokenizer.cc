#include "serve/tokenizer.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "serve/tokenizer_parse.h"

namespace pentafold {
namespace {

constexpr std::uintmax_t kLargestFile = 256U << 20;  // bytes; the largest known one has 33 MB
constexpr std::size_t kLongestText = 256U << 20;     // bytes; positions in a word are 32 bits

Result<std::string> read_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) {
    return make_error(ErrorCode::Io, fmt::format("cannot be read: {}", error.message()), path);
  }
  if (size > kLargestFile) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("has {} bytes; at most {} are read", size, kLargestFile), path);
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(text.data(), static_cast<std::streamsize>(size))) {
    return make_error(ErrorCode::Io, "cannot be read to its end", path);
  }
  return text;
}

class Encoding {
 public:
  explicit Encoding(const TokenizerParts& parts) : parts_(parts) {}

  Status run(std::string_view text) {
    if (parts_.raw_finder.empty()) return text.empty() ? ok_status() : between(text, true);
    for (const TextSegment& segment : parts_.raw_finder.find(text)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
      } else {
        PF_TRY(
            between(text.substr(segment.begin, segment.end - segment.begin), segment.begin == 0));
      }
    }
    return ok_status();
  }

  std::vector<std::int32_t> ids;

 private:
  Status between(std::string_view raw, bool opens_input) {
    std::string text(raw);
    PF_TRY(normalize(parts_.normalizer, regex_, text));
    if (text.empty()) return ok_status();
    if (parts_.normalized_finder.empty()) return words(std::move(text), opens_input);
    for (const TextSegment& segment : parts_.normalized_finder.find(text)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
      } else {
        PF_TRY(words(text.substr(segment.begin, segment.end - segment.begin),
                     opens_input && segment.begin == 0));
      }
    }
    return ok_status();
  }

  Status words(std::string text, bool opens_input) {
    PieceList list;
    list.pieces.push_back({0, text.size(), opens_input});
    list.text = std::move(text);
    PF_TRY(split(parts_.pre_tokenizer, regex_, list));
    for (const TextPiece& piece : list.pieces) {
      parts_.model.encode_word(
          std::string_view(list.text).substr(piece.begin, piece.end - piece.begin), bpe_, ids);
    }
    return ok_status();
  }

  const TokenizerParts& parts_;
  RegexScratch regex_;
  BpeScratch bpe_;
};

const TokenText* find_token(const TokenizerParts& parts, std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) >= parts.tokens.size()) return nullptr;
  const TokenText& token = parts.tokens[static_cast<std::size_t>(id)];
  return token.used ? &token : nullptr;
}

}  // namespace

Result<Tokenizer> Tokenizer::load(const std::string& directory) {
  const std::string file = (std::filesystem::path(directory) / "tokenizer.json").string();
  PF_ASSIGN(const std::string text, read_file(file));
  PF_ASSIGN(std::shared_ptr<TokenizerParts> parts, parse_tokenizer(text, file));
  const std::string config = (std::filesystem::path(directory) / "tokenizer_config.json").string();
  if (std::filesystem::exists(config)) {
    PF_ASSIGN(const std::string config_text, read_file(config));
    PF_TRY(apply_tokenizer_config(config_text, config, *parts));
  }
  return Tokenizer(std::move(parts));
}

Result<Tokenizer> Tokenizer::parse(std::string_view json, const std::string& file) {
  PF_ASSIGN(std::shared_ptr<TokenizerParts> parts, parse_tokenizer(json, file));
  return Tokenizer(std::move(parts));
}

Result<std::vector<std::int32_t>> Tokenizer::encode(std::string_view utf8,
                                                    bool add_special_tokens) const {
  if (utf8.size() > kLongestText) {
    return make_error(ErrorCode::Unsupported,
                      fmt::format("a text of {} bytes is longer than the {} that are encoded at "
                                  "once; split it",
                                  utf8.size(), kLongestText));
  }
  if (const auto offset = first_invalid_utf8(utf8)) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("the text is not valid UTF-8: byte {} is 0x{:02X}; send UTF-8",
                                  *offset, static_cast<unsigned char>(utf8[*offset])));
  }
  Encoding encoding(*parts_);
  if (add_special_tokens) encoding.ids = parts_->prefix;
  PF_TRY(encoding.run(utf8));
  if (add_special_tokens) {
    encoding.ids.insert(encoding.ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  }
  return std::move(encoding.ids);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  DecodeChain chain(parts_->decoder, true);
  std::string out;
  for (const std::int32_t id : ids) {
    const TokenText* token = find_token(*parts_, id);
    if (token != nullptr && !(skip_special && token->special)) chain.push(token->text, out);
  }
  chain.flush(out);
  return out;
}

std::int64_t Tokenizer::vocab_size() const {
  return static_cast<std::int64_t>(parts_->tokens.size());
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto added = parts_->added_ids.find(token);
  return added != parts_->added_ids.end() ? added->second : parts_->model.find(token);
}

std::optional<std::string_view> Tokenizer::id_to_token(std::int32_t id) const {
  const TokenText* token = find_token(*parts_, id);
  if (token == nullptr) return std::nullopt;
  return token->text;
}

bool Tokenizer::is_special(std::int32_t id) const {
  const TokenText* token = find_token(*parts_, id);
  return token != nullptr && token->special;
}

struct StreamDecoder::State {
  State(std::shared_ptr<const TokenizerParts> shared, bool skip)
      : parts(std::move(shared)), chain(parts->decoder, false), skip_special(skip) {}
  std::shared_ptr<const TokenizerParts> parts;
  DecodeChain chain;
  bool skip_special;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(std::make_unique<State>(tokenizer.parts_, skip_special)) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(std::int32_t id) {
  std::string out;
  const TokenText* token = find_token(*state_->parts, id);
  if (token != nullptr && !(state_->skip_special && token->special)) {
    state_->chain.push(token->text, out);
  }
  return out;
}

std::string StreamDecoder::flush() {
  std::string out;
  state_->chain.flush(out);
  return out;
}

}  // namespace pentafold
