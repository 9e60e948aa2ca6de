#include "cli/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/quote.h"
#include "cli/verbs.h"
#include "predict/validate.h"

namespace pentafold {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kShown = {Property::Gpu,    Property::Model, Property::Engine,
                               Property::Metric, Property::Ep,    Property::Tp,
                               Property::Dp,     Property::Pp,    Property::Mode};

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin <= list.size() && !list.empty();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    out.push_back(list.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return out;
}

Result<std::vector<Property>> shown_properties(const std::string& by) {
  if (by.empty()) return std::vector<Property>(kShown.begin(), kShown.end());
  std::vector<Property> out;
  for (const std::string& name : parts_of(by)) {
    PF_ASSIGN(out.emplace_back(), parse_property(name));
  }
  return out;
}

using Filter = std::vector<std::pair<Property, std::string>>;

Result<Filter> parse_filter(const std::string& only) {
  Filter out;
  for (const std::string& part : parts_of(only)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("--only takes property=value, as in gpu=h200-sxm, not {}", quote_text(part)));
    }
    PF_ASSIGN(const Property property, parse_property(part.substr(0, equals)));
    out.emplace_back(property, part.substr(equals + 1));
  }
  return out;
}

// A property named twice may have either value.
bool passes(const Filter& filter, const Measurement& m) {
  return std::ranges::all_of(filter, [&](const auto& wanted) {
    return std::ranges::any_of(filter, [&](const auto& other) {
      return other.first == wanted.first && value_of(other.first, m) == other.second;
    });
  });
}

Json to_json(const ErrorStats& stats) {
  return {{"median", stats.median}, {"mean", stats.mean},          {"p90", stats.p90},
          {"bias", stats.bias},     {"coverage80", stats.covered}, {"n", stats.n}};
}

Json to_json(const ErrorTable& table) {
  Json out = Json::object();
  for (const ErrorTable::Row& row : table.rows) {
    Json& entry = out[row.label] = Json::object();
    for (std::size_t f = 0; f < kMetricFamilies; ++f) {
      if (row.stats[f].n > 0)
        entry[to_string(static_cast<MetricFamily>(f))] = to_json(row.stats[f]);
    }
  }
  return out;
}

Json to_json(const Validation& validation, const ValidationSummary& summary) {
  Json out = Json::object();
  for (std::size_t f = 0; f < kMetricFamilies; ++f) {
    out[to_string(static_cast<MetricFamily>(f))] = to_json(summary.by_family[f]);
  }
  out["pair_order"] = {{"right", summary.pair_order.right}, {"of", summary.pair_order.of}};
  out["pair_order_same_size"] = {{"right", summary.pair_order_same_size.right},
                                 {"of", summary.pair_order_same_size.of}};
  out["coverage80"] = summary.coverage80;
  out["rows"] = summary.rows;
  out["configurations"] = validation.configurations;
  out["mended"] = validation.mended;
  out["skipped"] = Json::object();
  for (const auto& [reason, n] : summary.skipped) out["skipped"][reason] = n;
  return out;
}

void print_json(const Validation& validation, const ValidationSummary& summary,
                const std::vector<Property>& by) {
  Json out = {{"summary", to_json(validation, summary)}, {"by", Json::object()}};
  for (const Property property : by) {
    out["by"][to_string(property)] = to_json(errors_by(validation, property));
  }
  fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

std::string order_text(const PairOrder& order) {
  if (order.of == 0) return "no pairs";
  return fmt::format("{} of {} right ({:.1f} %)", order.right, order.of,
                     100.0 * static_cast<double>(order.right) / static_cast<double>(order.of));
}

void print_text(const Validation& validation, const ValidationSummary& summary,
                const std::vector<Property>& by) {
  ErrorTable all{"errors in %", {"TPOT", "TTFT", "throughput"}, {{"all rows", {}}}};
  all.rows[0].stats.assign(summary.by_family.begin(), summary.by_family.end());
  fmt::print("{}\n", format_text(all));
  for (const Property property : by)
    fmt::print("{}\n", format_text(errors_by(validation, property)));
  fmt::print("pair order: {}; of layouts of as many GPUs: {}\n", order_text(summary.pair_order),
             order_text(summary.pair_order_same_size));
  fmt::print("80 % intervals cover {:.1f} % of {} rows, {} configurations\n",
             100 * summary.coverage80, summary.rows, validation.configurations);
  fmt::print("layouts mended: {} rows\n", validation.mended);
  fmt::print("skipped: {} rows\n", validation.skipped.size());
  for (const auto& [reason, n] : summary.skipped) fmt::print("  {:>6} {}\n", n, reason);
}

// A field of a CSV file, quoted where it must be.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string out;
  for (const std::string& field : fields) out += (out.empty() ? "" : ",") + csv_field(field);
  return out + "\n";
}

