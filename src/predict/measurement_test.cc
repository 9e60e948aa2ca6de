#include "predict/measurement.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/scratch_folder.h"

namespace pentafold {
namespace {

using Fields = std::map<std::string, std::string>;

// A row of a plain TP8 run; what a test changes is in `fields`.
Fields row(const Fields& fields) {
  Fields out = {{"id", "r-mean_tpot"},
                {"engine", "sglang"},
                {"model", "openai/gpt-oss-120b"},
                {"gpu", "H200 SXM 141GB"},
                {"gpus_total", "8"},
                {"tp", "8"},
                {"ep", "1"},
                {"pp", "1"},
                {"dp_attn", "off"},
                {"disagg", "n"},
                {"input_len", "1024"},
                {"output_len", "512"},
                {"load", "64"},
                {"load_kind", "concurrency"},
                {"metric", "mean_tpot"},
                {"value", "12.5"},
                {"unit", "ms"},
                {"quality", "A"}};
  for (const auto& [key, value] : fields) out[key] = value;
  return out;
}

std::string file_of(const std::vector<Fields>& rows) {
  const std::vector<std::string> columns = {
      "id",         "engine",      "model",      "weights_dtype",
      "kv_dtype",   "gpu",         "gpus_total", "tp",
      "ep",         "pp",          "dp_attn",    "sp_cp",
      "disagg",     "prefill_cfg", "decode_cfg", "input_len",
      "output_len", "load",        "load_kind",  "phase",
      "metric",     "value",       "unit",       "spec_decoding",
      "quality",    "notes",       "colour",     "date"};
  std::string text;
  for (const std::string& column : columns) text += (text.empty() ? "" : ",") + column;
  for (const Fields& fields : rows) {
    text += '\n';
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto found = fields.find(columns[i]);
      text += (i == 0 ? "\"" : ",\"") + (found == fields.end() ? "" : found->second) + '"';
    }
  }
  return text + '\n';
}

Measurements read(const std::vector<Fields>& rows) {
  auto out = parse_measurements(file_of(rows), "m.csv");
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  return out.ok() ? std::move(out).value() : Measurements{};
}

Measurement one(const Fields& fields) {
  Measurements all = read({row(fields)});
  EXPECT_EQ(all.rows.size(), 1U) << (all.skipped.empty() ? "" : all.skipped.front().detail);
  return all.rows.empty() ? Measurement{} : all.rows.front();
}

// "unknown layout: tp \"x\"".
std::string skipped(const Fields& fields) {
  const Measurements all = read({row(fields)});
  if (all.skipped.size() != 1 || !all.rows.empty()) return "not skipped";
  return std::string(to_string(all.skipped[0].reason)) + ": " + all.skipped[0].detail;
}

TEST(Measurements, APlainRow) {
  const Measurement m = one({});
  EXPECT_EQ(m.model_name, "gpt-oss-120b");
  EXPECT_EQ(m.gpu_name, "h200-sxm");
  EXPECT_EQ(m.engine, "sglang");
  EXPECT_EQ(m.gpus, 8);
  EXPECT_EQ(m.cluster->gpus, 8);
  ASSERT_EQ(m.pools.size(), 1U);
  EXPECT_EQ(m.pools[0].worker.tp, 8);
  EXPECT_EQ(m.pools[0].worker.ep, 1);
  EXPECT_EQ(m.pools[0].worker.etp, 8) << "experts fold onto the ranks of attention";
  EXPECT_EQ(m.pools[0].worker.precision.experts, NumberFormat::MXFP4) << "as published";
  EXPECT_EQ(m.concurrency, 64);
  EXPECT_EQ(m.load, LoadKind::ClosedLoop);
  EXPECT_EQ(m.input, (LengthRange{1024, 1024}));
  EXPECT_DOUBLE_EQ(m.value, 0.0125);
  EXPECT_EQ(to_string(m.metric), "mean TPOT");
  EXPECT_EQ(m.line, 2);
}

TEST(Measurements, MonthsOfDatesThatNameOne) {
  for (const auto& [date, month] :
       std::initializer_list<std::pair<const char*, const char*>>{{"2025-11-10", "2025-11"},
                                                                  {"2025-11", "2025-11"},
                                                                  {"20251110", "2025-11"},
                                                                  {"", ""},
                                                                  {"2025", ""},
                                                                  {"202511", ""},
                                                                  {"2025-13-01", ""},
                                                                  {"<=2025-11-10", ""},
                                                                  {"2024-10?", ""},
                                                                  {"2025-1-1", ""},
                                                                  {" 2025-11 ", "2025-11"}}) {
    EXPECT_EQ(one({{"date", date}}).month, month) << date;
  }
  EXPECT_EQ(one({{"date", std::string(400000, ' ') + std::string(400000, '1')}}).month, "");
  EXPECT_EQ(engine_then(one({{"date", "2025-11-10"}})), "sglang@2025-11");
  EXPECT_EQ(engine_then(one({})), "sglang");
}

struct LayoutCase {
  Fields fields;
  const char* layout;
  std::int64_t tp, dp, ep, etp, pp, replicas;
};

TEST(Measurements, LayoutsAsEachSourceWritesThem) {
  const std::vector<LayoutCase> cases = {
      {{}, "tp8", 8, 1, 1, 8, 1, 1},
      {{{"ep", "8"}}, "tp8 ep8", 8, 1, 8, 1, 1, 1},
      {{{"ep", "4"}}, "tp8 ep4", 8, 1, 4, 2, 1, 1},
      {{{"dp_attn", "on"}, {"ep", "8"}}, "dp8 ep8", 1, 8, 8, 1, 1, 1},
      {{{"dp_attn", "on?"}, {"ep", "=tp?"}}, "dp8 ep8", 1, 8, 8, 1, 1, 1},
      {{{"dp_attn", "on (dp4)"}, {"ep", "4"}}, "dp4 tp2 ep4", 2, 4, 4, 2, 1, 1},
      // tp and dp multiply where the devices say so, else dp divides tp.
      {{{"tp", "1"}, {"dp_attn", "8"}, {"ep", "8"}}, "dp8 ep8", 1, 8, 8, 1, 1, 1},
      {{{"tp", "2"}, {"dp_attn", "4"}, {"ep", "8"}}, "dp4 tp2 ep8", 2, 4, 8, 1, 1, 1},
      {{{"tp", "8"}, {"dp_attn", "8"}, {"ep", "8"}}, "dp8 ep8", 1, 8, 8, 1, 1, 1},
      {{{"tp", "2"}}, "4 x tp2", 2, 1, 1, 2, 1, 4},
      {{{"tp", "2"}, {"pp", "4"}}, "pp4 tp2", 2, 1, 1, 2, 4, 1},
      {{{"gpus_total", ""}, {"ep", ""}, {"pp", ""}, {"dp_attn", "1"}}, "tp8", 8, 1, 1, 8, 1, 1},
      {{{"gpus_total", "0"}, {"ep", "0"}, {"dp_attn", "0"}}, "tp8", 8, 1, 1, 8, 1, 1},
  };
  for (const LayoutCase& c : cases) {
    const Measurement m = one(c.fields);
    ASSERT_EQ(m.pools.size(), 1U) << c.layout;
    const MeasuredPool& pool = m.pools[0];
    EXPECT_EQ(layout(m), c.layout);
    EXPECT_EQ(pool.worker.tp, c.tp) << c.layout;
    EXPECT_EQ(pool.worker.dp, c.dp) << c.layout;
    EXPECT_EQ(pool.worker.ep, c.ep) << c.layout;
    EXPECT_EQ(pool.worker.etp, c.etp) << c.layout;
    EXPECT_EQ(pool.worker.pp(), c.pp) << c.layout;
    EXPECT_EQ(pool.replicas, c.replicas) << c.layout;
    EXPECT_EQ(m.gpus, pool.gpus());
    std::int64_t layers = 0;
    for (const std::int64_t n : pool.worker.stage_layers) layers += n;
    EXPECT_EQ(layers, m.model->num_layers());
  }
}

TEST(Measurements, SplitLayouts) {
  const auto split = [](const char* prefill, const char* decode, const char* gpus) {
    return Fields{{"disagg", "y"},
                  {"tp", ""},
                  {"ep", ""},
                  {"dp_attn", ""},
                  {"prefill_cfg", prefill},
                  {"decode_cfg", decode},
                  {"gpus_total", gpus},
                  {"model", "deepseek-ai/DeepSeek-R1-0528"}};
  };
  const Measurement m =
      one(split("2x(tp8,ep8,dpattn=on) on 16 GPUs", "1x(tp8,ep1,dpattn=off) on 8 GPUs", "24"));
  EXPECT_EQ(layout(m), "2 x dp8 ep8 + tp8");
  EXPECT_EQ(m.pools[0].role, Role::Prefill);
  EXPECT_EQ(m.pools[1].role, Role::Decode);
  EXPECT_EQ(m.gpus, 24);
  EXPECT_EQ(layout(one(split("1x(tp1,attn_dp4,moe_tp1,moe_ep4,pp1,bs1)",
                             "5x(tp8,attn_dp1,moe_tp1,moe_ep8,pp1,bs64)", "44"))),
            "dp4 ep4 + 5 x tp8 ep8");
  EXPECT_EQ(layout(one(split("1x(tp1,ep8,dpattn=off) on 8 GPUs", "1x(tp8,ep8,dpattn=on) on 16 GPUs",
                             "24"))),
            "dp8 ep8 + dp16 ep8");
  // A count that is not stated follows from the devices if it is the only one.
  EXPECT_EQ(layout(one(split("1x(tp4)", "x(tp8)", "20"))), "tp4 + 2 x tp8");
  const Measurement wide = one(split("1x(tp8)", "1x(tp48,ep48,dpattn=on) on 48 GPUs", "56"));
  EXPECT_EQ(wide.pools[1].worker.redundant, 32) << "256 experts in 48 equal groups";

  EXPECT_TRUE(skipped(split("x(tp4)", "x(tp4)", "0")).starts_with("unknown layout: prefill_cfg"));
  EXPECT_TRUE(skipped(split("1x(tp4)", "wide-EP DP32", "0")).starts_with("unknown layout: decode"));
  EXPECT_TRUE(skipped(split("1x(tp4)", "1x(tp4,zz3)", "8")).starts_with("unknown layout: decode"));
  EXPECT_TRUE(skipped(split("1x(tp4)", "1x(tp4)", "9")).starts_with("contradicts itself"));
}

TEST(Measurements, EachReasonToSkipNamesItsField) {
  const std::vector<std::pair<Fields, std::string>> cases = {
      {{{"gpu", "80GB class"}}, "unknown GPU: gpu \"80GB class\""},
      {{{"model", "acme/rocket-9b"}}, "unknown model: model \"acme/rocket-9b\""},
      {{{"engine", "mango"}}, "unknown engine: engine \"mango\""},
      {{{"weights_dtype", "fp5"}}, "unknown number format: weights_dtype \"fp5\""},
      {{{"tp", ""}}, "unknown layout: tp \"\""},
      {{{"ep", "unknown"}}, "unknown layout: ep \"unknown\""},
      {{{"ep", "3"}}, "unknown layout: ep \"3\""},
      {{{"sp_cp", "4"}}, "unknown layout: sp_cp \"4\""},
      {{{"gpus_total", "12"}}, "contradicts itself: gpus_total \"12\""},
      {{{"input_len", "OpenOrca"}}, "unknown lengths: input_len \"OpenOrca\""},
      {{{"output_len", "0"}}, "unknown lengths: output_len \"0\""},
      {{{"load", ""}}, "unknown load: load \"\""},
      {{{"load_kind", "saturated"}}, "unknown load: load_kind \"saturated\""},
      {{{"load_kind", "Server: Poisson"}},
       "arrivals not in the row: load_kind \"Server: Poisson\""},
      {{{"phase", "decode"}}, "one phase alone: phase \"decode\""},
      {{{"metric", "weights_memory"}}, "metric not predicted: metric \"weights_memory\""},
      {{{"unit", "GiB"}}, "metric not predicted: unit \"GiB\""},
      {{{"spec_decoding", "mtp"}}, "speculative decoding: spec_decoding \"mtp\""},
      {{{"quality", "C"}}, "low quality: quality \"C\""},
      {{{"value", "fast"}}, "malformed: value \"fast\""},
      {{{"value", "-1"}}, "malformed: value \"-1\""},
      {{{"metric", "mean_ttft"}, {"notes", "queueing (do not validate TTFT)"}},
       "doubted by its source: notes say not to compare TTFT"},
  };
  for (const auto& [fields, said] : cases) EXPECT_EQ(skipped(fields), said);
}

TEST(Measurements, Metrics) {
  const auto metric = [](const char* name, const char* unit) {
    const Measurement m = one({{"metric", name}, {"unit", unit}, {"value", "8"}});
    return std::pair(to_string(m.metric), m.value);
  };
  EXPECT_EQ(metric("median_ttft", "ms"), std::pair(std::string("median TTFT"), 0.008));
  EXPECT_EQ(metric("p99_tpot", "s"), std::pair(std::string("p99 TPOT"), 8.0));
  EXPECT_EQ(metric("e2e_latency", "ms").first, "mean E2E");
  EXPECT_EQ(metric("output_tput_total", "tok/s").first, "output tokens/s");
  EXPECT_EQ(metric("output_tput_per_gpu", "tok/s/GPU").first, "output tokens/s/GPU");
  EXPECT_EQ(metric("total_tput_per_gpu", "tok/s/GPU").first, "total tokens/s/GPU");
  EXPECT_EQ(metric("input_throughput", "tok/s").first, "input tokens/s");
  EXPECT_EQ(metric("total_tokens_per_s_bs1", "tok/s").first, "total tokens/s");
  EXPECT_EQ(metric("request_tput", "req/s").first, "requests/s");
}

TEST(Measurements, LoadsAndLengths) {
  const Measurement offline =
      one({{"load", "all requests queued"}, {"load_kind", "infinite rate (offline)"}});
  EXPECT_EQ(offline.load, LoadKind::AllQueued);
  EXPECT_EQ(offline.concurrency, 0);
  EXPECT_EQ(one({{"load_kind", "static batch size"}}).load, LoadKind::StaticBatch);
  EXPECT_EQ(one({{"load_kind", "batch_size field"}}).load, LoadKind::ClosedLoop);

  const Measurement drawn = one({{"notes", "lengths (random-range-ratio 0.8), closed loop"}});
  EXPECT_EQ(drawn.input, (LengthRange{0.8 * 1024, 1024}));
  EXPECT_EQ(drawn.requests, 640);
  const Measurement wide = one(
      {{"input_len", "496"}, {"notes", "mean lengths over 80 requests; lengths uniform in [1,L]"}});
  EXPECT_EQ(wide.input, (LengthRange{1, 991}));
  EXPECT_EQ(wide.input.mean(), 496);
  EXPECT_EQ(wide.requests, 80);
  EXPECT_EQ(one({{"input_len", "100-200"}}).input, (LengthRange{100, 200}));
}

TEST(Measurements, NumberFormats) {
  const auto precision = [](const char* model, const char* weights, const char* kv,
                            const char* engine) {
    return one({{"model", model}, {"weights_dtype", weights}, {"kv_dtype", kv}, {"engine", engine}})
        .pools.front()
        .worker.precision;
  };
  const char* dense = "meta-llama/Llama-3.3-70B-Instruct";
  const char* moe = "deepseek-ai/DeepSeek-R1-0528";
  EXPECT_EQ(precision(dense, "nvfp4", "", "vllm").linear, NumberFormat::NVFP4);
  EXPECT_EQ(precision(dense, "fp8", "", "vllm").kv, NumberFormat::BF16);
  EXPECT_EQ(precision(dense, "fp8", "", "trtllm").kv, NumberFormat::FP8);
  EXPECT_EQ(precision(dense, "bf16", "", "dynamo-trt").kv, NumberFormat::BF16);
  EXPECT_EQ(precision(moe, "fp8/moe:fp8_block", "", "sglang").experts, NumberFormat::FP8);
  EXPECT_EQ(precision(moe, "nvfp4 (MoE+o_proj), fp8", "fp8?", "sglang").experts,
            NumberFormat::NVFP4);
  EXPECT_EQ(precision(moe, "nvfp4", "", "sglang").linear, NumberFormat::BF16);
  EXPECT_EQ(precision("openai/gpt-oss-120b", "nvfp4", "", "vllm").experts, NumberFormat::MXFP4);
  EXPECT_EQ(precision("Qwen/Qwen3-32B", "", "", "vllm").linear, NumberFormat::BF16);
}

// Three rows of one run that obeys Little's law on `true_gpus` devices.
std::vector<Fields> run_of(const std::string& id, double true_gpus, Fields fields) {
  const double ttft = 0.4;
  const double tpot = 0.010;
  const double in = 0.9 * 1024;
  const double out = 0.9 * 512;
  const double rate = 0.97 * 64 / (ttft + (out - 1) * tpot);
  fields["notes"] = "random-range-ratio 0.8";
  std::vector<Fields> rows;
  for (const auto& [metric, unit, value] :
       {std::tuple("mean_ttft", "ms", 1e3 * ttft), std::tuple("mean_tpot", "ms", 1e3 * tpot),
        std::tuple("total_tput_per_gpu", "tok/s/GPU", rate * (in + out) / true_gpus)}) {
    fields["id"] = id + "-" + metric;
    fields["metric"] = metric;
    fields["unit"] = unit;
    fields["value"] = std::to_string(value);
    rows.push_back(row(fields));
  }
  return rows;
}

TEST(MeasurementChecks, LittlesLawKeepsSoundRunsAndDropsMixedOnes) {
  EXPECT_EQ(read(run_of("a", 8, {})).rows.size(), 3U);
  const Measurements mixed = read(run_of("a", 16, {}));
  EXPECT_TRUE(mixed.rows.empty());
  ASSERT_EQ(mixed.skipped.size(), 3U);
  EXPECT_EQ(mixed.skipped[0].reason, SkipReason::ContradictsItself);
  EXPECT_NE(mixed.skipped[0].detail.find("rate x latency is 0.4"), std::string::npos);
}

TEST(MeasurementChecks, DevicesMultipliedByTheExpertDegreeAreDivided) {
  const Fields stated = {{"tp", "4"}, {"ep", "16"}, {"dp_attn", "4"}, {"gpus_total", "16"}};
  const Measurements mended = read(run_of("a", 4, stated));
  ASSERT_EQ(mended.rows.size(), 3U);
  EXPECT_EQ(mended.mended, 3);
  for (const Measurement& m : mended.rows) {
    EXPECT_EQ(layout(m), "tp4 ep4");
    EXPECT_EQ(m.gpus, 4);
    EXPECT_EQ(m.cluster->gpus, 4);
  }
  // A true run on 16 devices reads the same and is left alone.
  const Measurements sound = read(run_of("a", 16, stated));
  EXPECT_EQ(sound.mended, 0);
  EXPECT_EQ(layout(sound.rows.at(0)), "dp4 tp4 ep16");
}

TEST(MeasurementChecks, ARunWithoutARateIsJudgedByItsSeriesAndItsId) {
  const Fields stated = {{"tp", "4"}, {"ep", "16"}, {"dp_attn", "4"}, {"gpus_total", "16"}};
  std::vector<Fields> rows = run_of("a", 4, stated);
  std::vector<Fields> other = run_of("b", 4, stated);
  rows.insert(rows.end(), other.begin(), other.end() - 1);
  EXPECT_EQ(read(rows).mended, 5);

  other.pop_back();
  EXPECT_EQ(read(other).mended, 0) << "nothing proves it";
  Fields named = stated;
  std::vector<Fields> by_id = run_of("x_c64_tp4_ep4_1377", 4, named);
  by_id.pop_back();
  EXPECT_EQ(read(by_id).mended, 2);
}

TEST(Measurements, ReadsGzip) {
  const testing::ScratchFolder folder;
  const std::string path = folder.path("m.csv.gz");
  const std::string text = file_of({row({}), row({{"tp", "4"}})});
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  const auto all = read_measurements(path);
  ASSERT_TRUE(all.ok()) << all.error().to_string();
  EXPECT_EQ(all->rows.size(), 2U);
}

TEST(Measurements, AFileThatIsNoneIsRefusedWithASentence) {
  EXPECT_NE(parse_measurements("", "m.csv").error().to_string().find("is empty"),
            std::string::npos);
  EXPECT_NE(
      parse_measurements("id,gpu\n", "m.csv").error().to_string().find("no column \"engine\""),
      std::string::npos);
  const std::string ragged = file_of({row({})}) + "a,b\n";
  EXPECT_NE(parse_measurements(ragged, "m.csv").error().to_string().find("m.csv:3: has 2 fields"),
            std::string::npos);
  EXPECT_EQ(read_measurements("no/such.csv").error().code, ErrorCode::Io);
}

}  // namespace
}  // namespace pentafold
