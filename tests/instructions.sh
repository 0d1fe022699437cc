#!/usr/bin/env bash
# How many instructions each program takes for its start and one training step, counted by callgrind and held against
# tests/instructions.txt: at most 5% more than there.
#
# usage: tests/instructions.sh [BIN_DIR] [--write]     --write writes the file anew in place of holding against it
# Says so and skips where valgrind is not there. About a minute and a half of one core.
#
# callgrind shows a program a processor with AVX2 and nothing beyond it, so that the counts do not depend on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "${1:-target/release}")
counted=tests/instructions.txt
command -v valgrind >/dev/null || { echo 'instructions: skipped, valgrind is not there'; exit 0; }
grep -q avx2 /proc/cpuinfo || { echo 'instructions: skipped, the processor has no AVX2'; exit 0; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
language=(lm-routed bench --shape config --set model.n_layer=2 --set 'routing.layers=[0,1]' --set 'rmu.layers=[0]'
  --set rmu.target=0 --set 'steer.layers=[0]' --set steer.at_layer=0 --set train.batch_size=2)
works=(
  "ppo ppo-routed bench --algo ppo --set env.num_envs=8"
  "reinforce ppo-routed bench --algo reinforce --set env.num_envs=32"
  "mnist mnist-routed bench --set train.batch_size=16"
  "lm ${language[*]}"
  "lm-gram ${language[*]} --method gram"
)
# a frozen model, and a vocabulary that it can be opened with
base=$scratch/base
cp -r crates/pretrained/tests/golden/llama-f32 "$base"
echo '{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
  "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}' >"$base/tokenizer.json"
works+=("adapt lm-routed bench --base $base --set model.block_size=16 --set adapt.blocks=0 --set train.batch_size=8")

count() { # PROGRAM ARGUMENT…
  local program=$1
  shift
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$scratch/log" \
    "$bin/$program" "$@" --threads 1 --untimed 1 >"$scratch/line" 2>&1 || { cat "$scratch"/l* >&2; return 1; }
  awk '/Collected/ { print $NF }' "$scratch/log"
}

for work in "${works[@]}"; do
  read -r -d '' -a words <<<"$work" || true
  instructions=$(count "${words[@]:1}")
  echo "${words[0]} $instructions" | tee -a "$scratch/now"
done
if [ "${2:-}" = --write ]; then
  { echo '# instructions of a start and one training step; written by tests/instructions.sh BIN_DIR --write'; cat "$scratch/now"; } >"$counted"
  exit
fi
awk 'NR == FNR { if ($1 != "#") was[$1] = $2; next }
  !($1 in was) { print "instructions: " $1 " is not in the file"; bad = 1; next }
  $2 > 1.05 * was[$1] { printf "instructions: %s takes %.1f%% more than in the file\n", $1, 100 * ($2 / was[$1] - 1); bad = 1 }
  { delete was[$1] }
  END { for (work in was) { print "instructions: " work " is in the file alone"; bad = 1 }; exit bad }' "$counted" "$scratch/now"
