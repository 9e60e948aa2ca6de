// What a tokenizer.json becomes: the stages, in the order they act. Internal to serve/tokenizer*.
//
// Source: the file's own keys. Cost: about three times the file's size in memory.
// Held by serve/tokenizer_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "serve/tokenizer_added.h"
#include "serve/tokenizer_bpe.h"
#include "serve/tokenizer_decode.h"
#include "serve/tokenizer_steps.h"

namespace pentafold {

struct TokenText {
  std::string_view text;  // into model or added tokens
  bool used = false;
  bool special = false;
};

struct TokenizerParts {
  TokenizerParts(BpeModel bpe) : model(std::move(bpe)) {}  // NOLINT: built around its model
  TokenizerParts(const TokenizerParts&) = delete;          // views into its own strings
  TokenizerParts& operator=(const TokenizerParts&) = delete;

  BpeModel model;
  std::vector<AddedToken> added;
  AddedTokenFinder raw_finder;         // in the text as given
  AddedTokenFinder normalized_finder;  // in the text after normalisation
  std::vector<NormalizeStep> normalizer;
  std::vector<SplitStep> pre_tokenizer;
  std::vector<std::int32_t> prefix, suffix;  // what add_special_tokens puts around the ids
  DecoderPlan decoder;

  std::vector<TokenText> tokens;  // by id
  std::unordered_map<std::string_view, std::int32_t> added_ids;
};

}  // namespace pentafold
