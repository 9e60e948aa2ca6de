// A timeline is JSON, whatever names are in it, and says what was put in.
#include "report/chrome_trace.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/scratch_folder.h"

namespace pentafold {
namespace {

using Json = nlohmann::json;

TEST(ChromeTrace, SaysWhatWasPutIn) {
  const testing::ScratchFolder folder;
  const std::string path = folder.path("t.json");
  auto made = ChromeTrace::create(path);
  ASSERT_TRUE(made.ok());
  ChromeTrace trace = std::move(made).value();
  trace.name_process(1, "replica \"1\"\n\xff\\");
  trace.name_thread(1, 2, "stage 2");
  const std::array<TraceNumber, 2> numbers = {TraceNumber{"decodes", 32},
                                              TraceNumber{"odd", std::nan("")}};
  trace.slice({.process = 1,
               .thread = 2,
               .start_s = 1.5,
               .duration_s = 0.0123456,
               .name = "decode",
               .numbers = numbers});
  trace.counter(1, "queue", 2, 7);
  EXPECT_EQ(trace.events(), 4);
  ASSERT_TRUE(trace.close().ok());

  const Json json = Json::parse(testing::read_bytes(path));
  const Json& events = json["traceEvents"];
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0]["args"]["name"], "replica \"1\"??\\");
  EXPECT_EQ(events[1]["tid"], 2);
  EXPECT_EQ(events[2]["ph"], "X");
  EXPECT_DOUBLE_EQ(events[2]["ts"], 1.5e6);
  EXPECT_DOUBLE_EQ(events[2]["dur"], 12345.6);
  EXPECT_EQ(events[2]["args"]["decodes"], 32);
  EXPECT_EQ(events[2]["args"]["odd"], 0);
  EXPECT_EQ(events[3]["ph"], "C");
  EXPECT_EQ(events[3]["args"]["queue"], 7);
}

TEST(ChromeTrace, ManyEventsAreOneDocument) {
  const testing::ScratchFolder folder;
  const std::string path = folder.path("t.json");
  auto made = ChromeTrace::create(path);
  ASSERT_TRUE(made.ok());
  constexpr int kMany = 20000;
  for (int i = 0; i < kMany; ++i) made->counter(0, "n", i, i);
  ASSERT_TRUE(made->close().ok());
  const Json json = Json::parse(testing::read_bytes(path));
  ASSERT_EQ(json["traceEvents"].size(), static_cast<std::size_t>(kMany));
  EXPECT_EQ(json["traceEvents"][kMany - 1]["args"]["n"], kMany - 1);
}

TEST(ChromeTrace, EmptyIsStillADocument) {
  const testing::ScratchFolder folder;
  auto made = ChromeTrace::create(folder.path("t.json"));
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(made->close().ok());
  EXPECT_TRUE(Json::parse(testing::read_bytes(folder.path("t.json")))["traceEvents"].empty());
}

TEST(ChromeTrace, SaysWhyItCannotBeWritten) {
  EXPECT_EQ(ChromeTrace::create("/nowhere/at/all").error().code, ErrorCode::Io);
  if (!std::ifstream("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  auto full = ChromeTrace::create("/dev/full");
  ASSERT_TRUE(full.ok());
  EXPECT_NE(full->close().error().message.find("disk full"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
