// Paths of a plan are relative to its folder, both ways; a word may be a name of the catalog.
#include "plan/plan_paths.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/scratch_folder.h"

namespace pentafold {
namespace {

TEST(PlanPaths, AWordIsANameUnlessSuchAFileExists) {
  const testing::ScratchFolder folder;
  const std::string plan = folder.path("p.yaml");
  EXPECT_EQ(resolve_model("qwen3-8b", plan), "qwen3-8b");
  EXPECT_EQ(resolve_model("deepseek-v3.2", plan), "deepseek-v3.2");
  folder.write("qwen3-8b", "");
  EXPECT_EQ(resolve_model("qwen3-8b", plan), folder.path("qwen3-8b"));
  EXPECT_EQ(written_model("qwen3-8b", plan), "qwen3-8b");
  for (const char* path : {"a/b", "x.yaml", "x.yml", "config.json", "..", "."}) {
    EXPECT_FALSE(could_be_catalog_name(path)) << path;
  }
  EXPECT_EQ(resolve_model("shape.yaml", "plans/p.yaml"), "plans/shape.yaml");
}

TEST(PlanPaths, WrittenPathsLeadBack) {
  const std::string here = std::filesystem::current_path().string();
  for (const std::string plan : {"p.yaml", "plans/p.yaml", "plans/deep/p.yaml", "../p.yaml",
                                 "../x/p.yaml", "/tmp/p.yaml", "/tmp/a/p.yaml"}) {
    for (const std::string path : {"models/tiny", "plans/pool.yaml", "../up", "/abs/model"}) {
      const std::string back = resolve_path(written_path(path, plan), plan);
      EXPECT_EQ(std::filesystem::absolute(back).lexically_normal(),
                std::filesystem::absolute(path).lexically_normal())
          << plan << " " << path << " in " << here;
    }
  }
}

}  // namespace
}  // namespace pentafold
