// The command line: what can be asked for, in one place. CLI11 is slow to compile, so only here.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <new>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "cli/bench.h"
#include "cli/calibrate.h"
#include "cli/compare.h"
#include "cli/planning_options.h"
#include "cli/verbs.h"

namespace {

using pentafold::PlanOptions;

struct MachineVerbs {
  pentafold::BenchOptions bench;
  pentafold::CalibrateOptions calibrate;
  pentafold::CompareOptions compare;
};

// CLI::Range lets "nan" through.
CLI::Validator between(double low, double high) {
  const auto check = [low, high](const std::string& text) {
    double value = NAN;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = status == std::errc() && end == text.data() + text.size();
    if (read && value >= low && value <= high) return std::string();
    return fmt::format("must be {} to {}, not \"{}\"", low, high, text);
  };
  return {check, ""};
}

// CLI11 reads "-1" into an unsigned number as 2^64 - 1.
CLI::Validator not_negative() {
  const auto check = [](const std::string& text) {
    return text.starts_with('-') ? fmt::format("must be 0 or more, not \"{}\"", text)
                                 : std::string();
  };
  return {check, ""};
}

void add_plan_options(CLI::App* verb, PlanOptions& plan) {
  verb->add_option("PLAN", plan.plan_file, "plan file (YAML, docs/plan-format.md)")
      ->type_name("FILE");
  verb->add_option("--plan", plan.shorthand,
                   "plan in a line: tp=2,ep=4,dp=2,pp=2,sp=1,etp=1,replicas=1,placement=spread,"
                   "microbatches=2,chunk=64; what is not named is 1")
      ->type_name("DEGREES");
  verb->add_option("--model", plan.model,
                   "Hugging Face checkpoint directory, or shape spec (YAML, synthetic weights); "
                   "overrides the plan file's")
      ->type_name("PATH");
}

void add_request_options(CLI::App* verb, pentafold::RunOptions& o) {
  verb->add_option("--prompt", o.prompts, "text to continue; may be given several times");
  verb->add_option("--prompt-ids", o.prompt_ids, "token ids to continue: 1,2,3")
      ->type_name("IDS")
      ->take_all();
  verb->add_option("--batch", o.batch_file,
                   "file of prompts, one a line: text, or {\"prompt\": ..., \"max_tokens\": n} or "
                   "{\"prompt_ids\": [...]}")
      ->type_name("FILE");
  verb->add_option("--max-tokens", o.max_tokens, "tokens to generate per request (default 64)");
}

void add_run(CLI::App& app, pentafold::RunOptions& o) {
  CLI::App* verb = app.add_subcommand("run", "run a model under a plan, every rank a thread");
  add_plan_options(verb, o.plan);
  add_request_options(verb, o);
  verb->add_option("--temperature", o.temperature, "0 is greedy (default)")
      ->check(between(0.0, 1e6));
  verb->add_option("--top-k", o.top_k, "sample among the k best; 0: all")->check(not_negative());
  verb->add_option("--top-p", o.top_p, "sample within this much probability")
      ->check(between(0.0, 1.0));
  verb->add_option("--seed", o.seed, "of sampling; the same under every plan")
      ->check(not_negative());
  verb->add_flag("--ignore-eos", o.ignore_eos, "go on after an end-of-text token");
  verb->add_flag("--logits-hash", o.logits_hash, "print a hash of all logits, prompt included");
  verb->add_option("--logits-out", o.logits_out,
                   "write logits as .npy: float32 (tokens, vocab), prompt positions included")
      ->type_name("FILE");
  verb->add_flag("--check-one-rank", o.check_one_rank,
                 "run the same requests on one rank afterwards; exit code 1 unless all bits agree");
  verb->add_flag("--stats", o.stats, "routing per layer and bytes per collective");
  verb->add_flag("--profile", o.profile, "where the time goes: a line for each kind of step");
  verb->add_option("--threads", o.threads, "threads of each rank (default: cores / ranks)")
      ->check(CLI::Range(1, 1024));
  verb->add_flag("--pin", o.pin, "bind threads to cores, each rank's within a NUMA node");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->add_flag("--quiet", o.quiet, "only the text (and what was asked for) ");
  verb->add_option("--device", o.device, "cpu, or reference (plain loops, the same bits)");
  verb->add_option("--timeout", o.timeout_s, "longest wait for another rank, seconds")
      ->check(between(0.001, 1e6));
  verb->footer(
      "Examples:\n"
      "  pentafold run --plan tp=2,ep=4 --model models/tiny-moe --prompt \"It is a truth\"\n"
      "  pentafold run --plan pp=2,tp=2,sp=2 --model models/tiny-moe --prompt \"The king\" \\\n"
      "      --max-tokens 32 --check-one-rank\n"
      "  pentafold run specs/seeds/narrow/a.yaml --stats      # 1024 ranks\n"
      "Exit codes: 0 done, 1 bits differ, 2 bad input or impossible plan, 3 the run failed.");
}

void add_machine_verbs(CLI::App& app, MachineVerbs& o) {
  add_bench(app, o.bench);
  CLI::App* calibrate = app.add_subcommand(
      "calibrate", "measure this machine into a cluster file, in less than a minute");
  calibrate->add_option("--out", o.calibrate.out, "file to write (default: stdout)")
      ->type_name("FILE");
  calibrate->add_option("--device", o.calibrate.device, "cpu, or reference");
  calibrate->add_flag("--quick", o.calibrate.quick, "seconds, for a rough idea");
  calibrate->footer("Example:\n  pentafold calibrate --out here.yaml");

  CLI::App* verb = app.add_subcommand(
      "compare", "predict what a run of a plan takes here, run it, print both side by side");
  add_plan_options(verb, o.compare.run.plan);
  verb->add_option("--plans", o.compare.plans, "several plan files, or folders of them")
      ->type_name("FILE...");
  add_request_options(verb, o.compare.run);
  verb->add_option("--cluster", o.compare.cluster,
                   "cluster file that calibrate wrote (default: calibrate first)")
      ->type_name("FILE");
  verb->add_option("--repeat", o.compare.repeat, "runs of each plan (default 5)")
      ->check(CLI::Range(1, 1000));
  verb->add_option("--device", o.compare.run.device, "cpu, or reference");
  verb->add_option("--timeout", o.compare.run.timeout_s, "longest wait for another rank, seconds")
      ->check(between(0.001, 1e6));
  verb->add_flag("--quick", o.compare.quick, "where it calibrates first: roughly");
  verb->add_flag("--stats", o.compare.run.stats, "each kind of program step as well");
  verb->add_flag("--json", o.compare.run.json, "one JSON document on stdout");
  verb->add_flag("--table", o.compare.table, "with --json: the table as well, on stderr");
  verb->footer(
      "Examples:\n"
      "  pentafold calibrate --out here.yaml\n"
      "  pentafold compare --plan tp=2,ep=4 --model models/tiny-moe --cluster here.yaml\n"
      "  pentafold compare --plans plans/ --cluster here.yaml     # errors, and order of plans\n"
      "Exit codes: 0 done, 2 bad input or impossible plan, 3 a run failed.");
}

void add_verify(CLI::App& app, pentafold::VerifyOptions& o) {
  CLI::App* verb = app.add_subcommand("verify", "is the plan possible on the model, and why not");
  add_plan_options(verb, o.plan);
  verb->add_flag("--json", o.json, "failures as JSON");
  verb->footer(
      "Examples:\n"
      "  pentafold verify specs/plans/tiny-tp2-ep4.yaml\n"
      "  pentafold verify --plan tp=3 --model models/tiny-moe   # says why not\n"
      "Exit codes: 0 possible, 1 impossible, 2 the input cannot be read.");
}

void add_program(CLI::App& app, pentafold::ProgramOptions& o) {
  CLI::App* verb =
      app.add_subcommand("program", "the steps of one rank, as verify and run see them");
  add_plan_options(verb, o.plan);
  verb->add_option("--rank", o.rank, "which rank (default 0)");
  verb->footer(
      "Example:\n"
      "  pentafold program --plan tp=2,ep=4 --model models/tiny-moe --rank 3");
}

void add_inspect(CLI::App& app, pentafold::InspectOptions& o) {
  CLI::App* verb = app.add_subcommand(
      "inspect", "what a checkpoint or shape spec is: shape, parameters, KV bytes per token");
  verb->add_option("CHECKPOINT", o.model, "directory with config.json, or a shape spec (YAML)")
      ->required();
  verb->add_flag("--json", o.json, "as JSON");
  verb->add_flag("--tensors", o.tensors, "list every tensor");
  verb->footer(
      "Examples:\n"
      "  pentafold inspect models/tiny-moe\n"
      "  pentafold inspect specs/models/seed-ab.yaml");
}

// Where CLI11 sees no verb, it does not say which word it could not read as one.
std::string verb_problem(const std::string& word) {
  constexpr std::array<std::string_view, 15> kVerbs = {
      "plan",      "explain", "predict", "simulate", "validate", "verify", "run",     "bench",
      "calibrate", "compare", "program", "inspect",  "audit",    "models", "clusters"};
  const std::string known = fmt::format("{}", fmt::join(kVerbs, ", "));
  if (word.empty() || word.starts_with('-')) return fmt::format("say what to do: {}", known);
  const std::string meant = pentafold::nearest(word, kVerbs);
  return fmt::format("unknown verb {}; {}", pentafold::quote_text(word),
                     meant.empty() ? fmt::format("known are {}", known)
                                   : fmt::format("did you mean \"{}\"", meant));
}

// Help and version go to stdout; a complaint is one line on stderr, like every other error.
int report_parse_error(const CLI::App& app, const CLI::ParseError& error, const std::string& word) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto verbs = app.get_subcommands();
  const std::string problem = verbs.empty() ? verb_problem(word) : error.what();
  const std::string verb = verbs.empty() ? "" : verbs.front()->get_name() + " ";
  return pentafold::report_error(pentafold::make_error(
      pentafold::ErrorCode::InvalidSpec, fmt::format("{}; see pentafold {}--help", problem, verb)));
}

