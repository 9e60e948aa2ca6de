// Measurement files from strangers: rows that can be predicted, reasons, or a sentence.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "predict/measurement.h"

namespace {

using namespace pentafold;

void check_row(const Measurement& m) {
  CHECK(std::isfinite(m.value) && m.value > 0);
  CHECK(m.model != nullptr && m.cluster != nullptr && m.cluster->gpus == m.gpus);
  CHECK(m.pools.size() == 1 || m.pools.size() == 2);
  CHECK(m.input.low >= 1 && m.input.low <= m.input.high);
  CHECK(m.output.low >= 1 && m.output.low <= m.output.high);
  CHECK(m.load == LoadKind::AllQueued || m.concurrency >= 1);
  std::int64_t gpus = 0;
  for (const MeasuredPool& pool : m.pools) {
    const Worker& w = pool.worker;
    CHECK(w.tp >= 1 && w.dp >= 1 && w.ep >= 1 && w.etp >= 1 && w.pp() >= 1 && pool.replicas >= 1);
    CHECK(m.model->experts() == 0 || w.ep * w.etp == w.stage_ranks());
    gpus += pool.gpus();
  }
  CHECK(gpus == m.gpus && !configuration(m).empty());
}

// A header of all columns before the input, so that most inputs reach the rows.
constexpr const char* kColumns =
    "id,model,gpu,engine,weights_dtype,gpus_total,tp,ep,pp,dp_attn,disagg,prefill_cfg,decode_cfg,"
    "input_len,output_len,load,load_kind,metric,value,unit,quality,notes\n";

void check_file(const std::string& text) {
  const auto all = parse_measurements(text, "fuzz.csv");
  if (!all.ok()) {
    CHECK(!all.error().message.empty() && all.error().file == "fuzz.csv");
    return;
  }
  for (const Measurement& m : all->rows) check_row(m);
  for (const SkippedRow& row : all->skipped) CHECK(!row.detail.empty() && row.line > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check_file(text);
  check_file(kColumns + text);
  return 0;
}
