#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/engine_inputs.h"
#include "cli/logits_file.h"
#include "cli/requests.h"
#include "cli/verbs.h"
#include "report/bench_report.h"
#include "spec/tensors.h"

namespace pentafold {
namespace {

// A line on stderr that is rewritten while weights load; silent when stderr is not a terminal.
class LoadingLine {
 public:
  explicit LoadingLine(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO) != 0) {}
  ~LoadingLine() { clear(); }
  LoadingLine(const LoadingLine&) = delete;
  LoadingLine& operator=(const LoadingLine&) = delete;

  void show(std::int64_t bytes) {
    if (!shown_) return;
    fmt::print(stderr, "\r\033[Kloading weights: {}", format_bytes(static_cast<double>(bytes)));
    std::fflush(stderr);
    dirty_ = true;
  }
  void clear() {
    if (dirty_) fmt::print(stderr, "\r\033[K");
    dirty_ = false;
  }

 private:
  bool shown_ = false;
  bool dirty_ = false;
};

// Text of all requests as it comes: one request streams, several are printed when they are done.
class Printer {
 public:
  Printer(const Prompts& prompts, bool stream) : stream_(stream && prompts.requests.size() == 1) {
    if (!prompts.tokenizer) return;
    for (const Request& request : prompts.requests) {
      decoders_.emplace(request.id, StreamDecoder(*prompts.tokenizer, true));
    }
  }

  void token(RequestId request, std::int32_t token) {
    const auto decoder = decoders_.find(request);
    if (decoder == decoders_.end()) return;
    put(request, decoder->second.push(token));
  }

  void finish() {
    for (auto& [request, decoder] : decoders_) put(request, decoder.flush());
    if (stream_ && !decoders_.empty()) fmt::print("\n");
  }

  const std::map<RequestId, std::string>& texts() const { return texts_; }

 private:
  void put(RequestId request, const std::string& piece) {
    texts_[request] += piece;
    if (!stream_) return;
    fmt::print("{}", piece);
    std::fflush(stdout);
  }

  bool stream_;
  std::map<RequestId, StreamDecoder> decoders_;
  std::map<RequestId, std::string> texts_;
};

class Run {
 public:
  Run(const RunOptions& options, const PlanAndModel& loaded, const Prompts& prompts)
      : options_(options), loaded_(loaded), prompts_(prompts) {}

  SamplingOptions sampling() const {
    return {options_.temperature, options_.top_k, options_.top_p, options_.seed};
  }

  // Runs `requests` under `plan`; with `limits`, scheduled as another plan would.
  Result<Report> execute(const Plan& plan, const std::vector<Request>& requests,
                         const std::optional<SchedulerLimits>& limits,
                         const GenerateCallbacks& callbacks) const {
    PF_ASSIGN(auto source, open_weights(loaded_.input));
    EngineOptions engine = engine_options(options_, loaded_.plan, prompts_.requests);
    engine.limits = limits;
    LoadingLine line(options_.quiet || options_.json);
    engine.on_loading = [&](std::int64_t bytes) { line.show(bytes); };
    PF_ASSIGN(const auto running,
              Engine::start(plan, loaded_.input.model, std::move(source), engine));
    line.clear();
    return running->generate(requests, sampling(), callbacks);
  }

  // The same requests on one rank. With a capacity, results depend on what shares a step, so each
  // replica's requests run by themselves; else all together.
  Result<Report> one_rank() const {
    const Plan& plan = loaded_.plan;
    const Plan one = one_rank_plan(plan, loaded_.input.model.num_layers());
    const SchedulerLimits limits =
        scheduler_limits(plan, engine_options(options_, plan, prompts_.requests).blocks_per_group);
    if (plan.replicas == 1) return execute(one, prompts_.requests, limits, {});
    if (!plan.capacity_factor) {
      SchedulerLimits together = limits;
      together.blocks_per_group = blocks_needed(one, prompts_.requests);
      return execute(one, prompts_.requests, together, {});
    }
    Report sum;
    for (std::int64_t replica = 0; replica < plan.replicas; ++replica) {
      std::vector<Request> part;
      for (const Request& request : prompts_.requests) {
        if (request.id.value % plan.replicas == replica) part.push_back(request);
      }
      if (part.empty()) continue;
      PF_ASSIGN(const Report report, execute(one, part, limits, {}));
      sum.logits_hash += report.logits_hash;
      sum.logit_rows += report.logit_rows;
      sum.requests.insert(sum.requests.end(), report.requests.begin(), report.requests.end());
    }
    std::ranges::sort(sum.requests, {}, &RequestReport::id);
    return sum;
  }

