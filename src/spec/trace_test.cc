// Traces as people have them: every format to the same value, every malformed row to a sentence
// with its line.
#include "spec/trace.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "support/scratch_folder.h"

namespace pentafold {
namespace {

using testing::ScratchFolder;

Trace read(const std::string& text) {
  auto trace = parse_trace(text, "t");
  EXPECT_TRUE(trace.ok()) << (trace.ok() ? "" : trace.error().to_string());
  return trace.ok() ? std::move(trace).value() : Trace{};
}

std::string refusal(const std::string& text) {
  const auto trace = parse_trace(text, "t");
  EXPECT_FALSE(trace.ok()) << text;
  return trace.ok() ? "" : trace.error().to_string();
}

std::string gzip(const std::string& text) {
  const ScratchFolder folder;
  const std::string path = folder.path("x.gz");
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return testing::read_bytes(path);
}

const char* const kAzure =
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 23:59:59.5000000,374,44\r\n"
    "2023-11-17 00:00:00.2500001,396,109\r\n";

TEST(Trace, ReadsAzure) {
  const Trace trace = read(kAzure);
  EXPECT_EQ(trace.format, TraceFormat::Azure);
  ASSERT_EQ(trace.requests.size(), 2U);
  EXPECT_EQ(trace.requests[0].arrival_s, 0.0);
  EXPECT_EQ(trace.requests[0].prompt_tokens, 374);
  EXPECT_EQ(trace.requests[0].output_tokens, 44);
  EXPECT_DOUBLE_EQ(trace.requests[1].arrival_s, 0.7500001);
  EXPECT_TRUE(trace.measured.empty());
  EXPECT_EQ(trace.block_tokens, 0);
}

// Across a leap day, a year and a time zone.
TEST(Trace, KnowsTheCalendar) {
  const auto seconds = [](const std::string& from, const std::string& to) {
    return read("timestamp,isl,osl\n" + from + ",1,1\n" + to + ",1,1\n").duration_s();
  };
  EXPECT_EQ(seconds("2024-02-28 00:00:00", "2024-03-01 00:00:00"), 2 * 86400);
  EXPECT_EQ(seconds("2023-02-28 00:00:00", "2023-03-01 00:00:00"), 86400);
  EXPECT_EQ(seconds("2023-12-31T23:59:59Z", "2024-01-01T00:00:01Z"), 2);
  EXPECT_EQ(seconds("2024-05-10 02:00:00+02:00", "2024-05-10 00:00:01.5+00:00"), 1.5);
}

TEST(Trace, ReadsMooncake) {
  const Trace trace = read(
      "{\"timestamp\": 0, \"input_length\": 1025, \"output_length\": 6, \"hash_ids\": [0, 1, 2]}\n"
      "\n"
      "{\"timestamp\": 1500, \"input_length\": 3, \"output_length\": 4, \"hash_ids\": "
      "[18446744073709551615], \"other\": {\"a\": [1, \"\\\"]}\"]}}");
  EXPECT_EQ(trace.format, TraceFormat::Mooncake);
  EXPECT_EQ(trace.block_tokens, 512);
  ASSERT_EQ(trace.requests.size(), 2U);
  EXPECT_EQ(trace.requests[1].arrival_s, 1.5);
  const auto first = trace.hashes_of(trace.requests[0]);
  EXPECT_EQ(std::vector(first.begin(), first.end()), (std::vector<std::uint64_t>{0, 1, 2}));
  ASSERT_EQ(trace.hashes_of(trace.requests[1]).size(), 1U);
  EXPECT_EQ(trace.hashes_of(trace.requests[1])[0], ~std::uint64_t{0});
}

TEST(Trace, ReadsAnyCsvByName) {
  const Trace trace = read(
      "name,arrival,output_tokens,\"Priority\",prompt_tokens\n"
      "\"a, b\",20ms,5,-1,7\n"
      "c,1s,6,2,8\n");
  EXPECT_EQ(trace.format, TraceFormat::Csv);
  ASSERT_EQ(trace.requests.size(), 2U);
  EXPECT_EQ(trace.requests[0].priority, -1);
  EXPECT_EQ(trace.requests[0].prompt_tokens, 7);
  EXPECT_EQ(trace.requests[0].output_tokens, 5);
  EXPECT_DOUBLE_EQ(trace.requests[1].arrival_s, 0.98);
}

// One instant, in each unit that has a name.
TEST(Trace, UnitsAgree) {
  for (const auto& [name, value] :
       {std::pair{"arrival_time_ns", "1500000000"}, std::pair{"arrival_us", "1500000"},
        std::pair{"arrival_ms", "1500.0"}, std::pair{"arrival_s", "1.5"},
        std::pair{"arrived_at", "15e-1"}, std::pair{"arrival", "1.5s"}}) {
    const Trace trace = read(fmt::format("{},isl,osl\n{},2,3\n{},2,3\n", name,
                                         std::string(name) == "arrival" ? "0s" : "0", value));
    EXPECT_DOUBLE_EQ(trace.duration_s(), 1.5) << name;
  }
}

// Seconds since 1970 keep their nanoseconds.
TEST(Trace, WallClocksKeepTheirDigits) {
  const Trace trace = read("arrival_s,isl,osl\n1787267980.000000001,1,1\n1787267980.000000004,1,1");
  EXPECT_DOUBLE_EQ(trace.duration_s(), 3e-9);
}

TEST(Trace, SortsByArrivalAndKeepsEqualOnesInOrder) {
  const Trace trace = read("arrival_s,isl,osl\n5,1,1\n-1,2,1\n5,3,1\n0,4,1\n");
  std::vector<std::int64_t> order;
  for (const TraceRequest& request : trace.requests) order.push_back(request.prompt_tokens);
  EXPECT_EQ(order, (std::vector<std::int64_t>{2, 4, 1, 3}));
  EXPECT_EQ(trace.requests[0].arrival_s, 0.0);
  EXPECT_EQ(trace.duration_s(), 6.0);
}

// The engine's clock is 1000 s behind; the first request waited 0.25 s to be seen, the other none.
TEST(Trace, RelatesTheClocksOfAMeasuredLog) {
  const std::string row =
      "{{\"request_id\": \"a\", \"input_toks\": 5, \"output_toks\": 3, \"arrival_time\": {}, "
      "\"queued_ts\": {}, \"scheduled_ts\": {}, \"first_token_ts\": {}, \"last_token_ts\": {}}}\n";
  const Trace trace =
      read(fmt::format(fmt::runtime(row), 1787267980.5, 980.75, 980.75, 981.0, 982.0) +
           fmt::format(fmt::runtime(row), 1787267981.0, 981.0, 981.5, 982.0, 982.0) +
           "{\"input_toks\":1,\"output_toks\":1,\"arrival_time\":1787267982,"
           "\"first_token_ts\":null,\"last_token_ts\":null}");
  EXPECT_EQ(trace.format, TraceFormat::MeasuredLog);
  ASSERT_EQ(trace.measured.size(), 3U);
  EXPECT_TRUE(trace.measured[0].known);
  EXPECT_DOUBLE_EQ(trace.measured[0].ttft_s, 0.5);
  EXPECT_DOUBLE_EQ(trace.measured[0].last_s, 1.5);
  EXPECT_DOUBLE_EQ(trace.measured[1].ttft_s, 1.0);
  EXPECT_FALSE(trace.measured[2].known);
}

TEST(Trace, OneClockNeedsNoRelating) {
  const Trace trace = read(
      "arrival_s,isl,osl,first_token_ts,last_token_ts\n10,1,2,10.5,11\n11,1,1,,\n9,1,2,9.25,9.5\n");
  ASSERT_EQ(trace.measured.size(), 3U);
  EXPECT_EQ(trace.measured[0], (MeasuredTimes{true, 0.25, 0.5}));
  EXPECT_EQ(trace.measured[1], (MeasuredTimes{true, 0.5, 1}));
  EXPECT_FALSE(trace.measured[2].known);
}

TEST(Trace, ReadsGzipTheSame) {
  const ScratchFolder folder;
  std::string text = "arrival_s,isl,osl\n";
  for (int i = 0; i < 100000; ++i) text += fmt::format("{},{},{}\n", i, i % 977 + 1, i % 13 + 1);
  const auto plain = load_trace(folder.write("plain", text));
  const auto packed = load_trace(folder.write("packed", gzip(text)));
  ASSERT_TRUE(plain.ok() && packed.ok());
  EXPECT_EQ(plain->requests.size(), 100000U);
  EXPECT_EQ(plain->requests, packed->requests);
  EXPECT_EQ(plain->requests, read(text).requests);
}

TEST(Trace, RefusesDamagedGzip) {
  const ScratchFolder folder;
  std::string text = kAzure;
  for (int i = 0; i < 2000; ++i)
    text += fmt::format("2023-11-18 01:00:00,{},{}\n", i + 1, i * 7 + 1);
  const std::string packed = gzip(text);
  const auto cut = load_trace(folder.write("cut", packed.substr(0, packed.size() / 2)));
  ASSERT_FALSE(cut.ok());
  EXPECT_NE(cut.error().message.find("gzip data that ends too early"), std::string::npos)
      << cut.error().message;
  std::string hit = packed;
  hit[hit.size() - 6] = static_cast<char>(hit[hit.size() - 6] ^ 1);  // the checksum
  const auto damaged = load_trace(folder.write("hit", hit));
  ASSERT_FALSE(damaged.ok());
  EXPECT_NE(damaged.error().message.find("gzip data that is damaged"), std::string::npos);
}

TEST(Trace, RefusesWhatIsNoFile) {
  const ScratchFolder folder;
  EXPECT_EQ(load_trace(folder.path("gone")).error().code, ErrorCode::Io);
  const auto directory = load_trace(folder.path());
  ASSERT_FALSE(directory.ok());
  EXPECT_NE(directory.error().message.find("not a regular file"), std::string::npos);
}

struct Broken {
  const char* text;
  const char* sentence;  // how the error begins
  const char* part;
};

TEST(Trace, EveryBrokenFileGetsItsLine) {
  const Broken kCases[] = {
      {"", "t: ", "has no requests"},
      {"arrival_s,isl,osl\n", "t: ", "has no requests"},
      {"hello\n", "t:1: ", "no trace"},
      {"[\n{}\n]\n", "t:1: ", "jq"},
      {"arrival_s,isl\n1,2\n", "t:1: ", "tokens of its answer"},
      {"arrival_s,isl,output_tokenz\n", "t:1: ", "\"output_tokenz\" meant to be output_tokens?"},
      {"isl,osl\n", "t:1: ", "arrival of a request"},
      {"arrival_s,isl,prompt_tokens,osl\n", "t:1: ", "two columns of one meaning"},
      {"arrival_s,isl,osl\n\n1,2\n", "t:3: ", "3 cells"},
      {"arrival_s,isl,osl\n1,2,3\n1,x,3\n", "t:3: ", "isl must be a whole number 1 to"},
      {"arrival_s,isl,osl\n1,0,3\n", "t:2: ", "isl must be a whole number"},
      {"arrival_s,isl,osl\n1,2,-3\n", "t:2: ", "osl must be a whole number"},
      {"arrival_s,isl,osl\n1,2,1e3\n", "t:2: ", "osl must be a whole number"},
      {"arrival_s,isl,osl\n1,2,99999999999\n", "t:2: ", "osl must be"},
      {"arrival_s,isl,osl\nnan,2,3\n", "t:2: ", "arrival_s must be a number"},
      {"arrival_s,isl,osl\n1e300,2,3\n", "t:2: ", "arrival_s must be a number"},
      {"arrival_s,isl,osl\n,2,3\n", "t:2: ", "arrival_s must be a number"},
      {"arrival_s,isl,osl\n0,2,3\n1e9,2,3\n", "t:3: ", "unit"},
      {"arrival,isl,osl\n5,2,3\n", "t:2: ", "has no unit"},
      {"timestamp,isl,osl\n12,2,3\n", "t:2: ", "date and time"},
      {"timestamp,isl,osl\n2023-13-16 00:00:00,2,3\n", "t:2: ", "date and time"},
      {"arrival_s,isl,osl,hash_ids\n1,2,3,4\n", "t:2: ", "JSON lines"},
      {"arrival_s,isl,osl\n\"1,2,3\n", "t:2: ", "cells"},
      {"{\"timestamp\": 0, \"input_length\": 4}\n", "t:1: ", "output_length"},
      {"{\"timestamp\": 0, \"isl\": 4, \"osl\": 1\n", "t:1: ", "column 36"},
      {"{\"timestamp\": 0, \"isl\": 4, \"osl\": 1} x\n", "t:1: ", "not a JSON object"},
      {"{\"timestamp\": 0, \"isl\": [4], \"osl\": 1}\n", "t:1: ", "isl must be a number"},
      {"{\"timestamp\": 0, \"isl\": \"4\", \"osl\": 1}\n", "t:1: ", "isl must be a whole number"},
      {"{\"timestamp\": 0, \"isl\": 4, \"isl\": 4, \"osl\": 1}\n", "t:1: ", "twice"},
      {"{\"timestamp\": 0, \"isl\": 4, \"osl\": 1, \"hash_ids\": [-1]}\n", "t:1: ", "hash_ids"},
      {"{\"timestamp\": 0, \"isl\": 4, \"osl\": 1, \"hash_ids\": [1, 2]}\n", "t:1: ", "1 blocks"},
      {"{\"timestamp\":0,\"isl\":4,\"osl\":1}\n1,2,3\n", "t:2: ", "not a JSON object"},
      {"arrival_s,isl,osl,first_token_ts,last_token_ts\n1,2,3,4,\n", "t:2: ", "both or none"},
      {"arrival_s,isl,osl,first_token_ts,last_token_ts\n1,2,3,5,4\n", "t:2: ", "in this order"},
      {"arrival_s,isl,osl,first_token_ts,last_token_ts\n9,2,3,5,6\n", "t:2: ", "before it arrives"},
      {"arrival_s,isl,osl,first_token_ts,last_token_ts\n1700000000,2,3,5,6\n", "t:2: ", "clocks"},
  };
  for (const Broken& broken : kCases) {
    const std::string sentence = refusal(broken.text);
    EXPECT_TRUE(sentence.starts_with(broken.sentence)) << broken.text << "\n" << sentence;
    EXPECT_NE(sentence.find(broken.part), std::string::npos) << broken.text << "\n" << sentence;
  }
}

TEST(Trace, DeepJsonIsRefusedAndEndsSoon) {
  std::string deep = "{\"x\": ";
  deep.append(100000, '[');
  EXPECT_NE(refusal(deep).find("not a JSON object"), std::string::npos);
}

TEST(Trace, ALineIsBounded) {
  EXPECT_NE(refusal(std::string(std::size_t{1} << 24, 'x')).find("longer than"), std::string::npos);
}

TEST(Trace, ScalesAndCuts) {
  Trace trace = read("arrival_s,isl,osl\n0,1,1\n2,2,1\n4,3,1\n");
  scale_time(trace, 0.5);
  EXPECT_EQ(trace.duration_s(), 2.0);
  keep_first(trace, 2);
  EXPECT_EQ(trace.requests.size(), 2U);
  EXPECT_EQ(trace.duration_s(), 1.0);
  keep_first(trace, 9);
  EXPECT_EQ(trace.requests.size(), 2U);
}

// What was measured stays with its request.
TEST(Trace, DropsWhatIsTooLong) {
  Trace trace =
      read("arrival_s,isl,osl,first_token_ts,last_token_ts\n0,5,5,1,2\n1,6,5,2,3\n2,9,1,5,6\n");
  EXPECT_EQ(drop_longer_than(trace, 10), 1);
  ASSERT_EQ(trace.requests.size(), 2U);
  EXPECT_EQ(trace.requests[1].prompt_tokens, 9);
  ASSERT_EQ(trace.measured.size(), 2U);
  EXPECT_EQ(trace.measured[1].ttft_s, 3.0);
}

}  // namespace
}  // namespace pentafold
