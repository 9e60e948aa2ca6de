// Options of `pentafold bench`, declared to CLI11.
#include <CLI/CLI.hpp>

#include "cli/bench.h"

namespace pentafold {

void add_bench(CLI::App& app, BenchOptions& o) {
  CLI::App* verb = app.add_subcommand(
      "bench", "how fast a model runs here, beside what this machine can do at most");
  verb->add_option("--model", o.model,
                   "Hugging Face checkpoint directory, or shape spec (YAML, synthetic weights)")
      ->type_name("PATH");
  verb->add_option("--plan", o.plans,
                   "plan file, or degrees (tp=2,ep=4); may be given several times: plans take "
                   "turns (default: one rank)")
      ->type_name("PLAN");
  verb->add_option("--threads", o.threads,
                   "threads of each rank, one or several: 1,2 (default: cores / ranks)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  verb->add_option("--prefill", o.prefill, "prompt tokens: 128,512,2048 (default); 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 1'000'000));
  verb->add_option("--decode", o.decode, "sequences that decode: 1,8,32,128 (default); 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 65'536));
  verb->add_option("--context", o.context,
                   "tokens in the cache of each before it decodes (default 128)")
      ->check(CLI::Range(1, 1'000'000));
  verb->add_option("--steps", o.steps, "decode steps timed in a round (default 16)")
      ->check(CLI::Range(1, 10'000));
  verb->add_option("--repeat", o.repeat, "rounds; medians count (default 5)")
      ->check(CLI::Range(1, 1000));
  verb->add_flag("--pin", o.pin, "bind threads to cores, each rank's within a NUMA node");
  verb->add_option("--device", o.device, "cpu, or reference (plain loops, the same bits)");
  verb->add_option("--timeout", o.timeout_s, "longest wait for another rank, seconds")
      ->check(CLI::Range(0.001, 1e6));
  verb->add_flag("--quick", o.quick, "one round, limits measured roughly: does it work at all");
  verb->add_flag("--profile", o.profile, "where the time goes: a line for each kind of step");
  verb->add_flag("--json", o.json, "one JSON document on stdout");
  verb->add_flag("--table", o.table, "with --json: the table as well, on stderr");
  verb->footer(
      "Columns: `of peak` is the part of the f32 multiply-adds that the cores could do in that\n"
      "time, `of memory` the part of the bytes that memory could deliver. Prefill should be near\n"
      "the first limit, decode of few sequences near the second. In a profile, steps that only\n"
      "move activations have no rates, and waiting for other ranks counts as time.\n"
      "The KV cache is held in the type of the model's weights unless a plan says otherwise\n"
      "(kv=f32, precision=...).\n"
      "Examples:\n"
      "  pentafold bench --model bench/models/m1.yaml\n"
      "  pentafold bench --model bench/models/m1.yaml --threads 1,2 --decode 0 --profile\n"
      "  pentafold bench --model bench/models/m1.yaml --plan tp=1 --plan tp=2,ep=4 \\\n"
      "      --prefill 512 --decode 128      # what the parallel structure itself costs\n"
      "Exit codes: 0 done, 2 bad input or impossible plan, 3 a run failed.");
}

}  // namespace pentafold
