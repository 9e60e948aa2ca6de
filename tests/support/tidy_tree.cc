// The repository as a Tree, and which rule reads which file.
#include <fstream>
#include <iterator>

#include "support/tidy_rules.h"

namespace pentafold::tidy {
namespace {

namespace fs = std::filesystem;

// What a checkout holds; build trees and what others leave beside it are not ours to judge.
constexpr const char* kFolders[] = {"src",   "tests",  "docs",    "bench",
                                    "specs", "models", "scripts", ".ci"};

bool is_source(const std::string& path) {
  return path.ends_with(".h") || path.ends_with(".cc") || path.ends_with(".cu") ||
         path.ends_with(".cuh");
}
bool is_document(const std::string& path) {
  return path.ends_with(".md") &&
         (path.starts_with("docs/") || path.find('/') == std::string::npos);
}

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void append(Complaints& all, const Complaints& some) {
  all.insert(all.end(), some.begin(), some.end());
}

}  // namespace

Complaints check_tree(const Tree& tree) {
  Layers layers;
  for (const SourceFile& file : tree.files) {
    if (file.path == "src/LAYERS") layers = parse_layers(file.text);
  }
  Complaints all = check_layers(layers, tree);
  for (const SourceFile& file : tree.files) {
    if (is_source(file.path)) {
      append(all, check_includes(file, layers));
      append(all, check_lengths(file));
      append(all, check_names(file));
      append(all, check_comments(file));
      append(all, check_header(file));
    }
    if (is_document(file.path)) append(all, check_document(file, tree));
    if (file.path == "docs/invariants.md") append(all, check_invariants(file, tree));
  }
  return all;
}

Tree load_tree(const fs::path& root) {
  Tree tree;
  const auto add = [&](const fs::directory_entry& entry) {
    const std::string path = fs::relative(entry.path(), root).generic_string();
    tree.paths.insert(path);
    const bool text = is_source(path) || is_document(path) || path == "src/LAYERS";
    if (text && entry.is_regular_file()) tree.files.push_back({path, read_text(entry.path())});
  };
  for (const auto& entry : fs::directory_iterator(root)) add(entry);
  for (const char* folder : kFolders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) add(entry);
  }
  return tree;
}

}  // namespace pentafold::tidy
