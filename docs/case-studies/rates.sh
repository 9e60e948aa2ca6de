#!/usr/bin/env bash
# Question: are 100 tokens/ms on one GPU possible for the models of the five documents, in prefill and
# in decode, and if not, what is in the way?
#
# rates.sh: a line for each model, phase and length: yes or no, the rate of the best plan, the rate that
# no plan can exceed, and the largest part of a token's time in that bound. 16 GPUs, any batch; decode
# is an answer of twice the length after a prompt of one token, so that the length is the mean
# context. Needs pentafold on the PATH (make.sh puts it there).
set -euo pipefail

row() {
  local model=$1 phase=$2 length=$3 text reached bound why
  shift 3
  text=$(pentafold plan --model "$model" --cluster seed-64gb --gpus 16 --precision stored "$@") ||
    [ $? -eq 1 ]
  bound=$(sed -n 's/.*tokens\/s per GPU than \([^,]*\),.*/\1/p' <<<"$text")
  why=$(sed -n 's/.*(per token: \([^;)]*\).*/\1/p' <<<"$text")
  if [ -z "$bound" ]; then
    reached=$(sed -En 's/^  [0-9]+ GPUs?:.*, ([0-9.]+( [kM])?) .*tokens\/s per GPU.*/\1/p' <<<"$text")
    printf '%-17s %-8s %6s  yes  %8s\n' "$model" "$phase" "$length" "$reached"
  else
    reached=$(sed -n 's/.*tokens.s per GPU \(.*\) instead of.*/\1/p' <<<"$text")
    printf '%-17s %-8s %6s  no   %8s  %8s  %s\n' \
      "$model" "$phase" "$length" "$reached" "$bound" "$why"
  fi
}

printf '%-17s %-8s %6s  %-4s %8s  %8s  %s\n' \
  model phase tokens 100k best bound "largest part of the bound, per token"
for model in seed-ab seed-ab-declared seed-ce seed-ce-declared; do
  for length in 128 1024 10240; do
    row "$model" prefill "$length" --isl "$length" --osl 1 \
      --target prefill_tokens_per_s_per_gpu=100000
  done
  for length in 128 1024 10240; do
    row "$model" decode "$length" --isl 1 --osl $((2 * length)) \
      --target tokens_per_s_per_gpu=100000
  done
done
