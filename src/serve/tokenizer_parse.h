// tokenizer.json and tokenizer_config.json into the stages of a tokenizer. Internal to serve.
//
// Idea: everything that can be wrong with a file is found here, once, so that encode and decode run
// on tables they may trust. Unknown types are refused by name; unknown keys and the keys that the
// reference's callers set per call (truncation, padding) are ignored.
// Source: huggingface/tokenizers' serialisation; transformers' add_bos_token / add_eos_token.
// Cost: one pass over the JSON document. Held by serve/tokenizer_parse_test.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/tokenizer_parts.h"

namespace pentafold {

Result<std::shared_ptr<TokenizerParts>> parse_tokenizer(std::string_view json,
                                                        const std::string& file);

Status apply_tokenizer_config(std::string_view json, const std::string& file,
                              TokenizerParts& parts);

}  // namespace pentafold
