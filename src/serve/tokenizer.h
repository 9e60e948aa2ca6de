// Tokenizer: Hugging Face tokenizer.json files, read, applied and undone exactly.
//
// The file is a pipeline and so is this reader: added tokens are cut out of the raw text, the rest
// is normalised, added tokens that ask for it are cut out again, the rest is split into words, BPE
// turns a word into ids, a template adds the special tokens. Each stage lives in its own file
// (tokenizer_<stage>.h). Behaviour follows the Rust library huggingface/tokenizers; what that
// library would do and we do not is refused by name when the file is read, never approximated.
// Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016;
// the GPT-2 byte alphabet (Radford et al., 2019); huggingface/tokenizers for the file's meaning.
// Cost: O(n log n) in the length of a word, one hash look-up a merge; about 10 MB/s of English.
// Held by serve/tokenizer_test.cc (a quadratic oracle, reference ids) and, against the Rust library
// on four real vocabularies, by tools/tokenizer_check.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

struct TokenizerParts;

class Tokenizer {  // immutable and cheap to copy; every method may be called from any thread
 public:
  // Reads directory/tokenizer.json. Where directory/tokenizer_config.json says add_bos_token or
  // add_eos_token, that overrides what the post-processor adds.
  static Result<Tokenizer> load(const std::string& directory);
  // `file` only names the input in errors.
  static Result<Tokenizer> parse(std::string_view json, const std::string& file);

  // The ids of `utf8`. Invalid UTF-8 is refused, with the offset of the first bad byte: the
  // reference takes text only, so there is nothing to be faithful to. Fails also when a regex of
  // the file exceeds its step limit or a normaliser inflates the text beyond reason.
  Result<std::vector<std::int32_t>> encode(std::string_view utf8, bool add_special_tokens) const;

  // The text of `ids`: always valid UTF-8 (bytes that are not become U+FFFD). Ids that the
  // vocabulary does not have contribute nothing, as in the reference.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const;

  std::int64_t vocab_size() const;  // the largest id + 1; ids between may be unused
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string_view> id_to_token(std::int32_t id) const;  // valid while a copy lives
  bool is_special(std::int32_t id) const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const TokenizerParts> parts_;
};

// Text of a growing list of ids. Bytes come out only as whole UTF-8 characters; what push and flush
// returned, joined, is decode() of the same ids. One exception: in byte-fallback vocabularies
// decode() blanks a whole run of byte tokens when any of it is malformed, while a stream has
// already shown the characters that were whole and blanks only the bytes that are not.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  std::string push(std::int32_t id);
  std::string flush();  // the rest; an incomplete character becomes U+FFFD. Starts afresh.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pentafold
