#!/usr/bin/env bash
# Fuzzes one reader, guided by coverage, from its corpus; what reaches new code is added to the corpus.
# usage: fuzz/run.sh TARGET SECONDS [libFuzzer's options]    (needs cargo-fuzz: cargo install --locked cargo-fuzz)
# A fault is kept under fuzz/artifacts; five seconds or 400 MiB for one input are faults.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1 seconds=$2
shift 2
corpus=fuzz/corpus/$target.tar.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/kept" "$work/small" "fuzz/artifacts/$target"
[ ! -e "$corpus" ] || tar -xzf "$corpus" -C "$work/kept"
# the coverage flags are stable; sanitizers, which are not, watch over nothing in code without `unsafe`
fuzzer() { TARGET=$target cargo fuzz run --sanitizer none reader "$@"; }
SAMPLES=$work/kept fuzzer "$work/kept" -- -max_total_time="$seconds" -timeout=5 -rss_limit_mb=400 -max_len=32768 -print_final_stats=1 \
  -artifact_prefix="fuzz/artifacts/$target/" "$@"
# the smallest set of inputs that reaches as much
fuzzer "$work/small" "$work/kept" -- -merge=1 -timeout=5
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$work/small" -cf - . | gzip -n9 >"$corpus"
