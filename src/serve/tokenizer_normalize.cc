#include <fmt/format.h>

#include "serve/tokenizer_steps.h"

namespace pentafold {
namespace {

constexpr std::size_t kMostGrowth = 64;         // NFKD, the worst honest case, grows 11-fold
constexpr std::size_t kFreeGrowth = 64 * 1024;  // bytes

class Normalizer {
 public:
  Normalizer(RegexScratch& scratch, std::string& text)
      : scratch_(scratch), text_(text), limit_(text.size() * kMostGrowth + kFreeGrowth) {}

  Status operator()(const NormalForm& form) {
    text_ = to_normal_form(text_, form);
    return within_limit(text_.size());
  }
  Status operator()(const PrependText& step) {
    if (!text_.empty()) text_.insert(0, step.text);
    return within_limit(text_.size());
  }
  Status operator()(const LowerCase&) {
    text_ = to_lower_case(text_);
    return within_limit(text_.size());
  }
  Status operator()(const StripSpace& step) {
    std::string_view kept = text_;
    while (step.left && !kept.empty()) {
      std::size_t next = 0;
      if (!is_white_space(read_utf8(kept, next))) break;
      kept.remove_prefix(next);
    }
    while (step.right && !kept.empty()) {
      std::size_t last = kept.size() - 1;
      while (last > 0 && (kept[last] & 0xC0) == 0x80) --last;
      std::size_t end = last;
      if (!is_white_space(read_utf8(kept, end))) break;
      kept.remove_suffix(kept.size() - last);
    }
    text_ = std::string(kept);
    return ok_status();
  }
  Status operator()(const ReplaceText& step) {
    std::vector<RegexSpan> spans;
    PF_TRY(step.pattern.cut(text_, scratch_, spans));
    std::string out;
    for (const RegexSpan& span : spans) {
      if (span.matched) {
        out += step.by;
      } else {
        out.append(text_, span.begin, span.end - span.begin);
      }
      if (out.size() > limit_) return within_limit(out.size());
    }
    text_ = std::move(out);
    return ok_status();
  }

 private:
  Status within_limit(std::size_t size) const {
    if (size <= limit_) return ok_status();
    return make_error(ErrorCode::Unsupported,
                      fmt::format("the normalizer grows a text past {} bytes, {} times its length; "
                                  "remove the replacement that multiplies",
                                  limit_, kMostGrowth));
  }

  RegexScratch& scratch_;
  std::string& text_;
  const std::size_t limit_;
};

}  // namespace

Status normalize(const std::vector<NormalizeStep>& steps, RegexScratch& scratch,
                 std::string& text) {
  Normalizer normalizer(scratch, text);
  for (const NormalizeStep& step : steps) PF_TRY(std::visit(normalizer, step));
  return ok_status();
}

}  // namespace pentafold
