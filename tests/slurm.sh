#!/usr/bin/env bash
# A sweep through a real Slurm on this machine: an array of 12 runs, of which one is killed and, with all others
# at work then, put out by a restart of the node; in the end everything is gathered, as without Slurm.
#
# usage: tests/slurm.sh [PPO_ROUTED]     as root, with slurm-wlm and munge installed; says so and skips without
# Sets up munge, slurmctld and slurmd in a scratch folder and takes them down again. About a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:-target/release/ppo-routed}")

skip() { echo "slurm: skipped, $1"; exit 0; }
for need in slurmctld slurmd sbatch scontrol munged munge; do
  PATH="$PATH:/usr/sbin" command -v "$need" >/dev/null || skip "$need is not installed"
done
[ "$(id -u)" = 0 ] || skip "it needs root to start munge and slurmd"
export PATH="$PATH:/usr/sbin"
pgrep -x slurmctld >/dev/null && skip "a Slurm is running here already"

scratch=$(mktemp -d)
chmod 755 "$scratch"
own_munge=
take_down() {
  code=$?
  for daemon in slurmd slurmctld; do
    if [ -s "$scratch/$daemon.pid" ]; then kill "$(cat "$scratch/$daemon.pid")" 2>/dev/null || true; fi
  done
  pkill -f "slurmstepd: \[.*\]" 2>/dev/null || true
  if [ -n "$own_munge" ]; then pkill -x munged || true; fi
  if [ "$code" != 0 ]; then tail -n 20 "$scratch"/*.log "$scratch"/sweep/slurm/*.log 2>/dev/null || true; fi
  # the controller writes its state once more when it ends
  for _ in $(seq 50); do pgrep -x 'slurmctld|slurmd' >/dev/null || break; sleep 0.1; done
  rm -rf "$scratch" || true
  exit "$code"
}
trap take_down EXIT

wait_until() { # SECONDS WHAT COMMAND…
  local patience=$1 what=$2
  shift 2
  for ((tenth = 0; tenth < patience * 10; tenth++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  echo "slurm: waited $patience s in vain until $what" >&2
  return 1
}

if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
  [ -s /etc/munge/munge.key ] || dd if=/dev/urandom bs=1024 count=1 of=/etc/munge/munge.key status=none
  mkdir -p /run/munge
  chown munge: /etc/munge/munge.key /run/munge
  chmod 400 /etc/munge/munge.key
  runuser -u munge -- munged
  own_munge=yes
fi
wait_until 10 'munge works' bash -c 'munge -n | unmunge'

host=$(hostname -s)
export SLURM_CONF="$scratch/slurm.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=loop
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
CONF
mkdir "$scratch/state" "$scratch/spool"
slurmctld
slurmd
wait_until 30 'the node is idle' bash -c 'sinfo -h -o %t | grep -qx idle'

# 12 runs of a few seconds
settings=(--set 'sweep.methods=["routing","naive","filtering"]' --set 'sweep.oversight_probs=[0.1,0.5]'
  --set 'sweep.seeds=[0,1]' --set env.num_envs=64 --set eval.num_envs=16 --set train.updates=100
  --set eval.every=50 --set checkpoint.every=5)
"$program" sweep "${settings[@]}" --out "$scratch/plain" --quiet >/dev/null

sweep=$scratch/sweep
"$program" sweep slurm "${settings[@]}" --out "$sweep" --submit
running() { pgrep -f "sweep run $sweep --index" >/dev/null; }
finished() { [ "$(find "$sweep" -name summary.json | wc -l)" -ge "$1" ]; }
has_checkpoint() { compgen -G "$sweep/$1/checkpoints/*.safetensors" >/dev/null; }

wait_until 60 'the first run has a checkpoint' has_checkpoint '*-seed0'
pkill -KILL -o -f "$program sweep run $sweep --index"
echo 'slurm: one task killed'

wait_until 120 'two runs are done' finished 2
wait_until 60 'a run is at work' running
kill "$(cat "$scratch/slurmd.pid")"
pkill -KILL -f "slurmstepd: \[" || true
pkill -KILL -f "$program sweep run $sweep --index" || true
wait_until 20 'slurmd is gone' bash -c "! pgrep -x slurmd"
slurmd
echo 'slurm: node restarted'

wait_until 240 'all jobs have ended' bash -c 'test -z "$(squeue -h)"'
finished 12
for table in results.csv table.csv differences.csv curves.csv table.md; do
  cmp "$scratch/plain/$table" "$sweep/$table"
done
grep -q '12 of 12 runs' "$sweep/slurm/collect.log"
restarts=$(cat "$sweep"/slurm/run-*.log | grep -c . || true)
echo "slurm: passed, 12 of 12 runs gathered as without Slurm ($restarts lines in the logs of the tasks)"
