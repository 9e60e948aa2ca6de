// model_names: which model of the catalog a published name means.
//
// The same shape is published under many names: by other owners, tuned, quantised, dated
// ("nvidia/DeepSeek-R1-0528-NVFP4-v2", "meta-llama/Llama-3.3-70B-Instruct"). The owner, the date
// and the words for tuning and number format are taken off the end one by one until the catalog
// knows what is left, by a model's name or one of its `aliases`.
// Cost: the catalog is read once, some ten milliseconds. Held by spec/model_names_test.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pentafold {

// nullopt: none. A name of the catalog means itself.
std::optional<std::string> catalog_name_of(std::string_view published);

}  // namespace pentafold
