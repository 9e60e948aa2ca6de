// Degrees of parallelism as benchmarks print them -> pools of workers.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/quote.h"
#include "predict/measurement_row.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMaxDegree = 4096;

// Of one worker: attention in dp groups of tp ranks, experts in ep groups, pp stages.
struct Degrees {
  std::int64_t tp = 1;
  std::int64_t dp = 1;
  std::int64_t ep = 1;
  std::int64_t pp = 1;
};

bool in_range(std::int64_t degree) {
  return degree >= 1 && degree <= kMaxDegree;
}

// Experts fold onto the ranks of a stage: ep groups of ranks / ep. None if they do not.
std::optional<Worker> fold(const ModelShape& model, const Degrees& d) {
  if (!in_range(d.tp) || !in_range(d.dp) || !in_range(d.ep) || !in_range(d.pp)) return std::nullopt;
  const std::int64_t ranks = d.tp * d.dp;
  if (ranks > kMaxDegree || d.pp > model.num_layers()) return std::nullopt;
  Worker w;
  w.tp = d.tp;
  w.dp = d.dp;
  if (model.experts() > 0) {
    if (ranks % d.ep != 0) return std::nullopt;
    w.ep = d.ep;
    w.etp = ranks / d.ep;
    // Engines fill groups that the experts do not divide into with copies (256 on ep 48: 32 more).
    w.redundant = (d.ep - model.experts() % d.ep) % d.ep;
    if (w.redundant > (w.ep - 1) * model.experts()) return std::nullopt;
  }
  const std::int64_t layers = model.num_layers();
  for (std::int64_t s = 0; s < d.pp; ++s) {
    w.stage_layers.push_back(layers / d.pp + (s < layers % d.pp ? 1 : 0));
  }
  return w;
}

// Attention data parallelism as written. `ways`: 1 off, 0 over all ranks of the worker, else so
// many groups; `inside`: they divide the tp ranks ("on (dp4)"), else they may also multiply them.
struct AttentionDp {
  std::int64_t ways = 1;
  bool inside = false;
  bool assumed = false;
};

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

std::optional<AttentionDp> read_dp(const std::string& field) {
  std::string text = lowered(field);
  AttentionDp out;
  if (text.ends_with('?')) {
    out.assumed = true;
    text.pop_back();
  }
  if (one_of(text, {"", "off", "no", "n", "false", "0", "1"})) return out;
  if (one_of(text, {"on", "yes", "y", "true"})) {
    out.ways = 0;
    return out;
  }
  if (text.starts_with("on (dp") && text.ends_with(')')) {
    out.inside = true;
    text = text.substr(6, text.size() - 7);
  }
  const auto ways = read_count(text);
  if (!ways || !in_range(*ways)) return std::nullopt;
  out.ways = *ways;
  return out;
}

// "" and "0" say that the degree is not used.
std::optional<std::int64_t> degree_or_one(const std::string& field) {
  if (lowered(field).empty()) return 1;
  const auto value = read_count(field);
  if (!value || *value > kMaxDegree) return std::nullopt;
  return std::max<std::int64_t>(*value, 1);
}

// tp counts the ranks of attention where it says so, and of the worker where dp divides it: which
// of the two is settled by the number of devices.
Understood spread_attention(const MeasurementRow& row, const AttentionDp& dp, std::int64_t gpus,
                            Degrees& d) {
  if (dp.ways == 1) return std::nullopt;
  if (dp.ways == 0) {
    d.dp = std::exchange(d.tp, 1);
    return std::nullopt;
  }
  const std::int64_t product = d.tp * dp.ways * d.pp;
  if (!dp.inside && (gpus == 0 || gpus % product == 0)) {
    d.dp = dp.ways;
    return std::nullopt;
  }
  if (d.tp % dp.ways != 0) return skip(SkipReason::UnknownLayout, row, Column::DpAttn);
  d.tp /= dp.ways;
  d.dp = dp.ways;
  return std::nullopt;
}

Understood read_aggregated(const MeasurementRow& row, std::int64_t gpus, Measurement& m) {
  Degrees d;
  const auto tp = read_count(row[Column::Tp]);
  if (!tp || !in_range(*tp)) return skip(SkipReason::UnknownLayout, row, Column::Tp);
  const auto pp = degree_or_one(row[Column::Pp]);
  if (!pp) return skip(SkipReason::UnknownLayout, row, Column::Pp);
  const auto dp = read_dp(row[Column::DpAttn]);
  if (!dp) return skip(SkipReason::UnknownLayout, row, Column::DpAttn);
  d.tp = *tp;
  d.pp = *pp;
  const bool as_tp = lowered(row[Column::Ep]) == "=tp?";
  const auto ep = as_tp ? tp : degree_or_one(row[Column::Ep]);
  const bool has_experts = m.model->experts() > 0;
  if (!ep && has_experts) return skip(SkipReason::UnknownLayout, row, Column::Ep);
  d.ep = ep.value_or(1);
  m.assumed = dp->assumed || (as_tp && has_experts);
  if (auto bad = spread_attention(row, *dp, gpus, d)) return bad;
  const auto worker = fold(*m.model, d);
  if (!worker) return skip(SkipReason::UnknownLayout, row, Column::Ep);
  const std::int64_t in_all = gpus == 0 ? worker->gpus() : gpus;
  if (in_all % worker->gpus() != 0) {
    return skip(SkipReason::ContradictsItself, row, Column::GpusTotal);
  }
  m.pools = {{*worker, in_all / worker->gpus(), Role::Both}};
  return std::nullopt;
}

// "2x(tp8,ep8,dpattn=on) on 16 GPUs", "1x(tp1,attn_dp8,moe_tp1,moe_ep8,pp1,bs64)".
struct PoolText {
  std::optional<std::int64_t> count;
  std::optional<std::int64_t> gpus;  // of all workers
  std::optional<std::int64_t> tp, dp, ep, pp;
  std::optional<bool> dp_attention;
};

