// The encoder as a filter, for tools/tokenizer_check/run.mjs: reads one JSON string a line, writes
// one JSON object a line: {"ids": [...], "text": decoded} or {"error": "..."}.
//   tokenize_lines tokenizer.json [--special]
//   tokenize_lines tokenizer.json --speed text-file      encode speed in MB/s, best of five
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "serve/tokenizer.h"

namespace {

using pentafold::Tokenizer;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int print_speed(const Tokenizer& tokenizer, const std::string& path) {
  const std::string text = slurp(path);
  double best = 0.0;
  std::size_t tokens = 0;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer.encode(text, false);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (!ids.ok()) return 1;
    tokens = ids->size();
    best = std::max(best, static_cast<double>(text.size()) / 1e6 / took.count());
  }
  fmt::print("{} bytes, {} tokens, {:.1f} MB/s\n", text.size(), tokens, best);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: tokenize_lines tokenizer.json [--special | --speed text-file]\n";
    return 2;
  }
  const auto tokenizer = Tokenizer::parse(slurp(argv[1]), argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.error().to_string() << '\n';
    return 1;
  }
  const std::string mode = argc > 2 ? argv[2] : "";
  if (mode == "--speed" && argc > 3) return print_speed(*tokenizer, argv[3]);
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = nlohmann::json::parse(line).get<std::string>();
    const auto ids = tokenizer->encode(text, mode == "--special");
    nlohmann::json answer;
    if (ids.ok()) {
      answer = {{"ids", *ids}, {"text", tokenizer->decode(*ids, false)}};
    } else {
      answer = {{"error", ids.error().to_string()}};
    }
    std::cout << answer.dump() << '\n';
  }
  return 0;
}
