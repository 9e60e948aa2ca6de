#include "spec/expert_histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/quote.h"
#include "base/text_file.h"
#include "spec/json_reader.h"

namespace pentafold {
namespace {

constexpr std::size_t kMaxBytes = 16'000'000;
constexpr std::int64_t kMostLayers = 4096;
constexpr std::int64_t kMostExperts = 65536;
constexpr std::int64_t kMostCells = std::int64_t{1} << 20;
// Sums of it over all rows of the largest file stay within 64 bits, and it within a double.
constexpr std::int64_t kMostCount = std::int64_t{1} << 40;

// Counts by (layer, expert) while their extent is not yet known.
class Tally {
 public:
  void add(std::int64_t layer, std::int64_t expert, std::int64_t count) {
    cells_[{layer, expert}] += count;
    experts_ = std::max(experts_, expert + 1);
  }
  bool full() const { return std::ssize(cells_) > kMostCells; }

  Result<ExpertHistogram> table(const std::string& file) const {
    ExpertHistogram out;
    out.file = file;
    out.experts = experts_;
    for (const auto& [place, count] : cells_) {
      if (out.layers.empty() || out.layers.back() != place.first) out.layers.push_back(place.first);
    }
    const auto refused = [&](std::string why) {
      return make_error(ErrorCode::InvalidSpec, std::move(why), file);
    };
    if (out.layers.empty()) return refused("counts no expert; give it a row for each that was");
    const auto layers = static_cast<std::int64_t>(out.layers.size());
    if (layers * experts_ > kMostCells) {
      return refused(
          fmt::format("{} layers of {} experts are more than {} counts; is the expert "
                      "column the right one?",
                      layers, experts_, kMostCells));
    }
    out.counts.resize(static_cast<std::size_t>(layers * experts_));
    std::size_t at = 0;
    for (const auto& [place, count] : cells_) {
      while (out.layers[at] != place.first) ++at;
      out.counts[at * static_cast<std::size_t>(experts_) + static_cast<std::size_t>(place.second)] =
          count;
    }
    for (std::size_t i = 0; i < out.layers.size(); ++i) {
      if (std::ranges::any_of(out.row(i), [](std::int64_t n) { return n > 0; })) continue;
      return refused(fmt::format("layer {}: every count is 0, so no load follows; leave it out",
                                 out.layers[i]));
    }
    return out;
  }

 private:
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> cells_;
  std::int64_t experts_ = 0;
};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\"");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\"") - begin + 1);
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  while (true) {
    const std::size_t comma = line.find(',');
    cells.push_back(trimmed(line.substr(0, comma)));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Result<ExpertHistogram> read() {
    PF_TRY(read_header());
    while (next_line()) {
      if (trimmed(line_).empty()) continue;
      PF_TRY(read_row());
    }
    return tally_.table(file_);
  }

 private:
  bool next_line() {
    if (text_.empty()) return false;
    const std::size_t end = text_.find('\n');
    line_ = text_.substr(0, end);
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
    ++number_;
    return true;
  }

  Error refused(std::string why) const {
    return make_error(ErrorCode::InvalidSpec, std::move(why), file_, number_);
  }

  static std::optional<std::size_t> find(const std::vector<std::string_view>& names,
                                         std::initializer_list<std::string_view> wanted) {
    const auto at = std::ranges::find_first_of(names, wanted);
    if (at == names.end()) return std::nullopt;
    return static_cast<std::size_t>(at - names.begin());
  }

  Status read_header() {
    if (!next_line()) return refused("is empty; expected a header with layer, expert and count");
    const std::vector<std::string_view> names = cells_of(line_);
    columns_ = names.size();
    const auto layer = find(names, {"layer", "moe_layer"});
    const auto expert = find(names, {"expert"});
    const auto count = find(names, {"count"});
    for (const auto& [at, name] :
         {std::pair(layer, "layer"), std::pair(expert, "expert"), std::pair(count, "count")}) {
      if (!at) {
        return refused(fmt::format("the header has no column {}; expected layer, expert and count",
                                   quote_text(name)));
      }
    }
    layer_ = *layer;
    expert_ = *expert;
    count_ = *count;
    for (const char* name : {"model", "kind"}) {
      if (const auto at = find(names, {name})) same_.push_back({name, *at, std::nullopt});
    }
    return ok_status();
  }

  Result<std::int64_t> number(std::string_view cell, const char* name, std::int64_t most) const {
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (status != std::errc() || end != cell.data() + cell.size() || value < 0 || value > most) {
      return refused(fmt::format("{} must be a whole number from 0 to {}, not {}", name, most,
                                 quote_text(cell)));
    }
    return value;
  }

  Status read_row() {
    const std::vector<std::string_view> cells = cells_of(line_);
    if (cells.size() != columns_) {
      return refused(fmt::format("has {} cells where the header has {}", cells.size(), columns_));
    }
    for (Same& same : same_) {
      if (same.value && *same.value != cells[same.column]) {
        return refused(
            fmt::format("{} {} after {}: counts of both would be mixed; keep the rows of "
                        "one",
                        same.name, quote_text(cells[same.column]), quote_text(*same.value)));
      }
      same.value = cells[same.column];
    }
    PF_ASSIGN(const std::int64_t layer, number(cells[layer_], "layer", kMostLayers - 1));
    PF_ASSIGN(const std::int64_t expert, number(cells[expert_], "expert", kMostExperts - 1));
    PF_ASSIGN(const std::int64_t count, number(cells[count_], "count", kMostCount));
    tally_.add(layer, expert, count);
    if (tally_.full()) return refused(fmt::format("is the count after {} others", kMostCells));
    return ok_status();
  }

  // A column whose value may not change.
  struct Same {
    const char* name;
    std::size_t column;
    std::optional<std::string_view> value;
  };

  std::string_view text_;
  const std::string& file_;
  std::string_view line_;
  int number_ = 0;
  std::size_t columns_ = 0;
  std::size_t layer_ = 0;
  std::size_t expert_ = 0;
  std::size_t count_ = 0;
  std::vector<Same> same_;
  Tally tally_;
};

