"""What both peers share: the setting of the work, the options, the clock. Standard library only.

One update: 512 gridworlds of 5x5 cells take 32 steps each; the label of an overseen episode is carried back over all
its steps and chooses the route of the policy gradient; then PPO takes 4 epochs x 4 minibatches of gradient steps,
REINFORCE one. Networks, routes, losses and settings are those of `ppo-routed bench`, all of it in f32.
"""

import argparse
import ctypes
import json
import math
import os
import statistics
import sys
import time
from typing import NamedTuple

SIDE, CELLS, PLANES, ACTIONS, WIDTH = 5, 25, 4, 4, 256
NUM_ENVS, NUM_STEPS, MAX_STEPS, OVERSIGHT = 512, 32, 32, 0.1
SAMPLES = NUM_ENVS * NUM_STEPS
GAMMA, LAMBDA, CLIP, VALUE_WEIGHT, GRAD_NORM = 0.97, 0.95, 0.2, 0.5, 0.5
BOTH, DIAMOND, GHOST = 0, 1, 2  # routes: whom a sample trains
REPETITION_SECONDS = 2.0


class Settings(NamedTuple):
    """What differs between the algorithms. `clipped`: PPO's objective on advantages, else REINFORCE on returns."""

    clipped: bool
    epochs: int
    minibatches: int
    rate: float
    eps: float
    entropy: float
    gate: float


ALGORITHMS = {
    "ppo": Settings(True, 4, 4, 2.5e-4, 1e-5, 0.2, 0.3),
    "reinforce": Settings(False, 1, 1, 5e-5, 1e-8, 0.1, 0.01),
}


def options(description: str, **more: dict) -> argparse.Namespace:
    """The command line. `more` are options that only one peer has, each with its arguments for `add_argument`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=ALGORITHMS, default="ppo")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="all cores")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="timed ones, of two seconds each")
    parser.add_argument("--json", action="store_true", help="print the JSON line and nothing else")
    parser.add_argument("--check", action="store_true", help="compare gradients and train a little; time nothing")
    for name, arguments in more.items():
        parser.add_argument(f"--{name}", **arguments)
    args = parser.parse_args()
    if args.threads < 1 or args.repetitions < 5:
        parser.error("--threads starts at 1, --repetitions at 5")
    return args


def measure(update, args: argparse.Namespace, framework: str, version: str, each: int = 1) -> None:
    """Times calls of `update`, each of `each` whole updates, and prints one line of JSON with steps per second."""
    began = time.perf_counter()
    update()
    say(args, f"compiled and warm after {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    for _ in range(3):
        update()
    calls = math.ceil(3 * REPETITION_SECONDS / (time.perf_counter() - began))
    speeds = []
    for _ in range(args.repetitions):
        began = time.perf_counter()
        for _ in range(calls):
            update()
        speeds.append(calls * each * SAMPLES / (time.perf_counter() - began))
        say(args, f"{calls * each} updates: {speeds[-1]:,.0f} steps/s")
    line = {
        "work": "ppo-routed training step",
        "framework": framework,
        "version": version,
        "algo": args.algo,
        "threads": args.threads,
        "sps_median": round(statistics.median(speeds)),
        "sps_min": round(min(speeds)),
        "sps_max": round(max(speeds)),
    }
    print(json.dumps(line), flush=True)


def say(args: argparse.Namespace, text: str) -> None:
    """Progress, on stderr."""
    if not args.json:
        print(text, file=sys.stderr, flush=True)


def check(routes, gradients, training) -> None:
    """The self-test: exits with 1 where a tuned step is not the step as defined, or does not learn.

    `routes` counts the batch's samples of each route. `gradients` yields (name, largest difference, largest entry)
    of each parameter, the tuned gradient against the one of three detached passes in layers as they stand.
    `training` is the share of ended episodes that reached a terminal, update by update.
    """
    print("samples by route, both / diamond / ghost:", *routes)
    faults = [] if min(routes) > 0 else ["the batch lacks a route"]
    for name, difference, largest in gradients:
        print(f"{name:24} largest entry {largest:.2e}, largest difference {difference:.2e}")
        if not 0 < largest or not difference <= 1e-4 * largest:
            faults.append(f"the gradient of {name} is off")
    before, after = statistics.mean(training[:3]), statistics.mean(training[-3:])
    print(f"episodes that reach a terminal: {before:.1%}, after {len(training)} updates {after:.1%}")
    if not 1 - after < 0.7 * (1 - before):
        faults.append("training does not help")
    print("\n".join(f"FAILED: {fault}" for fault in faults) or "passed")
    sys.exit(1 if faults else 0)


def keep_freed_memory() -> None:
    """Tells glibc to reuse large blocks instead of returning each to the kernel, which costs page faults."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink
