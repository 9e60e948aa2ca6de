#!/usr/bin/env bash
# Question: how long do the published strategies a, b and d take at full width, one thread a rank on
# this machine, how much memory do they need, and are their bits those of one rank?
#
# seeds.sh [SEED...]: runs specs/seeds/SEED.yaml (default: a b d) with --check-one-rank and appends
# one JSON line a run to bench/results/seeds.jsonl. wall_s holds both runs, the plan's and that of
# one rank; peak_bytes is the most that was resident at any time (VmHWM), read ten times a second.
# BINARY: another build than build/release. Exits with 1 if a run failed or bits differ.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-build/release/pentafold}
results=bench/results/seeds.jsonl
[ -x "$binary" ] || { echo "seeds.sh: $binary is not built; run make" >&2; exit 2; }
[ $# -gt 0 ] || set -- a b d
mkdir -p "$(dirname "$results")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

commit=$(git describe --always --dirty --abbrev=12)
cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"\134')
cores=$(nproc)

# The first "key": value of the report; its keys of interest appear once at the outermost level.
field() {
  sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$scratch/report.json" | head -n 1
}

# Runs "$@" and sets peak_kib; the last reading stands when the process is gone.
watch_peak() {
  peak_kib=0
  "$@" >"$scratch/report.json" 2>"$scratch/errors" &
  local pid=$! now
  while kill -0 "$pid" 2>/dev/null; do
    now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    peak_kib=${now:-$peak_kib}
    sleep 0.1
  done
  wait "$pid"
}

failed=0
for seed in "$@"; do
  begin=$(date +%s%N)
  code=0
  watch_peak "$binary" run "specs/seeds/$seed.yaml" --check-one-rank --json || code=$?
  wall_ms=$((($(date +%s%N) - begin) / 1000000))
  if [ "$code" -gt 1 ]; then
    echo "seeds.sh: seed $seed ended with exit code $code: $(tail -n 1 "$scratch/errors")" >&2
    failed=1
    continue
  fi
  [ "$code" -eq 0 ] || failed=1
  same=$(sed -n 's/^    "same_bits": \([a-z]*\)$/\1/p' "$scratch/report.json")
  printf '{"seed": "%s", "plan": "%s", "ranks": %s, "wall_s": %s, "start_s": %s, "load_s": %s, ' \
    "$seed" "$(field plan)" "$(field ranks)" "$((wall_ms / 1000)).$(printf %03d $((wall_ms % 1000)))" \
    "$(field start_s)" "$(field load_s)" >"$scratch/line"
  printf '"run_s": %s, "tokens_per_s": %s, "peak_bytes": %s, "same_bits": %s, "logits_hash": "%s", ' \
    "$(field run_s)" "$(field tokens_per_s)" "$((peak_kib * 1024))" "$same" "$(field logits_hash)" \
    >>"$scratch/line"
  printf '"commit": "%s", "cpu": "%s", "cores": %s, "date": "%s"}\n' \
    "$commit" "$cpu" "$cores" "$(date -u +%FT%TZ)" >>"$scratch/line"
  tee -a "$results" <"$scratch/line"
done
exit "$failed"
