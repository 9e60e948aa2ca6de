// The form of the repository: include directions, lengths, names, and that documents name what
// exists. Each rule is also shown a planted violation, so that none can go blind.
#include <gtest/gtest.h>

#include <string>

#include "support/tidy_rules.h"
#include "support/tidy_source.h"

namespace pentafold::tidy {
namespace {

const Layers& layers() {
  static const Layers kLayers = parse_layers("# who\nbase:\nspec: base\nplan: base spec\n");
  return kLayers;
}

std::string joined(const Complaints& complaints) {
  std::string out;
  for (const std::string& complaint : complaints) out += complaint + "\n";
  return out;
}

void expect_one(const Complaints& complaints, const std::string& place, const std::string& word) {
  ASSERT_EQ(complaints.size(), 1U) << joined(complaints);
  EXPECT_TRUE(complaints[0].starts_with(place + ": ")) << complaints[0];
  EXPECT_NE(complaints[0].find(word), std::string::npos) << complaints[0];
}

void expect_none(const Complaints& complaints) {
  EXPECT_TRUE(complaints.empty()) << joined(complaints);
}

std::string repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Tidy, TheRepository) {
  const Tree tree = load_tree(PENTAFOLD_SOURCE_DIR);
  ASSERT_GT(tree.files.size(), 10U);
  const Complaints complaints = check_tree(tree);
  EXPECT_TRUE(complaints.empty()) << complaints.size() << " complaints:\n" << joined(complaints);
}

TEST(TidySource, SplitsCodeFromCommentsAndLiterals) {
  const SplitSource split = split_source(
      "int a; // b {\n/* { \n { */ char c = '{'; const char* s = \"{\\\"{\"; long d = 1'000;\n"
      "#define X {\\\n  {\nauto r = R\"x({)\" {)x\"; int e;\n");
  EXPECT_EQ(split.code.find('{'), std::string::npos) << split.code;
  EXPECT_NE(split.code.find("int e;"), std::string::npos) << split.code;
  EXPECT_NE(split.code.find("1'000"), std::string::npos) << split.code;
  EXPECT_NE(split.comments.find("b {"), std::string::npos);
  EXPECT_EQ(split_lines(split.code).size(), split_lines(split.comments).size());
}

void expect_functions(const std::string& text, const std::vector<std::pair<int, int>>& wanted) {
  const FunctionScan scan = find_functions(split_source(text).code);
  EXPECT_TRUE(scan.balanced) << text;
  ASSERT_EQ(scan.functions.size(), wanted.size()) << text;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(scan.functions[i].first_line, wanted[i].first) << text;
    EXPECT_EQ(scan.functions[i].last_line, wanted[i].second) << text;
  }
}

TEST(TidySource, FindsFunctions) {
  expect_functions("namespace a {\nint f() {\n  if (x) {\n  }\n}\n}  // namespace a\n", {{2, 5}});
  expect_functions("int\nf(int a,\n  int b = 3)\n{\n}\n", {{1, 5}});
  expect_functions(
      "class A : public B {\n public:\n  A() : x_{1}, y_(2) {\n  }\n  int x_{3};\n};\n", {{3, 4}});
  expect_functions("template <class T, class U = int>\nbool operator==(T a, T b) {\n}\n", {{1, 3}});
  expect_functions("struct alignas(64) A {\n  void f() const {\n  }\n};\n", {{2, 3}});
  expect_functions("TEST(A, B) {\n}\nextern \"C\" int f(int x) {\n}\n", {{1, 2}, {3, 4}});
  expect_functions("auto f() -> std::vector<int> {\n  auto g = [] {\n  };\n}\n", {{1, 4}});
  expect_functions("struct P { int x = 0; };\nenum class E { A, B };\nint v[] = {1, 2};\n", {});
  expect_functions("constexpr Key kKeys[] = {{\"a\",\n [](int x) {\n }}};\nint f() { return 1; }\n",
                   {{4, 4}});
  expect_functions("extern \"C\" {\nvoid f() {\n}\n}\n", {{2, 3}});
  expect_functions("#define F(x) {\nvoid f() {\n}\n", {{2, 3}});
}

