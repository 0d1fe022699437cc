#!/usr/bin/env bash
# A disk that fails: each call by which a run writes into its folder fails once, with strace between the program and
# the system. Every time the run has to end with one error that names the file, to leave what was there before as it
# was, and to go on to the very result of a run that nothing disturbed. Then the same on disks that are too small.
#
# usage: tests/faults.sh [FOLDER [EVERY]]   the binaries in FOLDER (target/release); one call in EVERY (1: each)
# Says so and skips where strace is missing or may not trace; the small disks need root and mount. On two cores each
# call takes some ten minutes, every seventh one or two.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath "${1:-target/release}")
every=${2:-1}

skip() { echo "faults: skipped, $1"; exit 0; }
command -v strace >/dev/null || skip 'strace is not installed'
strace -f --seccomp-bpf -qq -o /dev/null -e trace=write -e inject=write:error=ENOSPC:when=1000 true 2>/dev/null ||
  skip 'strace may not trace here'

scratch=$(realpath "$(mktemp -d)")
# the same place for each run: configs and checkpoints name it
work=$scratch/work
run=$work/run
mkdir "$work"
take_down() {
  code=$?
  if mountpoint -q "$work"; then umount "$work"; fi
  rm -rf "$scratch"
  exit "$code"
}
trap take_down EXIT

# runs of a second or less, with three checkpoints or more
declare -A settings outputs
settings[ppo]='env.num_envs=8 eval.num_envs=2 env.max_steps=8 train.num_steps=4 train.updates=6 eval.every=3
  checkpoint.every=2'
outputs[ppo]='--csv --tensorboard'
settings[mnist]='data.dataset=sample model.hidden=[16,8] model.latent=20 train.epochs=3 train.batch_size=200
  checkpoint.every=1'
outputs[mnist]='--csv --tensorboard'
settings[lm]="data.cache=$work/cache data.max_documents=60 data.validation_documents=400 data.vocab_size=300
  model.n_layer=3 model.n_head=2 model.n_embd=16 model.d_mlp=32 model.block_size=24 train.steps=8 train.batch_size=4
  train.warmup_steps=2 coherence.stories=4 coherence.steps=2 coherence.validation_stories=4 retrain.stories=[1,2]
  retrain.steps=2 retrain.every=1 retrain.repeats=1 retrain.validation_stories=4 routing.layers=[0]
  routing.extra_neurons=4 rmu.layers=[0] rmu.target=0 steer.layers=[0] steer.at_layer=0 localise.neurons=4
  eval.stories=4 eval.every=5 checkpoint.every=4"
outputs[lm]='--csv'

train() { # KEEP [PREFIX…]: a run from its beginning, which keeps so many checkpoints
  local given set=() setting keep=$1
  shift
  read -rd '' -a given <<<"${settings[$name]} checkpoint.keep=$keep" || true
  for setting in "${given[@]}"; do set+=(--set "$setting"); done
  try "$@" "$folder/$name-routed" "${set[@]}" --out "$run" --quiet
}
resume() { try "$folder/$name-routed" resume "$run"; }
try() { # COMMAND…: its exit code in `code`, what it prints in the files `out` and `err`
  runs=$((runs + 1)) code=0
  # shellcheck disable=SC2086 # the outputs are words
  "$@" --threads 1 ${outputs[$name]} >"$scratch/out" 2>"$scratch/err" || code=$?
}

# strace counts the calls of each thread for itself, and the Nth of each fails. So the first thread begins with so many
# opens and writes, of which any may fail, that its numbers are beyond those of all others, which read some files for
# each processor.
lead=$((300 + 100 * $(getconf _NPROCESSORS_CONF)))
# shellcheck disable=SC2016 # for the shell that it is handed to
ahead=(sh -c 'n=$1; shift; while [ "$n" -gt 0 ]; do echo >/dev/null; n=$((n - 1)); done 2>/dev/null; exec "$@"'
  ahead "$lead")

kinds='openat,write,writev,pwrite64,ftruncate,fsync,fdatasync'
kinds="$kinds,?rename,?renameat,?renameat2,?mkdir,mkdirat,?unlink,unlinkat"
trace() { # LOG [OPTION…]
  # with one arena the allocator asks /proc for nothing: it would when the heap of a thread shrinks, in some runs and not
  # in others, and move the numbers of all opens after it
  train 2 env MALLOC_ARENA_MAX=1 strace -f --seccomp-bpf -qq -y -s 0 -o "$scratch/$1" -e "trace=$kinds" "${@:2}" \
    "${ahead[@]}"
}

