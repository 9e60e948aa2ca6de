// tidy_rules: the rules of this code base's form, over files in memory.
//
// Each complaint is "file:line: sentence". Which rules there are: check_tree. A tree is plain data,
// so that every rule can be shown a planted violation; load_tree reads the repository into one.
// Cost: linear in the text of the repository, about a second. Held by tests/tidy_test.cc.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pentafold::tidy {

struct SourceFile {
  std::string path;  // relative to the repository root, with forward slashes
  std::string text;
};

struct Tree {
  std::vector<SourceFile> files;  // C++ sources, src/LAYERS and Markdown
  std::set<std::string> paths;    // every file and folder there is
};

// room -> rooms it may include, from the text of src/LAYERS.
using Layers = std::map<std::string, std::set<std::string>>;
Layers parse_layers(const std::string& text);

using Complaints = std::vector<std::string>;
Complaints check_layers(const Layers& layers, const Tree& tree);  // what LAYERS itself may not say
Complaints check_includes(const SourceFile& file, const Layers& layers);
Complaints check_lengths(const SourceFile& file);  // file, lines, functions
Complaints check_names(const SourceFile& file);    // words that say nothing
Complaints check_comments(
    const SourceFile& file);  // open work without issue, silenced lint without reason
Complaints check_header(const SourceFile& file);  // opening comment, #pragma once
Complaints check_document(const SourceFile& file, const Tree& tree);    // paths that it names exist
Complaints check_invariants(const SourceFile& file, const Tree& tree);  // INV-n names its test

// All of the above, each where it applies.
Complaints check_tree(const Tree& tree);

Tree load_tree(const std::filesystem::path& root);

}  // namespace pentafold::tidy