std::string digits(double value) {
  return fmt::format("{:.9g}", value);
}

Error unwritable(const std::string& path) {
  return make_error(ErrorCode::Io, "cannot be written; check the folder and the disk", path);
}

Status write_rows(std::ofstream& file, const std::string& path, const Validation& validation) {
  file << "line,id,skipped,detail,group,gpu,gpus,model,engine,version,precision,layout,job,mended,"
          "assumed,metric,measured,predicted,low,high,error\n";
  for (const ValidatedRow& row : validation.rows) {
    const Measurement& m = row.measurement;
    file << csv_line({std::to_string(m.line),
                      m.id,
                      "",
                      "",
                      m.group,
                      m.gpu_name,
                      std::to_string(m.gpus),
                      m.model_name,
                      m.engine,
                      m.engine_version,
                      value_of(Property::Precision, m),
                      layout(m),
                      job(m),
                      m.mended ? "1" : "0",
                      m.assumed ? "1" : "0",
                      to_string(m.metric),
                      digits(m.value),
                      digits(row.predicted.value),
                      digits(row.predicted.low),
                      digits(row.predicted.high),
                      fmt::format("{:.6f}", row.error())});
  }
  constexpr const char* kNoPrediction = ",,,,,,,,,,,,,,,,,";
  for (const SkippedRow& row : validation.skipped) {
    std::string line =
        csv_line({std::to_string(row.line), row.id, to_string(row.reason), row.detail});
    line.insert(line.size() - 1, kNoPrediction);
    file << line;
  }
  file.close();
  if (!file) return unwritable(path);
  return ok_status();
}

void print_progress(std::int64_t done, std::int64_t all) {
  const std::int64_t step = std::max<std::int64_t>(all / 20, 1);
  if (done % step != 0 && done != all) return;
  std::fprintf(stderr, "validate: %lld of %lld configurations\n", static_cast<long long>(done),
               static_cast<long long>(all));
}

Status run_validation(const ValidateVerbOptions& o) {
  PF_ASSIGN(const std::vector<Property> by, shown_properties(o.by));
  PF_ASSIGN(const Filter filter, parse_filter(o.only));
  PF_ASSIGN(Measurements measurements, read_measurements(o.file));
  std::ofstream rows_out;  // opened before the work, so that a wrong path is told at once
  if (!o.rows_out.empty()) {
    rows_out.open(o.rows_out, std::ios::binary);
    if (!rows_out) return unwritable(o.rows_out);
  }
  std::erase_if(measurements.rows, [&](const Measurement& m) { return !passes(filter, m); });
  ValidateOptions options;
  options.threads = o.threads > 0
                        ? o.threads
                        : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (!o.quiet) options.progress = print_progress;
  const Validation validation = validate_measurements(std::move(measurements), options);
  const ValidationSummary summary = summarize(validation);
  if (!o.rows_out.empty()) PF_TRY(write_rows(rows_out, o.rows_out, validation));
  if (o.json) {
    print_json(validation, summary, by);
  } else {
    print_text(validation, summary, by);
  }
  return ok_status();
}

}  // namespace

int validate_verb(const ValidateVerbOptions& options) {
  const Status status = run_validation(options);
  return status.ok() ? 0 : report_error(status.error());
}

}  // namespace pentafold
