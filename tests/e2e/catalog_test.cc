// The verbs around planning: models and clusters list the catalog, audit judges a document, explain
// compares two plans.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"
#include "support/scratch_folder.h"

namespace pentafold::testing {
namespace {

using Json = nlohmann::json;

TEST(Catalog, ListsEveryModelAndTellsAllAboutOne) {
  const ProcessResult listed = pentafold({"models"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  const ProcessResult json = pentafold({"models", "--json"});
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json models = Json::parse(json.out);
  std::size_t named = 0;
  for (const Json& model : models.is_array() ? models : models.at("models")) {
    ++named;
    const std::string name = model.at("name");
    EXPECT_NE(listed.out.find(name), std::string::npos) << name;
  }
  EXPECT_GE(named, 40U);
  const ProcessResult one = pentafold({"models", "deepseek-v3"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_NE(one.out.find("671"), std::string::npos);
  EXPECT_TRUE(refused(pentafold({"models", "deepseek-v33"}), {"deepseek-v3"}));
}

TEST(Catalog, ListsEveryDeviceAndTellsAllAboutOne) {
  const ProcessResult listed = pentafold({"clusters"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  for (const char* name : {"h100-sxm", "gb200", "rtx-4090", "ascend-910c", "dgx-h200"}) {
    EXPECT_NE(listed.out.find(name), std::string::npos) << name;
  }
  EXPECT_EQ(pentafold({"clusters", "dgx-h200"}).exit_code, 0);
  EXPECT_EQ(pentafold({"clusters", "--json"}).exit_code, 0);
  EXPECT_EQ(pentafold({"clusters", "dgx-h201"}).exit_code, 2);
}

TEST(Audit, EveryDocumentHasClaimsThatDoNotHold) {
  for (const char* document : {"a", "b", "c", "d", "e"}) {
    const std::string path = std::string("specs/seeds/") + document + ".claims.yaml";
    const ProcessResult text = pentafold({"audit", path});
    EXPECT_EQ(text.exit_code, 1) << path << text.err;
    const ProcessResult json = pentafold({"audit", path, "--json"});
    EXPECT_EQ(json.exit_code, 1) << path << json.err;
    EXPECT_TRUE(Json::accept(json.out)) << path;
  }
}

TEST(Audit, RefusesWhatIsNoClaimsFile) {
  EXPECT_TRUE(refused(pentafold({"audit", "no/such.yaml"}), {"no/such.yaml"}));
  EXPECT_TRUE(refused(pentafold({"audit", "specs/seeds/a.yaml"}), {"specs/seeds/a.yaml"}));
  EXPECT_TRUE(refused(pentafold({"audit"}), {"--help"}));
}

TEST(Explain, SaysWhyOnePlanBeatsTheOther) {
  const ProcessResult page = pentafold({"explain", "dp=8,ep=8,max_batch=256", "--against",
                                        "tp=8,etp=8,max_batch=256", "--model", "qwen3-30b-a3b",
                                        "--gpu", "h200-sxm", "--isl", "4000", "--osl", "1000"});
  EXPECT_EQ(page.exit_code, 0) << page.err;
  for (const char* part : {"## Why", "tokens/s per GPU", "link latency"}) {
    EXPECT_NE(page.out.find(part), std::string::npos) << part;
  }
  EXPECT_TRUE(
      refused(pentafold({"explain", "dp=8,ep=8", "--against", "no/plan.yaml", "--model",
                         "qwen3-30b-a3b", "--gpu", "h200-sxm", "--isl", "100", "--osl", "10"}),
              {"no/plan.yaml"}));
  EXPECT_EQ(pentafold({"explain", "dp=8,ep=8"}).exit_code, 2);
}

TEST(Report, NamesEveryFigureAndDerivesOne) {
  const ScratchFolder folder;
  const std::string report = folder.path("out.md");
  const std::vector<std::string> job = {"plan",   "--model", "qwen3-30b-a3b", "--gpu", "h200-sxm",
                                        "--gpus", "8",       "--isl",         "1000",  "--osl",
                                        "100"};
  auto with = [&](std::initializer_list<std::string> more) {
    auto arguments = job;
    arguments.insert(arguments.end(), more);
    return pentafold(arguments);
  };
  EXPECT_EQ(with({"--report", report}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(report));
  const ProcessResult number = with({"--explain-number", "decode.tpot"});
  EXPECT_EQ(number.exit_code, 0) << number.err;
  EXPECT_NE(number.out.find("decode.tpot ="), std::string::npos) << number.out;
  const ProcessResult front = with({"--pareto"});
  EXPECT_NE(front.out.find("tok/s/user"), std::string::npos);
}

}  // namespace
}  // namespace pentafold::testing