# The calls of logs that write, in their order, a line each: which log, the call, its number, the path that it is
# counted on (- where that path is another in each run), the file that it is about, whether the run can do without
# it, the checkpoints that are there before it. Where another thread comes to the same number first, a call may be
# within reach in the next log; what is not is said on stderr.
list_calls() { # LOG…
  local twice=() log
  for log in "$@"; do twice+=("$log" "$log"); done
  awk -v work="$work/" -v OFS='\t' '
    function about(line, kind,   parts) {
      if (kind ~ /^(write|writev|pwrite64|ftruncate|fsync|fdatasync)$/) {
        return match(line, /<[^>]*>/) ? substr(line, RSTART + 1, RLENGTH - 2) : ""
      }
      split(line, parts, "\"")
      return kind ~ /^rename/ ? parts[4] : parts[2]
    }
    # counts a call of a thread; whether no other thread has come to that number before
    function is_first(thread, kind, on,   number) {
      number = ++count[thread, kind, on]
      if (path == "/dev/null") return 0
      if (!((kind, on, number) in first)) first[kind, on, number] = thread
      return first[kind, on, number] == thread
    }
    / resumed>/ { next }
    { kind = $2; sub(/\(.*/, "", kind); path = about($0, kind) }
    FNR == 1 { pass++ }
    # the first reading of a log: what becomes of temporary files, and which paths are folders
    pass % 2 == 1 {
      if (FNR == 1) { split("", final); split("", folder) }
      if (kind ~ /^rename/) { split($0, parts, "\""); final[parts[2]] = path }
      if (kind ~ /^mkdir/) folder[path] = 1
      next
    }
    FNR == 1 { split("", count); split("", first); split("", times); saved = "" }
    {
      counted_on = "-"
      in_reach = is_first($1, kind, "-")
      number = count[$1, kind, "-"]
      if (path !~ /\/\.unfinished-[^\/]*$|tfevents/ && (is_first($1, kind, path) || !in_reach)) {
        counted_on = path
        in_reach = first[kind, path, count[$1, kind, path]] == $1
        number = count[$1, kind, path]
      }
    }
    # opened to be read, or no file of the run
    index(path, work) != 1 || kind == "openat" && !/O_CREAT/ && (!(path in folder) || /O_DIRECTORY/) { next }
    {
      file = path in final ? final[path] : path
      sub(/tfevents.*/, "tfevents", file)
      harmless = path in folder && kind ~ /^(openat|fsync)$/ || kind ~ /^unlink/
      key = kind " " file " " (++times[kind, file])
      if (in_reach && !(key in reached)) {
        print pass / 2, kind, number, counted_on, file, harmless ? "harmless" : "harmful", saved ",-"
      }
      # the run goes on after a harmless one, so that it fails in the other thread, too
      if (in_reach || harmless) reached[key] = 1
      all[key] = 1
      if (kind ~ /^rename/ && file ~ /\/checkpoints\//) saved = saved "," file
      if (kind ~ /^unlink/ && (at = index(saved, "," file))) {
        saved = substr(saved, 1, at - 1) substr(saved, at + 1 + length(file))
      }
    }
    END { for (key in all) if (!(key in reached)) print "out of reach: " key > "/dev/stderr" }
  ' "${twice[@]}" 2> >(sed "s/^/faults: $name-routed: /" >&2)
}

# The files of a folder and a checksum of each, without times and what follows from them.
fingerprints() { # FOLDER
  local file clocks='s/"(seconds|sps|images_per_second|charts\/SPS)": ?[0-9.e+-]+,?//'
  (cd "$1" && find . -type f | LC_ALL=C sort) | while IFS= read -r file; do
    case $file in
      */.lock) continue ;;
      */tensorboard/*) echo "${file%%tfevents*}" ;;
      */manifest.json | */metrics.csv) echo "$file $(tail -c 1 "$1/$file" | cksum)" ;;
      # a safetensors file: the length of its header, the header, padding, the tensors
      *.safetensors)
        echo "$file $(tail -c +9 "$1/$file" | LC_ALL=C sed -E \
          '1{s/\\"seconds\\":[^,}]*//;s/\\"keep\\":[0-9]+//;s/\\"crc32c\\":\\"[0-9a-f]+//;s/\} +/}/}' | cksum)"
        ;;
      *.json | *.jsonl) echo "$file $(sed -E "$clocks" "$1/$file" | cksum)" ;;
      *) echo "$file $(cksum <"$1/$file")" ;;
    esac
  done | uniq
}

complain() {
  bad=$((bad + 1))
  printf 'faults: %s: %s\n' "$what" "$1" >&2
  tail -n 4 "$scratch/err" | cut -c 1-400 | sed 's/^/    /' >&2
}

