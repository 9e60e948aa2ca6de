#!/usr/bin/env bash
# Runs the shipped model on four ranks (DP2 x TP2 attention, EP4 experts), then on one, and compares
# the bits of the logits. `make demo` builds what it needs first.
set -euo pipefail
cd "$(dirname "$0")/.."

prompt="It is a truth universally acknowledged, that"
echo "prompt: $prompt"
exec build/release/pentafold run --plan tp=2,ep=4 --model models/tiny-moe --prompt "$prompt" \
  --max-tokens 64 --temperature 0.7 --top-k 40 --seed 5 --logits-hash --check-one-rank