TEST(TidySource, SaysWhenBracesDoNotMatch) {
  EXPECT_FALSE(find_functions("int f() { {").balanced);
  EXPECT_FALSE(find_functions("int f() }").balanced);
}

TEST(TidyRules, Includes) {
  const auto check = [](const std::string& path, const std::string& include) {
    return check_includes({path, "// a\n#include " + include + "\n"}, layers());
  };
  expect_none(check("src/plan/a.cc", "\"base/b.h\""));
  expect_none(check("src/plan/a.cc", "\"plan/b.h\""));
  expect_none(check("src/plan/a.cc", "<vector>"));
  expect_none(check("src/plan/a_test.cc", "\"support/b.h\""));
  expect_none(check("tests/fault/a_test.cc", "\"plan/b.h\""));
  expect_one(check("src/spec/a.h", "\"plan/b.h\""), "src/spec/a.h:2", "spec may not include plan");
  expect_one(check("src/spec/a_test.cc", "\"plan/b.h\""), "src/spec/a_test.cc:2", "may not");
  expect_one(check("src/plan/a.cc", "\"support/b.h\""), "src/plan/a.cc:2", "in no room");
  expect_one(check("src/plan/a.cc", "\"b.h\""), "src/plan/a.cc:2", "in no room");
}

TEST(TidyRules, Layers) {
  const Tree none;
  expect_none(check_layers(layers(), none));
  expect_one(check_layers(parse_layers("a: a\n"), none), "src/LAYERS:1", "reaches itself");
  expect_one(check_layers(parse_layers("verify:\nx: verify\nexecute: x\n"), none), "src/LAYERS:1",
             "execute reaches verify");
  const Tree tree = {.files = {}, .paths = {"src/LAYERS", "src/new", "src/new/a.h"}};
  expect_one(check_layers(layers(), tree), "src/LAYERS:1", "room new is missing");
}

TEST(TidyRules, Lengths) {
  expect_none(check_lengths({"a.cc", repeat("int x;\n", 400)}));
  expect_one(check_lengths({"a.cc", repeat("int x;\n", 401)}), "a.cc:401", "401 lines");
  expect_none(check_lengths({"a.cu", repeat("int x;\n", 600)}));
  expect_one(check_lengths({"a.cu", repeat("int x;\n", 601)}), "a.cu:601", "601 lines");
  expect_none(check_lengths({"a.cc", "//" + std::string(98, 'x') + "\n"}));
  expect_none(check_lengths({"a.cc", "//" + repeat("\xC3\xA9", 98) + "\n"}));
  expect_one(check_lengths({"a.cc", "\n//" + std::string(99, 'x')}), "a.cc:2", "101 columns");
  expect_none(check_lengths({"a.cc", "\nvoid f() {\n" + repeat("  g();\n", 58) + "}\n"}));
  expect_one(check_lengths({"a.cc", "\nvoid f() {\n" + repeat("  g();\n", 59) + "}\n"}), "a.cc:2",
             "61 lines");
  expect_one(check_lengths({"a.cc", "int f() {"}), "a.cc:1", "braces");
}

TEST(TidyRules, Names) {
  expect_none(check_names({"src/plan/mesh.cc", "// a helper\nclass Utilisation {};\n"}));
  expect_one(check_names({"src/plan/mesh_util.cc", ""}), "src/plan/mesh_util.cc:1", "\"util\"");
  expect_one(check_names({"src/common/mesh.cc", ""}), "src/common/mesh.cc:1", "\"common\"");
  expect_one(check_names({"a.cc", "\nclass PlanManager {};\n"}), "a.cc:2", "PlanManager");
  expect_one(check_names({"a.cc", "namespace misc {}\n"}), "a.cc:1", "misc");
  expect_one(check_names({"src/mesh_v2.cc", ""}), "src/mesh_v2.cc:1", "\"v2\"");
  expect_one(check_names({"a.cc", "struct MeshHelper {};\n"}), "a.cc:1", "MeshHelper");
}

