#include <algorithm>
#include <array>

#include "serve/tokenizer_steps.h"

namespace pentafold {
namespace {

struct Cut {
  std::size_t begin, end;
  bool removed;
};

// Joins delimiters to a neighbour. The reference merges only the first of several delimiters in a
// row; the others stand alone. Spans come in reading order, or reversed for MergedWithNext.
std::vector<Cut> merge_delimiters(const std::vector<RegexSpan>& spans) {
  std::vector<Cut> cuts;
  bool previous_matched = false;
  for (const RegexSpan& span : spans) {
    if (span.matched && !previous_matched && !cuts.empty()) {
      cuts.back().begin = std::min(cuts.back().begin, span.begin);
      cuts.back().end = std::max(cuts.back().end, span.end);
    } else {
      cuts.push_back({span.begin, span.end, false});
    }
    previous_matched = span.matched;
  }
  return cuts;
}

std::vector<Cut> join_contiguous(const std::vector<RegexSpan>& spans) {
  std::vector<Cut> cuts;
  bool previous_matched = false;
  for (const RegexSpan& span : spans) {
    if (span.matched == previous_matched && !cuts.empty()) {
      cuts.back().end = span.end;
    } else {
      cuts.push_back({span.begin, span.end, false});
    }
    previous_matched = span.matched;
  }
  return cuts;
}

std::vector<Cut> apply_behavior(std::vector<RegexSpan> spans, SplitBehavior behavior) {
  std::vector<Cut> cuts;
  switch (behavior) {
    case SplitBehavior::Removed:
    case SplitBehavior::Isolated:
      for (const RegexSpan& span : spans) {
        cuts.push_back({span.begin, span.end, span.matched && behavior == SplitBehavior::Removed});
      }
      return cuts;
    case SplitBehavior::Contiguous:
      return join_contiguous(spans);
    case SplitBehavior::MergedWithPrevious:
      return merge_delimiters(spans);
    case SplitBehavior::MergedWithNext:
      std::reverse(spans.begin(), spans.end());
      cuts = merge_delimiters(spans);
      std::reverse(cuts.begin(), cuts.end());
      return cuts;
  }
  return cuts;
}

class Splitter {
 public:
  Splitter(RegexScratch& scratch, PieceList& list) : scratch_(scratch), list_(list) {}

  Status operator()(const SplitText& step) {
    std::vector<TextPiece> pieces;
    std::vector<RegexSpan> spans;
    for (const TextPiece& piece : list_.pieces) {
      spans.clear();
      PF_TRY(step.pattern.cut(text_of(piece), scratch_, spans));
      if (step.invert) {
        for (RegexSpan& span : spans) span.matched = !span.matched;
      }
      if (step.behavior == SplitBehavior::Isolated) {
        for (const RegexSpan& span : spans) add(piece, span.begin, span.end, pieces);
        continue;
      }
      for (const Cut& cut : apply_behavior(spans, step.behavior)) {
        if (!cut.removed) add(piece, cut.begin, cut.end, pieces);
      }
    }
    list_.pieces = std::move(pieces);
    return ok_status();
  }

  Status operator()(const ReplaceSpaces& step) {
    return rewrite([&](const TextPiece& piece, std::string& out) {
      for (const char c : text_of(piece)) {
        if (c == ' ') {
          out += step.by;
        } else {
          out += c;
        }
      }
    });
  }

  Status operator()(const PrefixPieces& step) {
    return rewrite([&](const TextPiece& piece, std::string& out) {
      const std::string_view text = text_of(piece);
      if ((piece.opens_input || !step.only_at_start) && !text.starts_with(step.prefix)) {
        out += step.prefix;
      }
      out += text;
    });
  }

  Status operator()(const ByteAlphabet&) {
    return rewrite([&](const TextPiece& piece, std::string& out) {
      for (const char c : text_of(piece)) {
        append_utf8(out, character_of_byte(static_cast<unsigned char>(c)));
      }
    });
  }

 private:
  std::string_view text_of(const TextPiece& piece) const {
    return std::string_view(list_.text).substr(piece.begin, piece.end - piece.begin);
  }

  static void add(const TextPiece& piece, std::size_t begin, std::size_t end,
                  std::vector<TextPiece>& pieces) {
    if (begin == end) return;
    pieces.push_back({piece.begin + begin, piece.begin + end, piece.opens_input && begin == 0});
  }

  template <class Write>
  Status rewrite(Write write) {
    std::string out;
    out.reserve(list_.text.size() * 3 / 2);
    std::vector<TextPiece> pieces;
    pieces.reserve(list_.pieces.size());
    for (const TextPiece& piece : list_.pieces) {
      const std::size_t begin = out.size();
      write(piece, out);
      pieces.push_back({begin, out.size(), piece.opens_input});
    }
    list_.text = std::move(out);
    list_.pieces = std::move(pieces);
    return ok_status();
  }

  RegexScratch& scratch_;
  PieceList& list_;
};

// Printable Latin-1 bytes stand for themselves; the other 68 are numbered from U+0100 on.
struct Alphabet {
  std::array<char32_t, 256> characters{};
  std::array<int, 0x180> bytes{};

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                             (byte >= 0xAE && byte <= 0xFF);
      const char32_t character = printable ? static_cast<char32_t>(byte) : next++;
      characters[static_cast<std::size_t>(byte)] = character;
      bytes[character] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

Status split(const std::vector<SplitStep>& steps, RegexScratch& scratch, PieceList& list) {
  Splitter splitter(scratch, list);
  for (const SplitStep& step : steps) PF_TRY(std::visit(splitter, step));
  return ok_status();
}

char32_t character_of_byte(unsigned char byte) {
  return alphabet().characters[byte];
}

int byte_of_character(char32_t character) {
  return character < alphabet().bytes.size() ? alphabet().bytes[character] : -1;
}

}  // namespace pentafold
