// The file: columns by name, rows one by one, models and devices shared between them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/quote.h"
#include "predict/measurement_checks.h"
#include "predict/measurement_row.h"
#include "spec/csv_rows.h"
#include "spec/load_shape.h"
#include "spec/model_names.h"

namespace pentafold {
namespace {

constexpr std::size_t kMaxRows = 200'000;
constexpr std::size_t kMaxKnown = 4096;  // different names looked up
constexpr std::array kNeeded = {Column::Id,  Column::Engine, Column::Model,
                                Column::Gpu, Column::Metric, Column::Value};

// Column of the file for each of ours; -1: it has none.
using Places = std::array<std::ptrdiff_t, kColumnNames.size()>;

Result<Places> find_columns(const std::vector<std::string>& header, const CsvRows& rows) {
  Places places;
  for (std::size_t c = 0; c < places.size(); ++c) {
    const auto found = std::ranges::find(header, kColumnNames[c]);
    places[c] = found == header.end() ? -1 : found - header.begin();
  }
  for (const Column column : kNeeded) {
    const auto c = static_cast<std::size_t>(column);
    if (places[c] >= 0) continue;
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("has no column {}; the first line must name the columns, at "
                                  "least id, engine, model, gpu, metric and value",
                                  quote_text(std::string(kColumnNames[c]))),
                      rows.file(), rows.line());
  }
  return places;
}

class Reader {
 public:
  Measurements take() {
    check_measurements(out_);
    std::ranges::stable_sort(out_.skipped, {}, &SkippedRow::line);
    return std::move(out_);
  }

  void add(const MeasurementRow& row) {
    Measurement m;
    m.line = row.line;
    m.id = row[Column::Id];
    m.group = row[Column::Group];
    m.run = run_of(row);
    if (auto bad = understand(row, m)) {
      out_.skipped.push_back({row.line, m.id, bad->reason, std::move(bad->detail)});
    } else {
      out_.rows.push_back(std::move(m));
    }
  }

 private:
  // The metrics of one run differ in the end of the id, and in what belongs to the metric.
  static std::string run_of(const MeasurementRow& row) {
    const std::string& id = row[Column::Id];
    std::string out = id.substr(0, id.rfind('-'));
    for (const Column c : {Column::Group, Column::Engine, Column::EngineVersion, Column::Model,
                           Column::WeightsDtype, Column::Gpu, Column::GpusTotal, Column::Tp,
                           Column::Ep, Column::Pp, Column::DpAttn, Column::PrefillCfg,
                           Column::DecodeCfg, Column::InputLen, Column::OutputLen, Column::Load}) {
      out += '\n' + row[c];
    }
    return out;
  }

  Understood understand(const MeasurementRow& row, Measurement& m) {
    const std::string draft = lowered(row[Column::SpecDecoding]);
    if (!draft.empty() && draft != "none" && draft != "off" && draft != "no" && draft != "n") {
      return skip(SkipReason::Speculative, row, Column::SpecDecoding);
    }
    const std::string quality = lowered(row[Column::Quality]);
    if (!quality.empty() && quality != "a" && quality != "b") {
      return skip(SkipReason::LowQuality, row, Column::Quality);
    }
    m.quality = quality == "b" ? 'B' : 'A';
    if (auto bad = read_metric(row, m)) return bad;
    if (auto bad = read_engine(row, m)) return bad;
    if (auto bad = find_model(row, m)) return bad;
    if (auto bad = find_device(row, m)) return bad;
    if (auto bad = read_lengths(row, m)) return bad;
    if (auto bad = read_load(row, m)) return bad;
    if (auto bad = read_layout(row, m)) return bad;
    if (auto bad = read_precision(row, m)) return bad;
    return set_cluster(row, m);
  }

  Understood find_model(const MeasurementRow& row, Measurement& m) {
    const std::string& name = row[Column::Model];
    auto found = models_.find(name);
    if (found == models_.end()) {
      if (models_.size() >= kMaxKnown) return skip(SkipReason::UnknownModel, row, Column::Model);
      std::shared_ptr<const ModelShape> shape;
      if (const auto known = catalog_name_of(name)) {
        auto input = load_shape(*known);
        if (input.ok()) shape = std::make_shared<const ModelShape>(std::move(input->model));
      }
      found = models_.emplace(name, std::move(shape)).first;
    }
    if (found->second == nullptr) return skip(SkipReason::UnknownModel, row, Column::Model);
    m.model = found->second;
    m.model_name = m.model->name;
    return std::nullopt;
  }

  Understood find_device(const MeasurementRow& row, Measurement& m) {
    const std::string& name = row[Column::Gpu];
    auto found = gpus_.find(name);
    if (found == gpus_.end()) {
      if (gpus_.size() >= kMaxKnown) return skip(SkipReason::UnknownGpu, row, Column::Gpu);
      const auto gpu = find_gpu(name);
      found = gpus_.emplace(name, gpu.ok() ? std::optional(*gpu) : std::nullopt).first;
    }
    if (!found->second) return skip(SkipReason::UnknownGpu, row, Column::Gpu);
    m.gpu_name = found->second->name;
    return std::nullopt;
  }

  Understood set_cluster(const MeasurementRow& row, Measurement& m) {
    auto& cluster = clusters_[{m.gpu_name, m.gpus}];
    if (cluster == nullptr) {
      if (clusters_.size() > kMaxKnown) return skip(SkipReason::UnknownGpu, row, Column::GpusTotal);
      cluster =
          std::make_shared<const ClusterSpec>(default_cluster(*gpus_.at(row[Column::Gpu]), m.gpus));
    }
    m.cluster = cluster;
    return std::nullopt;
  }

  Measurements out_;
  std::map<std::string, std::shared_ptr<const ModelShape>> models_;
  std::map<std::string, std::optional<GpuSpec>> gpus_;
  std::map<std::pair<std::string, std::int64_t>, std::shared_ptr<const ClusterSpec>> clusters_;
};

Result<Measurements> read_rows(CsvRows rows) {
  std::vector<std::string> fields;
  PF_ASSIGN(const bool any, rows.next(fields));
  if (!any) return make_error(ErrorCode::InvalidSpec, "is empty", rows.file());
  PF_ASSIGN(const Places places, find_columns(fields, rows));
  const std::size_t width = fields.size();
  Reader reader;
  for (std::size_t n = 0;; ++n) {
    PF_ASSIGN(const bool more, rows.next(fields));
    if (!more) return reader.take();
    if (n >= kMaxRows || fields.size() != width) {
      return make_error(ErrorCode::InvalidSpec,
                        n >= kMaxRows
                            ? fmt::format("has more than {} rows; cut the file", kMaxRows)
                            : fmt::format("has {} fields, the first line {}; quote the fields that "
                                          "hold commas",
                                          fields.size(), width),
                        rows.file(), rows.line());
    }
    MeasurementRow row;
    row.line = rows.line();
    for (std::size_t c = 0; c < places.size(); ++c) {
      if (places[c] >= 0) row.fields[c] = std::move(fields[static_cast<std::size_t>(places[c])]);
    }
    reader.add(row);
  }
}

}  // namespace

Result<Measurements> read_measurements(const std::string& path) {
  PF_ASSIGN(CsvRows rows, CsvRows::open(path));
  return read_rows(std::move(rows));
}

Result<Measurements> parse_measurements(std::string_view text, const std::string& file) {
  return read_rows(CsvRows(text, file));
}

}  // namespace pentafold
