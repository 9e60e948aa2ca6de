// Tokens back to text, one at a time.
//
// Idea: a decoder of the file is a chain in which each step receives tokens and passes tokens on;
// then tokens are joined (as text, or as the bytes of the GPT-2 alphabet) and the joined text may
// be stripped at its ends. Run token by token with a little state, the same chain serves decode()
// and streaming, so the two cannot drift apart. Source: huggingface/tokenizers, decoders; Rust's
// String::from_utf8_lossy. Cost: linear. Held by serve/tokenizer_decode_test.cc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pentafold {

struct ReplaceInToken {
  std::string text, by;
};
struct BytesFromNames {};  // runs of "<0x0A>" become the bytes they name
struct SpacesFromMetaspace {
  std::string replacement;
  bool drop_in_first = true;  // the first token's marks are the prefix that encoding put there
};
struct StripToken {
  char32_t content = ' ';
  std::size_t start = 0, stop = 0;  // at most so many at either end
};
using DecodeStep = std::variant<ReplaceInToken, BytesFromNames, SpacesFromMetaspace, StripToken>;

enum class TokenJoin {
  Text,           // one after the other
  TextAndSpaces,  // with a space between: the file has no decoder
  AlphabetBytes,  // characters of the GPT-2 alphabet are bytes; the bytes together are UTF-8
};

struct DecoderPlan {
  std::vector<DecodeStep> steps;
  TokenJoin join = TokenJoin::TextAndSpaces;
  std::vector<StripToken> strip_joined;
};

class DecodeChain {
 public:
  // whole_runs: a run of byte names is judged as a whole (the reference's decode) rather than
  // character by character (streaming). `plan` must outlive the chain.
  DecodeChain(const DecoderPlan& plan, bool whole_runs);

  void push(std::string_view token, std::string& out);  // appends what is certain by now
  void flush(std::string& out);                         // appends the rest and starts afresh

 private:
  struct StripState {
    std::size_t start_left = 0;
    bool started = false;
    std::size_t held = 0;  // trailing characters that are cut if nothing follows
  };

  void run(std::size_t step, std::string token, std::string& out);
  void push_byte(std::size_t step, char byte, std::string& out);
  void release_characters(std::size_t step, std::string& out);
  void release_run(std::size_t step, std::string& out);
  void join(std::string_view token, std::string& out);
  void release_utf8(std::string& out);
  void emit(std::size_t strip, std::string text, std::string& out);
  void restart();

  const DecoderPlan* plan_;
  bool whole_runs_;
  std::string run_;    // bytes of byte names that are no whole character yet
  std::string bytes_;  // bytes of the alphabet that are no whole character yet
  bool first_ = true;  // no token has been joined yet
  bool first_metaspace_ = true;
  std::vector<StripState> strips_;
};

}  // namespace pentafold
