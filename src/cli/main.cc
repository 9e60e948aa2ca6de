// The command line: what can be asked for, in one place. CLI11 is slow to compile, so only here.
#include <CLI/CLI.hpp>

#include "cli/verbs.h"

namespace {

using pentafold::PlanOptions;

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

void add_run(CLI::App& app, pentafold::RunOptions& o) {
  CLI::App* verb = app.add_subcommand("run", "run a model under a plan, every rank a thread");
  add_plan_options(verb, o.plan);
  verb->add_option("--prompt", o.prompts, "text to continue; may be given several times");
  verb->add_option("--prompt-ids", o.prompt_ids, "token ids to continue: 1,2,3")
      ->type_name("IDS")
      ->take_all();
  verb->add_option("--batch", o.batch_file,
                   "file of prompts, one a line: text, or {\"prompt\": ..., \"max_tokens\": n} or "
                   "{\"prompt_ids\": [...]}")
      ->type_name("FILE");
  verb->add_option("--max-tokens", o.max_tokens, "tokens to generate per request (default 64)");
  verb->add_option("--temperature", o.temperature, "0 is greedy (default)")
      ->check(CLI::Range(0.0, 1e6));
  verb->add_option("--top-k", o.top_k, "sample among the k best; 0: all")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--top-p", o.top_p, "sample within this much probability")
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--seed", o.seed, "of sampling; the same under every plan");
  verb->add_flag("--ignore-eos", o.ignore_eos, "go on after an end-of-text token");
  verb->add_flag("--logits-hash", o.logits_hash, "print a hash of all logits, prompt included");
  verb->add_option("--logits-out", o.logits_out,
                   "write logits as .npy: float32 (tokens, vocab), prompt positions included")
      ->type_name("FILE");
  verb->add_flag("--check-one-rank", o.check_one_rank,
                 "run the same requests on one rank afterwards; exit code 1 unless all bits agree");
  verb->add_flag("--stats", o.stats, "routing per layer and bytes per collective");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->add_flag("--quiet", o.quiet, "only the text (and what was asked for) ");
  verb->add_option("--device", o.device, "cpu, or reference (plain loops, the same bits)");
  verb->add_option("--timeout", o.timeout_s, "longest wait for another rank, seconds")
      ->check(CLI::Range(0.001, 1e6));
  verb->footer(
      "Examples:\n"
      "  pentafold run --plan tp=2,ep=4 --model models/tiny-moe --prompt \"It is a truth\"\n"
      "  pentafold run --plan pp=2,tp=2,sp=2 --model models/tiny-moe --prompt \"The king\" \\\n"
      "      --max-tokens 32 --check-one-rank\n"
      "  pentafold run specs/seeds/narrow/a.yaml --stats      # 1024 ranks\n"
      "Exit codes: 0 done, 1 bits differ, 2 bad input or impossible plan, 3 the run failed.");
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

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Pentafold: run a Mixture-of-Experts model under any fold of expert, tensor, pipeline,\n"
      "sequence and data parallelism, with the same bits under every plan.",
      "pentafold"};
  app.footer(
      "Start here:\n"
      "  pentafold inspect models/tiny-moe                 what is this model\n"
      "  pentafold verify --plan tp=2,ep=4 --model models/tiny-moe\n"
      "  pentafold run --plan tp=2,ep=4 --model models/tiny-moe --prompt \"It is a truth\" \\\n"
      "      --check-one-rank                              run it, and compare with one rank\n"
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 prints help or the complaint; every complaint is bad input.
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (app.got_subcommand("run")) return run_verb(run);
  if (app.got_subcommand("verify")) return verify_verb(verify);
  if (app.got_subcommand("program")) return program_verb(program);
  return inspect_verb(inspect);
}