TEST(TidyRules, Comments) {
  expect_none(check_comments({"a.cc", "// TODO(#12): later\nconst char* s = \"TODO\";\n"}));
  expect_none(check_comments({"a.cc", "int x;  // NOLINT(a-b): two of them\n// NOLINTEND(a)\n"}));
  expect_none(check_comments({"a.cc", "int x;  // NOLINT: a reason\n"}));
  expect_one(check_comments({"a.cc", "\n// TODO later\n"}), "a.cc:2", "issue");
  expect_one(check_comments({"a.cc", "/* FIXME(me) */\n"}), "a.cc:1", "issue");
  expect_one(check_comments({"a.cc", "int x;  // NOLINT\n"}), "a.cc:1", "reason");
  expect_one(check_comments({"a.cc", "int x;  // NOLINT(a-b)\n"}), "a.cc:1", "reason");
  expect_one(check_comments({"a.cc", "// NOLINTNEXTLINE\nint x;\n"}), "a.cc:1", "reason");
}

TEST(TidyRules, Headers) {
  expect_none(check_header({"a.h", "// What.\n//\n// More.\n\n#pragma once\n"}));
  expect_none(check_header({"a.cc", "int x;\n"}));
  expect_none(check_header({"a-inl.h", "// What.\n#if defined(A) == defined(B)\n"}));
  expect_one(check_header({"a-inl.h", "#if defined(A) == defined(B)\n"}), "a-inl.h:1", "comment");
  expect_one(check_header({"a.h", "#pragma once\n"}), "a.h:1", "comment");
  expect_one(check_header({"a.h", "// What.\n#include <x>\n#pragma once\n"}), "a.h:1", "pragma");
  expect_one(check_header({"a.h", "// What.\n"}), "a.h:1", "pragma");
}

TEST(TidyRules, Documents) {
  const Tree tree = {.files = {}, .paths = {"src/plan", "src/plan/a.h", "tests/b_test.cc"}};
  const auto check = [&](const std::string& text) {
    return check_document({"docs/d.md", text}, tree);
  };
  expect_none(check("`src/plan/a.h` `plan/a.h` `src/plan/` `src/<room>/x.h` `a/b` `tp=2`\n"));
  expect_none(check("```\n`src/gone.h`\n```\n"));
  expect_one(check("\nsee `src/plan/gone.h`\n"), "docs/d.md:2", "src/plan/gone.h");
  expect_one(check("see `plan/gone.h`\n"), "docs/d.md:1", "plan/gone.h");
}

TEST(TidyRules, Invariants) {
  const Tree tree = {.files = {}, .paths = {"src/plan/a_test.cc", "tests/property/b_test.cc"}};
  const auto check = [&](const std::string& text) {
    return check_invariants({"docs/invariants.md", text}, tree);
  };
  expect_none(
      check("INV-1 sums. `src/plan/a_test.cc`\n\nINV-2, like INV-1,\n`property/b_test.cc`\n"));
  expect_one(check("INV-1 sums.\nINV-2: `plan/a_test.cc`\n"), "docs/invariants.md:1", "INV-1");
  expect_one(check("\n| INV-3 | `tests/property/gone_test.cc` |\n"), "docs/invariants.md:2",
             "INV-3");
}

// What the rules find reaches the failure: nothing is lost between rule and tree.
TEST(TidyRules, ATreeCollectsEveryKind) {
  const Tree tree = {
      .files = {{"src/LAYERS", "base:\nplan: base\n"},
                {"src/base/a.h", "#include \"plan/b.h\"\n// TODO\nclass Helper {};\n" +
                                     std::string(101, 'x') + "\n"},
                {"docs/invariants.md", "INV-1 `src/gone_test.cc`\n"}},
      .paths = {"src/LAYERS", "src/base", "src/base/a.h", "src/odd", "src/odd/x.h"}};
  const std::string all = joined(check_tree(tree));
  for (const char* word :
       {"src/LAYERS:1: room odd", "a.h:1: base may not include plan", "a.h:2: open work",
        "a.h:3: \"helper\"", "a.h:4: 101 columns", "a.h:1: a header opens", "pragma once",
        "invariants.md:1: INV-1", "`src/gone_test.cc` is not in"}) {
    EXPECT_NE(all.find(word), std::string::npos) << word << " in:\n" << all;
  }
}

}  // namespace
}  // namespace pentafold::tidy
