#!/usr/bin/env bash
# Question: what do the commands shown in docs/case-studies/ print today?
#
# make.sh [FILE...]: runs every command of every ```console block of the files (default: all of the
# folder) in the repository's root, and writes its output in place of the old one. A command is a
# line that starts with "$ ", and goes on after a line that ends in a backslash. The time that a
# search took is left out, so that the same build gives the same text.
# BINARY: another build than build/release.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$(realpath "${BINARY:-build/release/pentafold}")
[ -x "$binary" ] || { echo "make.sh: $binary is not built; run make" >&2; exit 2; }
[ $# -gt 0 ] || set -- docs/case-studies/*.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ln -s "$binary" "$scratch/pentafold"
PATH=$scratch:$PATH

# Exit code 1 of a command is an answer ("there is no plan"); of a pipe only the last one counts.
run() {
  { bash -c "$1" 2>&1 || [ $? -eq 1 ]; } </dev/null |
    sed -E 's/( candidates) in [0-9.]+ (ns|us|ms|s|min)([ :]|$)/\1\3/'
}

refresh() {
  local line command='' in_block=0 going_on=0
  while IFS= read -r line; do
    if [ "$in_block" = 0 ]; then
      printf '%s\n' "$line"
      [ "$line" != '```console' ] || in_block=1
    elif [ "$line" = '```' ]; then
      printf '%s\n' "$line"
      in_block=0
    elif [ "$going_on" = 1 ] || [[ $line == '$ '* ]]; then
      printf '%s\n' "$line"
      [ "$going_on" = 1 ] || { command='' line=${line#'$ '}; }
      command+=$line$'\n'
      going_on=0
      if [[ $line == *\\ ]]; then going_on=1; else run "$command"; fi
    fi
  done
}

for file in "$@"; do
  echo "$file" >&2
  refresh <"$file" >"$scratch/new"
  cat "$scratch/new" >"$file"
done