Result<ExpertHistogram> parse_run(const std::string& text, const std::string& file) {
  PF_ASSIGN(const nlohmann::json document, parse_json(text, file));
  PF_ASSIGN(const JsonMap top, JsonMap::of(document, file));
  if (!top.has("routing") || !document.at("routing").is_array()) {
    return top.invalid(
        "routing", "is missing or no list; expected what `pentafold run --stats --json` writes");
  }
  const nlohmann::json& routing = document.at("routing");
  Tally tally;
  std::int64_t experts = 0;
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < routing.size(); ++i) {
    const std::string prefix = fmt::format("routing[{}].", i);
    PF_ASSIGN(const JsonMap entry, JsonMap::of(routing[i], file, prefix));
    PF_ASSIGN(const std::int64_t layer, entry.integer("layer", std::nullopt, 0, kMostLayers - 1));
    if (!entry.has("chosen")) return entry.invalid("chosen", "is missing; count the choices again");
    PF_ASSIGN(const std::vector<std::int64_t> chosen, entry.integers("chosen", 0, kMostCount));
    if (!seen.insert(layer).second) {
      return entry.invalid("layer", fmt::format("= {} was already counted", layer));
    }
    if (i == 0) experts = static_cast<std::int64_t>(chosen.size());
    if (chosen.empty() || static_cast<std::int64_t>(chosen.size()) != experts ||
        experts > kMostExperts) {
      return entry.invalid("chosen",
                           fmt::format("counts {} experts, where {} are expected", chosen.size(),
                                       std::max<std::int64_t>(experts, 1)));
    }
    for (std::int64_t e = 0; e < experts; ++e) {
      tally.add(layer, e, chosen[static_cast<std::size_t>(e)]);
    }
    if (tally.full()) return entry.invalid("chosen", fmt::format("exceeds {} counts", kMostCells));
  }
  return tally.table(file);
}

}  // namespace

Result<ExpertHistogram> parse_expert_histogram(const std::string& text, const std::string& file) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') return parse_run(text, file);
  return CsvReader(text, file).read();
}

Result<ExpertHistogram> load_expert_histogram(const std::string& path) {
  PF_ASSIGN(const std::string text, read_text_file(path, kMaxBytes));
  return parse_expert_histogram(text, path);
}

Status check_fits(const ExpertHistogram& histogram, const ModelShape& model) {
  for (const std::int64_t layer : histogram.layers) {
    std::string why;
    if (layer >= model.num_layers()) {
      why =
          fmt::format("layer {}, {} has layers 0 to {}", layer, model.name, model.num_layers() - 1);
    } else if (model.layer(layer).ffn.experts == 0) {
      why = fmt::format("layer {}, which has no experts in {}", layer, model.name);
    } else if (model.layer(layer).ffn.experts < histogram.experts) {
      why = fmt::format("expert {}, layer {} of {} has experts 0 to {}", histogram.experts - 1,
                        layer, model.name, model.layer(layer).ffn.experts - 1);
    }
    if (why.empty()) continue;
    return make_error(ErrorCode::InvalidSpec,
                      fmt::format("counts {}; give the counts of this model", why), histogram.file);
  }
  return ok_status();
}

}  // namespace pentafold
