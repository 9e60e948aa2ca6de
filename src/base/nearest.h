// nearest: what did the author mean? The known word closest to an unknown one, for error messages.
//
// Edit distance with transpositions ("optimal string alignment": Damerau 1964, Levenshtein 1966).
// A word counts as near when at most a third of it must change.
// Cost: O(known x word length^2); words above 64 characters are never near.
// Held by base/nearest_test.cc.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace pentafold {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// Empty when nothing is near. Of several equally near words, the first.
std::string nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace pentafold