bool read_word(std::string_view word, PoolText& out) {
  if (word == "dpattn=on" || word == "dpattn=off") {
    out.dp_attention = word.ends_with("on");
    return true;
  }
  std::size_t digits = word.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(word[digits - 1])) != 0) --digits;
  std::string_view key = word.substr(0, digits);
  if (key.ends_with('=')) key.remove_suffix(1);
  const auto value = read_count(word.substr(digits));
  if (key == "bs" || key == "moe_tp" || key == "etp") return true;  // follows, or is not a degree
  const std::pair<std::string_view, std::optional<std::int64_t>*> known[] = {
      {"tp", &out.tp},      {"attn_tp", &out.tp}, {"ep", &out.ep}, {"moe_ep", &out.ep},
      {"attn_dp", &out.dp}, {"dp", &out.dp},      {"pp", &out.pp}};
  for (const auto& [name, to] : known) {
    if (key != name || !value) continue;
    *to = value;
    return true;
  }
  return false;
}

std::optional<PoolText> read_pool_text(const std::string& field) {
  const std::string text = lowered(field);
  const std::size_t open = text.find("x(");
  const std::size_t close = text.find(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  PoolText out;
  if (open > 0) {
    out.count = read_count(text.substr(0, open));
    if (!out.count) return std::nullopt;
  }
  std::string_view words = std::string_view(text).substr(open + 2, close - open - 2);
  while (!words.empty()) {
    const std::size_t comma = words.find(',');
    if (!read_word(words.substr(0, comma), out)) return std::nullopt;
    words.remove_prefix(comma == std::string_view::npos ? words.size() : comma + 1);
  }
  out.gpus = count_before(text.substr(close), " gpus");
  return out;
}

// Ranks beside the tp ones are attention's data parallelism: "tp1,ep8" on 8 GPUs.
std::optional<Degrees> degrees_of(const PoolText& text) {
  Degrees d;
  d.tp = text.tp.value_or(1);
  d.pp = std::max<std::int64_t>(text.pp.value_or(1), 1);
  d.ep = std::max<std::int64_t>(text.ep.value_or(1), 1);
  std::int64_t ranks = d.tp * std::max<std::int64_t>(text.dp.value_or(1), 1);
  if (text.gpus && text.count.value_or(0) > 0) ranks = *text.gpus / *text.count / d.pp;
  if (!in_range(d.tp) || !in_range(ranks) || ranks % d.tp != 0) return std::nullopt;
  d.dp = ranks / d.tp;
  if (text.dp_attention.value_or(false)) {
    d.tp = 1;
    d.dp = ranks;
  }
  return d;
}

Understood read_split(const MeasurementRow& row, std::int64_t gpus, Measurement& m) {
  const std::pair<Column, Role> sides[] = {{Column::PrefillCfg, Role::Prefill},
                                           {Column::DecodeCfg, Role::Decode}};
  std::int64_t used = 0;
  m.pools.clear();
  for (std::size_t i = 0; i < 2; ++i) {
    const auto [column, role] = sides[i];
    const auto text = read_pool_text(row[column]);
    if (!text) return skip(SkipReason::UnknownLayout, row, column);
    const auto degrees = degrees_of(*text);
    const auto worker = degrees ? fold(*m.model, *degrees) : std::nullopt;
    if (!worker || text->count == 0) return skip(SkipReason::UnknownLayout, row, column);
    m.pools.push_back({*worker, text->count.value_or(0), role});
    used += m.pools.back().gpus();
  }
  // One count that is not stated follows from the number of devices.
  MeasuredPool* open = nullptr;
  for (MeasuredPool& pool : m.pools) {
    if (pool.replicas > 0) continue;
    if (open != nullptr || gpus <= used || (gpus - used) % pool.worker.gpus() != 0) {
      return skip(SkipReason::UnknownLayout, row, sides[pool.role == Role::Decode ? 1 : 0].first);
    }
    open = &pool;
    pool.replicas = (gpus - used) / pool.worker.gpus();
  }
  if (gpus > 0 && m.pools[0].gpus() + m.pools[1].gpus() != gpus) {
    return skip(SkipReason::ContradictsItself, row, Column::GpusTotal);
  }
  return std::nullopt;
}

}  // namespace

Understood read_layout(const MeasurementRow& row, Measurement& m) {
  const auto gpus = lowered(row[Column::GpusTotal]).empty() ? std::optional<std::int64_t>(0)
                                                            : read_count(row[Column::GpusTotal]);
  constexpr std::int64_t kMaxGpus = std::int64_t{1} << 20;
  if (!gpus || *gpus > kMaxGpus) return skip(SkipReason::UnknownLayout, row, Column::GpusTotal);
  if (!one_of(lowered(row[Column::SpCp]), {"", "0", "1", "off"})) {
    return skip(SkipReason::UnknownLayout, row, Column::SpCp);
  }
  const std::string split = lowered(row[Column::Disagg]);
  if (!one_of(split, {"", "n", "no", "false", "0", "y", "yes", "true", "1"})) {
    return skip(SkipReason::UnknownLayout, row, Column::Disagg);
  }
  const bool two = one_of(split, {"y", "yes", "true", "1"});
  if (auto bad = two ? read_split(row, *gpus, m) : read_aggregated(row, *gpus, m)) return bad;
  m.gpus = 0;
  for (const MeasuredPool& pool : m.pools) m.gpus += pool.gpus();
  if (m.gpus > kMaxGpus) return skip(SkipReason::UnknownLayout, row, Column::GpusTotal);
  return std::nullopt;
}

}  // namespace pentafold