# What a run leaves that could not write FILE: one error, whole files, the checkpoints that were there.
judge() { # FILE CHECKPOINTS
  local checkpoint halves
  [ "$code" = 1 ] || complain "exit code $code, not 1"
  if [ "$(grep -c '^error: ' "$scratch/err")" != 1 ] || grep -qv '^error: \|^hint: ' "$scratch/err"; then
    complain 'not one error'
  fi
  grep '^error: ' "$scratch/err" | grep -qF "$1" || complain "the error does not name $1"
  for checkpoint in ${2//,/ }; do
    [ "$checkpoint" = - ] || [ -e "$checkpoint" ] || complain "$checkpoint is gone"
  done
  # what a run appends to may end in half a line
  halves=$(fingerprints "$work" | grep -v '/metrics.jsonl \|/snapshots.jsonl ' | grep -vxFf "$scratch/whole" || true)
  [ -z "$halves" ] || complain "left behind: $halves"
}

# Goes on as the hints say, to the result of the undisturbed run.
go_on() {
  if compgen -G "$run/checkpoints/*.safetensors" >/dev/null; then
    resume
  else
    train 2
    if [ "$code" != 0 ] && grep -q '^hint: .*resume' "$scratch/err"; then resume; fi
    if [ "$code" != 0 ] && grep -q '^hint: remove the folder and start the run again' "$scratch/err"; then
      rm -rf "$run"
      train 2
    fi
  fi
  if [ "$code" != 0 ]; then complain "does not go on: exit code $code" && return; fi
  if grep -q 'skipped: ' "$scratch/err"; then complain 'a checkpoint cannot be read'; fi
  compare
}
compare() { # [BUT_FOR]
  fingerprints "$work" | { if [ $# = 0 ]; then cat; else grep -vF "$1" || true; fi; } >"$scratch/now"
  diff "$scratch/now" "$scratch/undisturbed" >"$scratch/difference" ||
    complain "not the undisturbed run: $(tr '\n' ' ' <"$scratch/difference")"
}

# Whether a call about FILE, or about one that was to take its name, was made to fail.
hit() { # FILE
  grep INJECTED "$scratch/log" | grep -qF -e "$1" -e "$(dirname "$1")/.unfinished-"
}

fail_each() {
  local log kind number counted_on file harm saved only errno
  while IFS=$'\t' read -r log kind number counted_on file harm saved <&3; do
    what="$name-routed, $kind $number of $file"
    case $kind in
      fsync | fdatasync | rename* | unlink*) errno=EIO ;;
      openat) if ((number % 2)); then errno=EMFILE; else errno=ENOSPC; fi ;;
      *) errno=ENOSPC ;;
    esac
    only=()
    if [ "$counted_on" != - ]; then only=(-P "$counted_on"); fi
    # a run in which another call failed says nothing, and is made again
    for _ in 1 2 3 4 5; do
      rm -rf "${work:?}"/*
      if [ "$log" = 2 ]; then cp -r "$scratch/cache" "$work"; fi
      trace log "${only[@]}" -e "inject=$kind:error=$errno:when=$number"
      if hit "$file"; then break; fi
    done
    if ! hit "$file"; then
      complain 'strace let it pass'
    elif [ "$harm" = harmless ] && [ "$code" = 0 ]; then
      if [[ $kind = unlink* ]]; then compare "${file#"$work"}"; else compare; fi
    elif [ "$harm" = harmless ]; then
      complain "exit code $code, where the run can do without it"
    else
      judge "$file" "$saved"
      go_on
    fi
  done 3<"$scratch/cases"
}

too_small() { # fills disks of several sizes, the last one just too small
  local used share
  used=$(du -sk "$work" | cut -f 1)
  rm -rf "${work:?}"/*
  for share in 1 10 30 50 70 90; do
    what="$name-routed, a disk of $share% of what it needs"
    mount -t tmpfs -o "size=$((used * share / 100 + 1))k" faults "$work"
    train 2
    judge "$work" -
    mount -o "remount,size=$((used * 3))k" "$work"
    go_on
    umount "$work"
  done
}

may_mount=yes
{ [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k faults "$work" 2>/dev/null && umount "$work"; } || may_mount=
all_bad=0
for name in ppo mnist lm; do
  what="$name-routed" runs=0 bad=0
  # every checkpoint that a run writes
  rm -rf "${work:?}"/*
  train 0
  fingerprints "$work" | grep '/checkpoints/' >"$scratch/whole" || true
  rm -rf "${work:?}"/*
  trace log1
  if [ "$code" != 0 ]; then complain 'does not run' && exit 1; fi
  fingerprints "$work" >"$scratch/undisturbed"
  cat "$scratch/undisturbed" >>"$scratch/whole"
  logs=("$scratch/log1")
  if [ -d "$work/cache" ]; then
    # once more, with the texts at hand that the first run has left in its cache
    rm -rf "$scratch/cache" "$run"
    cp -r "$work/cache" "$scratch"
    trace log2
    compare
    logs+=("$scratch/log2")
  fi
  list_calls "${logs[@]}" | awk -v every="$every" '(NR - 1) % every == 0' >"$scratch/cases"
  fail_each
  tally=$(cut -f 2 "$scratch/cases" | sort | uniq -c | awk '{ printf "%s%d %s", sep, $1, $2; sep = ", " }')
  disks='full disks skipped, they need root and mount'
  if [ -n "$may_mount" ]; then
    rm -rf "${work:?}"/*
    train 2
    too_small
    disks='and 6 disks too small'
  fi
  verdict='all good'
  if ((bad)); then verdict="$bad BAD"; fi
  calls=$(wc -l <"$scratch/cases")
  echo "faults: $name-routed: $calls calls failed in turn ($tally), $disks; $runs runs, $verdict ($SECONDS s)"
  all_bad=$((all_bad + bad))
done
[ "$all_bad" = 0 ]
