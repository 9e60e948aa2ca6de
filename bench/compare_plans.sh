#!/usr/bin/env bash
# Question: how well are runs predicted on this machine, over 30 plans of three small models, every
# rank a thread?
#
# compare_plans.sh: calibrates, then runs `pentafold compare` on ten plans each of models/tiny-moe and
# bench/compare/*.yaml; prints its table and appends the same as one JSON line to
# bench/results/compare.jsonl. Takes about three minutes; wants an otherwise idle machine.
# BINARY: another build than build/release. REPEAT: runs of each plan (default 7). CLUSTER: an
# existing calibration instead of a fresh one. RESULTS: another file to append to.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-build/release/pentafold}
results=${RESULTS:-bench/results/compare.jsonl}
[ -x "$binary" ] || { echo "compare_plans.sh: $binary is not built; run make" >&2; exit 2; }
mkdir -p "$(dirname "$results")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

commit=$(git describe --always --dirty --abbrev=12)
cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"\134')

number=10
for model in models/tiny-moe bench/compare/eight.yaml bench/compare/many.yaml; do
  for plan in tp=1 tp=2 tp=4 dp=2,ep=2 dp=4,ep=4 dp=8,ep=8 sp=2,ep=2 pp=2,microbatches=2 \
    dp=2,tp=2,ep=4 pp=2,tp=2,ep=2; do
    {
      echo "model: $PWD/$model"
      tr ',' '\n' <<<"$plan" | sed 's/=/: /'
      echo 'requests: {count: 8, prompt_tokens: 64, max_tokens: 24, seed: 5}'
    } >"$scratch/$number.yaml"
    number=$((number + 1))
  done
done

cluster=${CLUSTER:-$scratch/machine}
[ -n "${CLUSTER:-}" ] || "$binary" calibrate --out "$cluster"
load_before=$(cut -d' ' -f1 /proc/loadavg)
"$binary" compare --plans "$scratch"/*.yaml --cluster "$cluster" --repeat "${REPEAT:-7}" --json \
  --table >"$scratch/compare.json"
{
  printf '{"commit": "%s", "cpu": "%s", "cores": %s, "date": "%s", "load_before": %s, "compare": ' \
    "$commit" "$cpu" "$(nproc)" "$(date -u +%FT%TZ)" "$load_before"
  tr '\n' ' ' <"$scratch/compare.json" | sed 's/  */ /g; s/ $//'
  echo '}'
} >>"$results"
