// normalizer, pre_tokenizer and decoder of a tokenizer.json, unrolled into flat lists of steps.
#include <algorithm>

#include "serve/tokenizer_json.h"

namespace pentafold {
namespace {

constexpr std::size_t kMostSteps = 64;          // after unrolling all Sequences
constexpr std::size_t kLongestInsertion = 256;  // bytes that a step may put in
constexpr std::int64_t kMostStripped = 1024;    // characters a decoder may cut at one end
constexpr std::size_t kMostTokenGrowth = 4096;  // product over a decoder's Replace steps
constexpr std::string_view kDigits = "\\p{N}";
constexpr std::string_view kSpaces = "\\s";
constexpr std::string_view kPunctuation = "[!-/:-@\\[-`{-~\\p{P}]";
// This one step the reference matches with another engine, whose \w counts no fractions but
// joiners.
constexpr std::string_view kWordsAndSigns =
    "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]+|"
    "[^\\s\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]+";
constexpr std::string_view kGpt2Words =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

Status within(const JsonNode& node, std::size_t steps) {
  if (steps <= kMostSteps) return ok_status();
  return node.wrong(fmt::format("unrolls into more than {} steps", kMostSteps));
}

Result<std::string> read_insertion(const JsonNode& node, const std::string& key) {
  PF_ASSIGN(std::string text, node.string(key));
  if (text.size() <= kLongestInsertion) return text;
  return node.at(key).wrong(fmt::format("is longer than {} bytes", kLongestInsertion));
}

Result<Regex> read_pattern(const JsonNode& node) {
  const JsonNode pattern = node.at("pattern");
  const bool is_regex = !pattern.at("Regex").is_null();
  if (!is_regex && pattern.at("String").is_null()) {
    return pattern.wrong("must be {\"Regex\": ...} or {\"String\": ...}");
  }
  PF_ASSIGN(const std::string text, pattern.string(is_regex ? "Regex" : "String"));
  Result<Regex> regex = is_regex ? Regex::from_ruby(text) : Regex::from_literal(text);
  if (!regex.ok()) return pattern.attach(regex.error());
  return regex;
}

Result<SplitBehavior> read_behavior(const JsonNode& node, const std::string& fallback) {
  PF_ASSIGN(const std::string name, node.string_or("behavior", fallback));
  if (name == "Removed") return SplitBehavior::Removed;
  if (name == "Isolated") return SplitBehavior::Isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::MergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::MergedWithNext;
  if (name == "Contiguous") return SplitBehavior::Contiguous;
  return node.at("behavior")
      .wrong("must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

SplitText split_by(std::string_view pattern, SplitBehavior behavior, bool invert = false) {
  return {Regex::from_trusted(pattern), behavior, invert};
}

Result<std::string> read_one_character(const JsonNode& node, const std::string& key) {
  PF_ASSIGN(std::string text, node.string(key));
  if (!text.empty() && next_utf8(text).length == text.size()) return text;
  return node.at(key).wrong("must be one character");
}

// prepend_scheme and its older form add_prefix_space.
Result<std::string> read_prepend_scheme(const JsonNode& node) {
  PF_ASSIGN(const bool prefix, node.boolean("add_prefix_space", true));
  PF_ASSIGN(const std::string scheme,
            node.string_or("prepend_scheme", prefix ? "always" : "never"));
  if (scheme != "first" && scheme != "always" && scheme != "never") {
    return node.at("prepend_scheme").wrong("must be first, always or never");
  }
  if (!prefix && scheme != "never") {
    return node.wrong("contradicts itself: add_prefix_space is false, prepend_scheme is not never");
  }
  return scheme;
}

Status read_metaspace(const JsonNode& node, std::vector<SplitStep>& steps) {
  PF_ASSIGN(const std::string replacement, read_one_character(node, "replacement"));
  PF_ASSIGN(const std::string scheme, read_prepend_scheme(node));
  PF_ASSIGN(const bool cut, node.boolean("split", true));
  steps.emplace_back(ReplaceSpaces{replacement});
  if (scheme != "never") steps.emplace_back(PrefixPieces{replacement, scheme == "first"});
  if (cut) {
    PF_ASSIGN(Regex mark, Regex::from_literal(replacement));
    steps.emplace_back(SplitText{std::move(mark), SplitBehavior::MergedWithNext, false});
  }
  return ok_status();
}

Status read_byte_level(const JsonNode& node, std::vector<SplitStep>& steps) {
  PF_ASSIGN(const bool prefix, node.boolean("add_prefix_space", true));
  PF_ASSIGN(const bool use_regex, node.boolean("use_regex", true));
  if (prefix) steps.emplace_back(PrefixPieces{" ", false});
  if (use_regex) steps.emplace_back(split_by(kGpt2Words, SplitBehavior::Isolated));
  steps.emplace_back(ByteAlphabet{});
  return ok_status();
}

Status read_strip(const JsonNode& node, std::vector<DecodeStep>& steps) {
  PF_ASSIGN(const std::string content, read_one_character(node, "content"));
  PF_ASSIGN(const std::int64_t start, node.integer("start", kMostStripped));
  PF_ASSIGN(const std::int64_t stop, node.integer("stop", kMostStripped));
  std::size_t position = 0;
  steps.emplace_back(StripToken{read_utf8(content, position), static_cast<std::size_t>(start),
                                static_cast<std::size_t>(stop)});
  return ok_status();
}

// Decoding answers with text, never an error, so a pattern that can give up has no place in it.
Status read_decoder_replace(const JsonNode& node, std::vector<DecodeStep>& steps) {
  if (!node.at("pattern").at("Regex").is_null()) {
    return node.error(ErrorCode::Unsupported, "replaces a Regex; decoders take only a String");
  }
  PF_ASSIGN(const std::string text, node.at("pattern").string("String"));
  PF_ASSIGN(const std::string by, read_insertion(node, "content"));
  if (text.empty()) return node.at("pattern").wrong("must not be empty");
  steps.emplace_back(ReplaceInToken{text, by});
  return ok_status();
}

struct DecoderReader {
  DecoderPlan plan;
  bool joined = false;  // behind Fuse or ByteLevel there is one text
  bool has_bytes = false;
  std::size_t growth = 1;

  Status read(const JsonNode& node);
  Status read_step(const JsonNode& node, const std::string& type);
};

Status DecoderReader::read(const JsonNode& node) {
  PF_ASSIGN(const std::string type, node.type());
  PF_TRY(within(node, plan.steps.size() + plan.strip_joined.size()));
  if (type == "Sequence") {
    PF_ASSIGN(const std::vector<JsonNode> decoders, node.items("decoders"));
    for (const JsonNode& decoder : decoders) PF_TRY(read(decoder));
    return ok_status();
  }
  if (type == "Fuse") {
    joined = true;
    return ok_status();
  }
  if (!joined) return read_step(node, type);
  if (type != "Strip") {
    return node.error(ErrorCode::Unsupported,
                      "comes after Fuse or ByteLevel, where only Strip and Fuse are supported");
  }
  std::vector<DecodeStep> strip;
  PF_TRY(read_strip(node, strip));
  plan.strip_joined.push_back(std::get<StripToken>(strip.front()));
  return ok_status();
}

Status DecoderReader::read_step(const JsonNode& node, const std::string& type) {
  if (type == "ByteLevel") {
    joined = true;
    plan.join = TokenJoin::AlphabetBytes;
  } else if (type == "ByteFallback") {
    if (has_bytes) return node.wrong("is the second ByteFallback");
    has_bytes = true;
    plan.steps.emplace_back(BytesFromNames{});
  } else if (type == "Metaspace") {
    PF_ASSIGN(const std::string replacement, read_one_character(node, "replacement"));
    PF_ASSIGN(const std::string scheme, read_prepend_scheme(node));
    plan.steps.emplace_back(SpacesFromMetaspace{replacement, scheme != "never"});
  } else if (type == "Replace") {
    PF_TRY(read_decoder_replace(node, plan.steps));
    growth *= std::max<std::size_t>(1, std::get<ReplaceInToken>(plan.steps.back()).by.size());
    if (growth > kMostTokenGrowth) {
      return node.error(ErrorCode::Unsupported,
                        fmt::format("can make a token {} times longer; {} is the limit", growth,
                                    kMostTokenGrowth));
    }
  } else if (type == "Strip") {
    PF_TRY(read_strip(node, plan.steps));
  } else {
    return node.unsupported_type(
        "decoders", "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence");
  }
  return ok_status();
}

}  // namespace

Status read_normalizer(const JsonNode& node, std::vector<NormalizeStep>& steps) {
  if (node.is_null()) return ok_status();
  PF_ASSIGN(const std::string type, node.type());
  PF_TRY(within(node, steps.size()));
  if (type == "Sequence") {
    PF_ASSIGN(const std::vector<JsonNode> normalizers, node.items("normalizers"));
    for (const JsonNode& normalizer : normalizers) PF_TRY(read_normalizer(normalizer, steps));
  } else if (type == "NFC" || type == "NFKC" || type == "NFD" || type == "NFKD") {
    steps.emplace_back(NormalForm{type.back() == 'C', type[2] == 'K'});
  } else if (type == "Prepend") {
    PF_ASSIGN(const std::string text, read_insertion(node, "prepend"));
    steps.emplace_back(PrependText{text});
  } else if (type == "Replace") {
    PF_ASSIGN(Regex pattern, read_pattern(node));
    PF_ASSIGN(const std::string content, read_insertion(node, "content"));
    steps.emplace_back(ReplaceText{std::move(pattern), content});
  } else if (type == "Lowercase") {
    steps.emplace_back(LowerCase{});
  } else if (type == "Strip") {
    PF_ASSIGN(const bool left, node.boolean("strip_left", true));
    PF_ASSIGN(const bool right, node.boolean("strip_right", true));
    steps.emplace_back(StripSpace{left, right});
  } else {
    return node.unsupported_type(
        "normalizers", "NFC, NFKC, NFD, NFKD, Prepend, Replace, Lowercase, Strip, Sequence");
  }
  return ok_status();
}

Status read_pre_tokenizer(const JsonNode& node, std::vector<SplitStep>& steps) {
  if (node.is_null()) return ok_status();
  PF_ASSIGN(const std::string type, node.type());
  PF_TRY(within(node, steps.size()));
  if (type == "Sequence") {
    PF_ASSIGN(const std::vector<JsonNode> parts, node.items("pretokenizers"));
    for (const JsonNode& part : parts) PF_TRY(read_pre_tokenizer(part, steps));
    return ok_status();
  }
  if (type == "ByteLevel") return read_byte_level(node, steps);
  if (type == "Metaspace") return read_metaspace(node, steps);
  if (type == "Split") {
    PF_ASSIGN(Regex pattern, read_pattern(node));
    PF_ASSIGN(const SplitBehavior behavior, read_behavior(node, ""));
    PF_ASSIGN(const bool invert, node.boolean("invert", false));
    steps.emplace_back(SplitText{std::move(pattern), behavior, invert});
  } else if (type == "Digits") {
    PF_ASSIGN(const bool individual, node.boolean("individual_digits", false));
    steps.emplace_back(
        split_by(kDigits, individual ? SplitBehavior::Isolated : SplitBehavior::Contiguous));
  } else if (type == "Punctuation") {
    PF_ASSIGN(const SplitBehavior behavior, read_behavior(node, "Isolated"));
    steps.emplace_back(split_by(kPunctuation, behavior));
  } else if (type == "Whitespace") {
    steps.emplace_back(split_by(kWordsAndSigns, SplitBehavior::Removed, true));
  } else if (type == "WhitespaceSplit") {
    steps.emplace_back(split_by(kSpaces, SplitBehavior::Removed));
  } else {
    return node.unsupported_type("pre_tokenizers",
                                 "ByteLevel, Split, Digits, Metaspace, Whitespace, "
                                 "WhitespaceSplit, Punctuation, Sequence");
  }
  return ok_status();
}

Result<DecoderPlan> read_decoder(const JsonNode& node) {
  DecoderReader reader;
  if (node.is_null()) return reader.plan;
  reader.plan.join = TokenJoin::Text;
  PF_TRY(reader.read(node));
  return std::move(reader.plan);
}

}  // namespace pentafold
