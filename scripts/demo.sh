#!/usr/bin/env bash
# Runs the shipped model on four ranks (DP2 x TP2 attention, EP4 experts), then on one, and compares
# the bits of the logits. `make demo` builds what it needs first.
set -euo pipefail
cd "$(dirname "$0")/.."

exec build/release/pentafold run --plan tp=2,ep=4 --model models/tiny-moe \
  --prompt "The old sailor looked at the sea and" --max-tokens 48 --logits-hash --check-one-rank
