#include "serve/tokenizer_regex.h"

#include <fmt/format.h>

#include "base/check.h"
#include "serve/tokenizer_unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace pentafold {
namespace {

constexpr std::size_t kLongestPattern = 64 * 1024;   // bytes; real ones have a few hundred
constexpr std::uint32_t kMatchLimit = 1'000'000;     // backtracking steps of one match
constexpr std::uint32_t kDepthLimit = 100'000;       // nested backtracking frames
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;   // interpreter memory of one match
constexpr std::size_t kJitStackStart = 32 * 1024;    // bytes
constexpr std::size_t kJitStackLimit = 1024 * 1024;  // bytes

constexpr std::uint32_t kCompileOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

std::string shortened(std::string_view pattern) {
  constexpr std::size_t kShown = 80;
  if (pattern.size() <= kShown) return std::string(pattern);
  std::size_t end = kShown;
  while ((pattern[end] & 0xC0) == 0x80) --end;
  return std::string(pattern.substr(0, end)) + "...";
}

}  // namespace

struct Regex::Code {
  pcre2_code* compiled = nullptr;
  bool jit = false;
  std::string shown;

  Code(pcre2_code* code, std::string_view pattern) : compiled(code), shown(shortened(pattern)) {
    jit = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;  // else the interpreter runs it
  }
  ~Code() { pcre2_code_free(compiled); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

struct RegexScratch::State {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr);

  State() {
    CHECK(data != nullptr && context != nullptr, "out of memory for a regex match");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

bool compiles_in_pcre2(const std::string& pattern) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       kCompileOptions, &code, &offset, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {}
RegexScratch::~RegexScratch() = default;

Result<Regex> Regex::compile(const std::string& pattern, std::string_view shown) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       kCompileOptions, &code, &offset, nullptr);
  if (compiled == nullptr) {
    return make_error(
        ErrorCode::InvalidSpec,
        fmt::format("regex '{}' does not compile: {} (at byte {} of '{}')", shortened(shown),
                    pcre2_message(code), offset, shortened(pattern)));
  }
  return Regex(std::make_shared<const Code>(compiled, shown));
}

Result<Regex> Regex::from_ruby(std::string_view pattern) {
  if (pattern.size() > kLongestPattern) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("a regex of {} bytes is longer than the {} accepted",
                                  pattern.size(), kLongestPattern));
  }
  PF_ASSIGN(const std::string translated, translate_ruby_regex(pattern));
  return compile(translated, pattern);
}

Result<Regex> Regex::from_literal(std::string_view text) {
  if (text.empty() || text.size() > kLongestPattern) {
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("a literal pattern has {} bytes; 1 to {} are accepted",
                                  text.size(), kLongestPattern));
  }
  std::string pattern;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}#-").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return compile(pattern, text);
}

Regex Regex::from_trusted(std::string_view pattern) {
  Result<Regex> regex = from_ruby(pattern);
  CHECK(regex.ok(), "a built-in pattern must compile");
  return std::move(regex).value();
}

Status Regex::cut(std::string_view text, RegexScratch& scratch, std::vector<RegexSpan>& out) const {
  const RegexScratch::State& state = *scratch.state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // The text was validated at the border; checking again at every match would be quadratic.
  constexpr std::uint32_t kOptions = PCRE2_NO_UTF_CHECK;
  std::size_t start = 0, covered = 0;
  bool any = false;
  while (start <= text.size()) {
    int code = pcre2_match(code_->compiled, subject, text.size(), start, kOptions, state.data,
                           state.context);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT) {
      code = pcre2_match(code_->compiled, subject, text.size(), start, kOptions | PCRE2_NO_JIT,
                         state.data, state.context);
    }
    if (code == PCRE2_ERROR_NOMATCH) break;
    if (code < 0) {
      return make_error(ErrorCode::Unsupported,
                        fmt::format("regex '{}' gave up at byte {} of the text: {}; simplify the "
                                    "pattern",
                                    code_->shown, start, pcre2_message(code)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state.data);
    // \K in a look-ahead can report an end before its start, or a start before the last match.
    if (ends[1] < ends[0] || ends[0] < covered) {
      return make_error(
          ErrorCode::Unsupported,
          fmt::format("regex '{}' reports overlapping matches; remove its \\K", code_->shown));
    }
    if (ends[0] == ends[1] && any && ends[1] == covered) {
      if (start >= text.size()) break;
      read_utf8(text, start);
      continue;
    }
    if (ends[0] > covered) out.push_back({covered, ends[0], false});
    out.push_back({ends[0], ends[1], true});
    covered = start = ends[1];
    any = true;
  }
  if (covered < text.size()) out.push_back({covered, text.size(), false});
  return ok_status();
}

}  // namespace pentafold
