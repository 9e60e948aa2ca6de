#include "serve/tokenizer_decode.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "serve/tokenizer_steps.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t found = text.find(what, at);
    if (found == std::string_view::npos) return out.append(text.substr(at));
    out.append(text.substr(at, found - at)).append(by);
    at = found + what.size();
  }
}

std::optional<char> named_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  unsigned value = 0;
  const char* end = token.data() + 5;
  const auto [stop, error] = std::from_chars(token.data() + 3, end, value, 16);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return static_cast<char>(value);
}

std::string strip_token(const StripToken& strip, std::string_view token) {
  std::string content;
  append_utf8(content, strip.content);
  for (std::size_t i = 0; i < strip.start && token.starts_with(content); ++i) {
    token.remove_prefix(content.size());
  }
  for (std::size_t i = 0; i < strip.stop && token.ends_with(content); ++i) {
    token.remove_suffix(content.size());
  }
  return std::string(token);
}

// A token with any character outside the alphabet (an added token) stands for its own UTF-8.
void append_alphabet_bytes(std::string_view token, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t position = 0; position < token.size();) {
    const int byte = byte_of_character(read_utf8(token, position));
    if (byte < 0) {
      out.resize(before);
      out.append(token);
      return;
    }
    out.push_back(static_cast<char>(byte));
  }
}

}  // namespace

DecodeChain::DecodeChain(const DecoderPlan& plan, bool whole_runs)
    : plan_(&plan), whole_runs_(whole_runs) {
  restart();
}

void DecodeChain::restart() {
  run_.clear();
  bytes_.clear();
  first_ = first_metaspace_ = true;
  strips_.clear();
  for (const StripToken& strip : plan_->strip_joined) strips_.push_back({strip.start, false, 0});
}

void DecodeChain::push(std::string_view token, std::string& out) {
  run(0, std::string(token), out);
}

void DecodeChain::flush(std::string& out) {
  for (std::size_t i = 0; i < plan_->steps.size(); ++i) {
    if (std::holds_alternative<BytesFromNames>(plan_->steps[i])) release_run(i, out);
  }
  if (!bytes_.empty()) emit(0, std::string(kReplacementCharacter), out);
  restart();
}

void DecodeChain::run(std::size_t step, std::string token, std::string& out) {
  for (; step < plan_->steps.size(); ++step) {
    const DecodeStep& action = plan_->steps[step];
    if (const auto* replace = std::get_if<ReplaceInToken>(&action)) {
      token = replace_all(token, replace->text, replace->by);
    } else if (const auto* strip = std::get_if<StripToken>(&action)) {
      token = strip_token(*strip, token);
    } else if (const auto* metaspace = std::get_if<SpacesFromMetaspace>(&action)) {
      const bool drop = first_metaspace_ && metaspace->drop_in_first;
      token = replace_all(token, metaspace->replacement, drop ? "" : " ");
      first_metaspace_ = false;
    } else {
      if (const auto byte = named_byte(token)) return push_byte(step, *byte, out);
      release_run(step, out);
    }
  }
  join(token, out);
}

void DecodeChain::push_byte(std::size_t step, char byte, std::string& out) {
  run_.push_back(byte);
  if (!whole_runs_) release_characters(step, out);
}

// Passes on what is whole at the front of the run; keeps an incomplete tail.
void DecodeChain::release_characters(std::size_t step, std::string& out) {
  while (!run_.empty()) {
    const Utf8Step next = next_utf8(run_);
    if (next.kind == Utf8Kind::Incomplete) return;
    if (next.kind == Utf8Kind::Whole) {
      run(step + 1, run_.substr(0, next.length), out);
    } else {
      for (std::size_t i = 0; i < next.length; ++i) {
        run(step + 1, std::string(kReplacementCharacter), out);
      }
    }
    run_.erase(0, next.length);
  }
}

// The run has ended: as a whole it is text, or each of its bytes is a replacement character.
void DecodeChain::release_run(std::size_t step, std::string& out) {
  if (run_.empty()) return;
  const std::string ended = std::move(run_);
  run_.clear();
  if (!first_invalid_utf8(ended).has_value()) return run(step + 1, ended, out);
  for (std::size_t i = 0; i < ended.size(); ++i) {
    run(step + 1, std::string(kReplacementCharacter), out);
  }
}

void DecodeChain::join(std::string_view token, std::string& out) {
  const bool spaced = plan_->join == TokenJoin::TextAndSpaces && !first_;
  first_ = false;
  if (plan_->join == TokenJoin::AlphabetBytes) {
    append_alphabet_bytes(token, bytes_);
    return release_utf8(out);
  }
  emit(0, (spaced ? " " : "") + std::string(token), out);
}

void DecodeChain::release_utf8(std::string& out) {
  std::string text;
  std::size_t at = 0;
  while (at < bytes_.size()) {
    const Utf8Step next = next_utf8(std::string_view(bytes_).substr(at));
    if (next.kind == Utf8Kind::Incomplete) break;
    if (next.kind == Utf8Kind::Whole) {
      text.append(bytes_, at, next.length);
    } else {
      text += kReplacementCharacter;
    }
    at += next.length;
  }
  bytes_.erase(0, at);
  emit(0, std::move(text), out);
}

void DecodeChain::emit(std::size_t strip, std::string text, std::string& out) {
  for (; strip < strips_.size(); ++strip) {
    const StripToken& rule = plan_->strip_joined[strip];
    StripState& state = strips_[strip];
    std::string content;
    append_utf8(content, rule.content);
    while (!state.started && !text.empty()) {
      if (state.start_left == 0 || !text.starts_with(content)) {
        state.started = true;
        break;
      }
      text.erase(0, content.size());
      --state.start_left;
    }
    if (text.empty()) return;
    for (; state.held > 0; --state.held) text.insert(0, content);
    while (state.held < rule.stop && text.ends_with(content)) {
      text.resize(text.size() - content.size());
      ++state.held;
    }
  }
  out += text;
}

}  // namespace pentafold