// What reached stdout late, into a full disk say, still counts.
int after_flush(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fputs("pentafold: standard output cannot be written; is the disk full?\n", stderr);
  return 3;
}

int run_command_line(int argc, char** argv) {
  CLI::App app{
      "Pentafold: plan, verify and run a Mixture-of-Experts model under any fold of expert, "
      "tensor,\n"
      "pipeline, sequence and data parallelism, with the same bits under every plan.",
      "pentafold"};
  app.footer(
      "Start here:\n"
      "  pentafold plan --model qwen3-30b-a3b --gpu h200-sxm --gpus 32 --isl 4000 --osl 1000 \\\n"
      "      --target ttft=1s,tpot=20ms                    the best plan, or why there is none\n"
      "  pentafold inspect models/tiny-moe                 what is this model\n"
      "  pentafold verify --plan tp=2,ep=4 --model models/tiny-moe\n"
      "  pentafold run --plan tp=2,ep=4 --model models/tiny-moe --prompt \"It is a truth\" \\\n"
      "      --check-one-rank                              run it, and compare with one rank\n"
      "  pentafold program --plan tp=2,ep=4 --model models/tiny-moe --rank 3\n"
      "  pentafold VERB --help                             options and examples of a verb");
  app.require_subcommand(1);
  app.set_version_flag("--version", "pentafold " PENTAFOLD_VERSION);

  pentafold::RunOptions run;
  pentafold::VerifyOptions verify;
  pentafold::ProgramOptions program;
  pentafold::InspectOptions inspect;
  add_run(app, run);
  add_verify(app, verify);
  add_program(app, program);
  add_inspect(app, inspect);
  pentafold::PlanningOptions planning;
  add_planning_verbs(app, planning);
  MachineVerbs machine;
  add_machine_verbs(app, machine);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report_parse_error(app, error, argc > 1 ? argv[1] : "");
  }
  if (const auto code = run_planning_verb(app, planning)) return after_flush(*code);
  if (app.got_subcommand("bench")) return after_flush(bench_verb(machine.bench));
  if (app.got_subcommand("calibrate")) return after_flush(calibrate_verb(machine.calibrate));
  if (app.got_subcommand("compare")) return after_flush(compare_verb(machine.compare));
  if (app.got_subcommand("run")) return after_flush(run_verb(run));
  if (app.got_subcommand("verify")) return after_flush(verify_verb(verify));
  if (app.got_subcommand("program")) return after_flush(program_verb(program));
  return after_flush(inspect_verb(inspect));
}

}  // namespace

int main(int argc, char** argv) {
  // Weight slices go back to the system when they are freed: without a fixed threshold glibc raises
  // it, keeps them in its heaps, and a second run (--check-one-rank) adds to the first's peak.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  try {
    return run_command_line(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("pentafold: the system refused memory; use a smaller model or fewer ranks\n",
               stderr);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pentafold: %s\n", error.what());
    return 3;
  }
}
