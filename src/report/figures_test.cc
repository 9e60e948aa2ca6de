#include "report/figures.h"

#include <gtest/gtest.h>

#include "report/markdown.h"

namespace pentafold {
namespace {

Figures sample() {
  Figures f;
  f.show({"hw.memory", 80e9, FigureUnit::Bytes, "memory", "", "datasheet"});
  f.show({"plan.gpus", 8, FigureUnit::Count, "GPUs", "", "the plan"});
  f.show({"memory.all", 640e9, FigureUnit::Bytes, "all of it", "hw.memory * plan.gpus", ""});
  f.show({"memory.half", 320e9, FigureUnit::Bytes, "half", "max(memory.all / 2, 1)", ""});
  return f;
}

TEST(Figures, TextHasValueUnitAndName) {
  Figures f;
  EXPECT_EQ(f.show({"decode.tpot", 0.0182, FigureUnit::Seconds, "TPOT", "", "x"}),
            "18.20 ms [decode.tpot]");
  EXPECT_EQ(format_figure(0.375, FigureUnit::Share), "37.5 %");
  EXPECT_EQ(format_figure(-1e-9, FigureUnit::Share), "0.0 %");
  EXPECT_EQ(format_figure(4.8e12, FigureUnit::BytesPerSecond), "4.80 TB/s");
  EXPECT_EQ(format_figure(989e12, FigureUnit::OperationsPerSecond), "989 TFLOPS");
}

TEST(Figures, FormulasNameTheirInputs) {
  EXPECT_EQ(inputs_of("max(0, floor((a.b - (c_1.d - c_1.e)) / a.b)) * 1.5"),
            (std::vector<std::string>{"a.b", "c_1.d", "c_1.e"}));
  EXPECT_TRUE(inputs_of("2 * 3 + min(1, 2)").empty());
  EXPECT_TRUE(inputs_of("").empty());
}

TEST(Figures, ADerivationGoesDownToItsSources) {
  const std::string text = explain_number(sample(), "memory.half");
  for (const char* part : {"memory.half = 320 GB", "max(memory.all / 2, 1)", "memory.all = 640 GB",
                           "hw.memory * plan.gpus", "datasheet", "the plan"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_TRUE(sample().missing().empty());
}

TEST(Figures, MissingInputsAreFound) {
  Figures f = sample();
  f.show({"x", 1, FigureUnit::Count, "x", "y.z + plan.gpus", ""});
  EXPECT_EQ(f.missing(), std::vector<std::string>{"y.z"});
  EXPECT_NE(explain_number(f, "x").find("y.z + plan.gpus"), std::string::npos);
}

TEST(Figures, FormulasInACircleEnd) {
  Figures f;
  f.show({"a", 1, FigureUnit::Count, "a", "b", ""});
  f.show({"b", 1, FigureUnit::Count, "b", "a", ""});
  EXPECT_LT(explain_number(f, "a").size(), 200U);
}

TEST(Figures, AnUnknownNameGetsTheNearestAndAGroupItsMembers) {
  EXPECT_NE(explain_number(sample(), "memory.hlaf").find("memory.half"), std::string::npos);
  const std::string group = explain_number(sample(), "memory");
  EXPECT_NE(group.find("memory.all ="), std::string::npos);
  EXPECT_NE(group.find("memory.half ="), std::string::npos);
  EXPECT_EQ(group.find("plan.gpus ="), std::string::npos);
  EXPECT_NE(explain_number(sample(), "zzzzzzzz").find("hw, memory, plan"), std::string::npos);
  EXPECT_NE(explain_number(sample(), "").find("no figure"), std::string::npos);
  EXPECT_EQ(explain_number(sample(), "\x1b[31m").find('\x1b'), std::string::npos);
}

TEST(Figures, OneNameHasOneValue) {
  Figures f = sample();
  f.show({"plan.gpus", 8, FigureUnit::Count, "GPUs", "", "the plan"});
  EXPECT_DEATH(f.show({"plan.gpus", 9, FigureUnit::Count, "GPUs", "", "the plan"}), "plan.gpus");
}

TEST(Figures, TheTableHasEveryFigureAndNoOrderOfArrival) {
  Figures back;
  const Figures f = sample();
  for (auto it = f.all().rbegin(); it != f.all().rend(); ++it) back.show(it->second);
  EXPECT_EQ(figure_table(back), figure_table(f));
  for (const auto& [name, figure] : f.all()) {
    EXPECT_NE(figure_table(f).find("| " + name + " |"), std::string::npos);
  }
}

TEST(Markdown, CellsCannotBreakTheTable) {
  MarkdownTable table({"a", "b"});
  EXPECT_TRUE(table.empty());
  table.add({"x|y\nz", "\x1b[0m"});
  EXPECT_FALSE(table.empty());
  EXPECT_EQ(table.text(), "| a | b |\n|---|---|\n| x\\|y z |  [0m |\n\n");
}

}  // namespace
}  // namespace pentafold
