// measurement_row: one row of a measurements file in its author's words, and why one is skipped.
//
// Within predict's measurement_*.cc only. Held by predict/measurement_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "predict/measurement.h"

namespace pentafold {

enum class Column : std::size_t {
  Id,
  Group,
  SourceTitle,
  Date,
  Engine,
  EngineVersion,
  Model,
  WeightsDtype,
  KvDtype,
  Gpu,
  GpusTotal,
  Tp,
  Ep,
  Pp,
  DpAttn,
  SpCp,
  Disagg,
  PrefillCfg,
  DecodeCfg,
  InputLen,
  OutputLen,
  Load,
  LoadKind,
  Phase,
  Metric,
  Value,
  Unit,
  SpecDecoding,
  Quality,
  Notes,
};
inline constexpr std::array<std::string_view, 30> kColumnNames = {"id",           "group",
                                                                  "source_title", "date",
                                                                  "engine",       "engine_version",
                                                                  "model",        "weights_dtype",
                                                                  "kv_dtype",     "gpu",
                                                                  "gpus_total",   "tp",
                                                                  "ep",           "pp",
                                                                  "dp_attn",      "sp_cp",
                                                                  "disagg",       "prefill_cfg",
                                                                  "decode_cfg",   "input_len",
                                                                  "output_len",   "load",
                                                                  "load_kind",    "phase",
                                                                  "metric",       "value",
                                                                  "unit",         "spec_decoding",
                                                                  "quality",      "notes"};

struct MeasurementRow {
  int line = 0;
  std::array<std::string, kColumnNames.size()> fields;
  const std::string& operator[](Column c) const { return fields[static_cast<std::size_t>(c)]; }
};

struct Skip {
  SkipReason reason = SkipReason::Malformed;
  std::string detail;
};
// nullopt: the row was understood.
using Understood = std::optional<Skip>;
// "tp \"x\"", shortened and printable.
Skip skip(SkipReason reason, const MeasurementRow& row, Column column);

// Of the whole text, blanks at its ends aside; nullopt if it is anything else or not finite.
std::optional<double> read_number(std::string_view text);
// Likewise, 0 to 2^30.
std::optional<std::int64_t> read_count(std::string_view text);
std::string lowered(std::string_view text);
// "2025-11" of "2025-11-10", "2025-11" or "20251110"; empty of anything else.
std::string read_month(std::string_view text);
// The number that stands before `after` in the text ("over 80 requests", " requests" -> 80).
std::optional<std::int64_t> count_before(std::string_view text, std::string_view after);

// Runs of InferenceX's client draw lengths uniformly from 0.8 to 1 times the nominal ones and send
// ten times as many requests as are in flight.
bool from_inferencex(const MeasurementRow& row);

// measurement_layout.cc: pools, gpus, assumed. Reads m.model.
Understood read_layout(const MeasurementRow& row, Measurement& m);
// measurement_terms.cc
Understood read_metric(const MeasurementRow& row, Measurement& m);
Understood read_load(const MeasurementRow& row, Measurement& m);
Understood read_lengths(const MeasurementRow& row, Measurement& m);
Understood read_engine(const MeasurementRow& row, Measurement& m);
// Formats of m.pools' workers; after the layout and the engine.
Understood read_precision(const MeasurementRow& row, Measurement& m);

}  // namespace pentafold
