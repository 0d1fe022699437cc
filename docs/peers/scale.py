"""Times the training steps of ppo-routed and lm-routed at growing sizes and writes a line a measurement.

    cargo build --release -p ppo-routed -p lm-routed
    python docs/peers/scale.py docs/results/scale.jsonl         # about twenty minutes of an idle machine
    cargo run --release -p redraw                               # figures and tables of docs/performance.md

Sizes: environments 64 to 16,384, hidden layers of 64 to 1,024 units, language models of width 64 to 512; one thread and two.
A line has the size, the median, fastest and slowest seconds of a step, the largest resident set and the machine. What stands in
the file is not measured again, so an interrupted run goes on. Standard library only; Linux.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROLLOUT = 32  # steps of an environment in an update
ENVIRONMENTS = 512
LANGUAGE_BATCH = 32 * 128  # tokens of a step


def oversight(work, algo, size, axis):
    """A training step of ppo-routed: its command, and how many environment steps it takes."""
    environments = size if axis == "environments" else ENVIRONMENTS
    sets = [f"env.num_envs={environments}"]
    if axis == "hidden":
        sets.append(f"model.hidden=[{size},{size}]")
    command = ["ppo-routed", "bench", "--algo", algo, "--updates", "1"]
    return work, command + [word for text in sets for word in ("--set", text)], environments * ROLLOUT, "sps"


def language(size):
    """A training step of the small default model, its heads 32 wide."""
    sets = [f"model.n_embd={size}", f"model.d_mlp={4 * size}", f"model.n_head={max(size // 32, 1)}"]
    command = ["lm-routed", "bench", "--shape", "config"] + [word for text in sets for word in ("--set", text)]
    return "language model", command, LANGUAGE_BATCH, "tokens_per_second"


def measurements():
    """What is measured: axis, size, threads, and the step."""
    for threads in (1, 2):
        for size in (64, 256, 1024, 4096, 16384):
            yield "environments", size, threads, oversight("REINFORCE", "reinforce", size, "environments")
            if threads > 1 or size < 16384:  # minutes an update on one thread
                yield "environments", size, threads, oversight("PPO", "ppo", size, "environments")
        for size in (64, 128, 256, 512, 1024):
            yield "hidden", size, threads, oversight("REINFORCE", "reinforce", size, "hidden")
            yield "hidden", size, threads, oversight("PPO", "ppo", size, "hidden")
        for size in (64, 128, 256, 512):
            yield "width", size, threads, language(size)


def measured(command, samples, key):
    """Seconds a step and memory of one run of `bench`."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"{' '.join(command)}: it failed")
        out.seek(0)
        line = json.loads(out.read().decode().splitlines()[-1])
    speed = {"sps": ("sps_median", "sps_max", "sps_min")}.get(key, (key, f"{key}_max", f"{key}_min"))
    seconds = [round(samples / line[name], 6) for name in speed]
    return dict(zip(("seconds", "seconds_min", "seconds_max"), seconds), mib=round(usage.ru_maxrss / 1024, 1))


def machine():
    """The processor, and the widest vectors that it has."""
    text = Path("/proc/cpuinfo").read_text()
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), platform.machine())
    return f"{name}, {'AVX-512' if ' avx512f' in text else 'AVX2' if ' avx2' in text else 'no AVX2'}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="JSONL; goes on where it stands")
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release", help="folder of the binaries")
    parser.add_argument("--only", choices=("environments", "hidden", "width"), help="this axis alone")
    args = parser.parse_args()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {tuple(json.loads(line)[key] for key in ("axis", "work", "threads", "size")) for line in lines}
    for axis, size, threads, (work, command, samples, key) in measurements():
        if args.only not in (None, axis) or (axis, work, threads, size) in done:
            continue
        command = [str(args.bin / command[0]), *command[1:], "--repetitions", "5", "--threads", str(threads)]
        point = {"axis": axis, "work": work, "threads": threads, "size": size} | measured(command, samples, key)
        with args.out.open("a") as out:
            out.write(json.dumps(point | {"machine": machine()}) + "\n")
        print(json.dumps(point), file=sys.stderr)


if __name__ == "__main__":
    main()
