#!/usr/bin/env bash
# Question: how much of this machine do the reference models use, by threads and plan?
#
# engine.sh [MODEL...]: runs `pentafold bench` on bench/models/MODEL.yaml (default: m1), on one rank
# with one thread and with all cores, and on eight ranks, in turns; prints the tables and appends one
# JSON line a model to bench/results/engine.jsonl. Wants an otherwise idle machine.
# BINARY: another build than build/release. PLANS: degrees to compare. REPEAT: rounds (default 5).
# ARGUMENTS: more for the verb (--decode 128). RESULTS: another file to append to.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-build/release/pentafold}
results=${RESULTS:-bench/results/engine.jsonl}
[ -x "$binary" ] || { echo "engine.sh: $binary is not built; run make" >&2; exit 2; }
[ $# -gt 0 ] || set -- m1
mkdir -p "$(dirname "$results")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

commit=$(git describe --always --dirty --abbrev=12)
cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"\134')
plans=()
for plan in ${PLANS:-tp=1 tp=2,ep=4,dp=4}; do plans+=(--plan "$plan"); done

for model in "$@"; do
  load_before=$(cut -d' ' -f1 /proc/loadavg)
  # shellcheck disable=SC2086
  "$binary" bench --model "bench/models/$model.yaml" "${plans[@]}" --repeat "${REPEAT:-5}" \
    --profile --json --table ${ARGUMENTS:-} >"$scratch/bench.json"
  {
    printf '{"commit": "%s", "cpu": "%s", "cores": %s, "date": "%s", "load_before": %s, "bench": ' \
      "$commit" "$cpu" "$(nproc)" "$(date -u +%FT%TZ)" "$load_before"
    tr '\n' ' ' <"$scratch/bench.json" | sed 's/  */ /g; s/ $//'
    echo '}'
  } >>"$results"
done