 private:
  const RunOptions& options_;
  const PlanAndModel& loaded_;
  const Prompts& prompts_;
};

bool same_bits(const Report& a, const Report& b) {
  if (a.logits_hash != b.logits_hash || a.logit_rows != b.logit_rows) return false;
  return std::ranges::equal(a.requests, b.requests, [](const auto& x, const auto& y) {
    return x.id == y.id && x.tokens == y.tokens;
  });
}

void print_texts(const Report& report, const Printer& printer) {
  if (printer.texts().size() == 1) return;  // streamed
  for (const RequestReport& request : report.requests) {
    const auto text = printer.texts().find(RequestId(request.id));
    if (text != printer.texts().end()) {
      fmt::print("[{}] {}\n", request.id, text->second);
    } else {
      fmt::print("[{}] {}\n", request.id, fmt::join(request.tokens, " "));
    }
  }
}

void print_json(const Report& report, const Printer& printer, const std::optional<Report>& one) {
  auto json = nlohmann::json::parse(report_json(report));
  for (auto& request : json["requests"]) {
    const auto text = printer.texts().find(RequestId(request["id"].get<std::int64_t>()));
    if (text != printer.texts().end()) request["text"] = text->second;
  }
  if (one) {
    json["one_rank"] = {{"logits_hash", fmt::format("{:016x}", one->logits_hash)},
                        {"same_bits", same_bits(report, *one)}};
  }
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string format_hash(const Report& report) {
  return fmt::format("{:016x} over {} rows", report.logits_hash, report.logit_rows);
}

void print_profile(const Report& report) {
  for (const StepKind kind : {StepKind::Prefill, StepKind::Decode}) {
    const auto& operators = report.operators[static_cast<std::size_t>(kind)];
    if (operators.empty()) continue;
    fmt::print(stderr, "{}, all ranks and steps\n{}", to_string(kind), format_profile(operators));
  }
}

int print_outcome(const RunOptions& options, const Report& report, const Printer& printer,
                  const std::optional<Report>& one) {
  const bool same = !one || same_bits(report, *one);
  if (options.json) {
    print_json(report, printer, one);
    return same ? 0 : 1;
  }
  print_texts(report, printer);
  if (!options.quiet) fmt::print(stderr, "{}", format_report(report, options.stats));
  if (options.profile) print_profile(report);
  if (options.logits_hash || one) fmt::print("logits hash   {}\n", format_hash(report));
  if (one) {
    fmt::print("one rank      {}\n", format_hash(*one));
    fmt::print("{}\n", same ? "same bits     yes: every logit and every token agree"
                            : "same bits     NO: the plan changed the result");
  }
  return same ? 0 : 1;
}

}  // namespace

int run_verb(const RunOptions& options) {
  auto loaded = load_plan_and_model(options.plan);
  if (!loaded.ok()) return report_error(loaded.error());
  const ModelSpec& model = loaded->input.model;
  if (const auto contradiction = declaration_contradiction(model);
      contradiction && !options.quiet) {
    fmt::print(stderr, "note: {}\n", *contradiction);
  }
  const auto notes = prepare_to_run(*loaded);
  if (!notes.ok()) return report_error(notes.error());
  for (const std::string& note : *notes) {
    if (!options.quiet) fmt::print(stderr, "note: {}\n", note);
  }
  if (!options.logits_out.empty()) {
    if (const Status place = LogitsFile::check_place(options.logits_out); !place.ok()) {
      return report_error(place.error());
    }
  }
  const auto prompts = make_prompts(options, *loaded);
  if (!prompts.ok()) return report_error(prompts.error());

  const Run run(options, *loaded, *prompts);
  Printer printer(*prompts, !options.json);
  LogitsFile logits;
  GenerateCallbacks callbacks;
  callbacks.on_token = [&](RequestId id, std::int32_t token) { printer.token(id, token); };
  if (!options.logits_out.empty()) {
    callbacks.on_logits = [&](const LogitRow& row) { logits.add(row); };
  }
  const auto report = run.execute(loaded->plan, prompts->requests, std::nullopt, callbacks);
  if (!report.ok()) return report_error(report.error());
  printer.finish();
  if (!options.logits_out.empty()) {
    if (const Status written = logits.write(options.logits_out); !written.ok()) {
      return report_error(written.error());
    }
  }
  std::optional<Report> one;
  if (options.check_one_rank) {
    auto alone = run.one_rank();
    if (!alone.ok()) return report_error(alone.error());
    one = std::move(alone).value();
  }
  return print_outcome(options, *report, printer, one);
}

}  // namespace pentafold
