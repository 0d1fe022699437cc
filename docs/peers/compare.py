"""Times `ppo-routed bench` and its peers in turn on this machine and prints a Markdown table with their ratios.

    cargo build --release -p ppo-routed
    python docs/peers/compare.py --python venv/bin/python            # PyTorch and JAX stand in that environment
    python docs/peers/compare.py --algo ppo --eager                  # one algorithm; PyTorch as first written, too
    python docs/peers/compare.py --peer "mine=python mine.py --algo {algo} --threads {threads}"

A peer prints, as its last line on stdout, {"framework", "version", "algo", "threads", "sps_median", "sps_min",
"sps_max"} in JSON; {algo}, {threads} and {repetitions} in its command are filled in. Every round runs each contender
once, so that a slow minute of the machine meets all of them. Standard library only.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INSTALL = "-m pip install torch jax optax numpy"
OURS = "ppo-routed"


class Contender(NamedTuple):
    """A name in the table and a command with places for `{algo}`, `{threads}` and `{repetitions}`."""

    name: str
    command: list[str]

    def run(self, **values) -> dict:
        """The numbers of one run. Raises `ValueError` with the reason where there are none."""
        command = self.command
        for key, value in values.items():
            command = [word.replace("{" + key + "}", str(value)) for word in command]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise ValueError(error) from error
        if done.returncode != 0:
            raise ValueError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        try:
            line = json.loads(done.stdout.strip().splitlines()[-1])
            numbers = {key: float(line[key]) for key in ("sps_median", "sps_min", "sps_max")}
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its last line is not the JSON line of a peer: {error!r}") from error
        if not numbers["sps_median"] > 0:
            raise ValueError("its median is no speed")
        for key in ("algo", "threads"):
            if line.get(key, values[key]) != values[key]:
                raise ValueError(f"it was asked for {key} {values[key]} and ran {line[key]}")
        return numbers | {"version": " ".join(str(line[key]) for key in ("framework", "version") if key in line)}


def named_command(text: str) -> Contender:
    name, equals, command = text.partition("=")
    if not (equals and name.strip() and command.strip()):
        raise argparse.ArgumentTypeError("it reads NAME=COMMAND")
    return Contender(name.strip(), shlex.split(command))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=["reinforce", "ppo"], action="append", help="both if not given")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contender (default 3)")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="timed ones of a run (default 7)")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="one with torch, jax and optax")
    parser.add_argument("--eager", action="store_true", help="PyTorch as first written as well")
    parser.add_argument("--peer", type=named_command, action="append", default=[], metavar="NAME=COMMAND")
    args = parser.parse_args()
    if args.threads < 1 or args.rounds < 1 or args.repetitions < 5:
        parser.error("--threads and --rounds start at 1, --repetitions at 5")
    return args


def contenders(args: argparse.Namespace) -> list[Contender]:
    """Ours first; then the peers that this machine can run, with a word about those that it cannot."""
    binary = ROOT / "target" / "release" / "ppo-routed"
    if not binary.exists():
        sys.exit(f"error: {binary} is missing\nhint: cargo build --release -p ppo-routed")
    same = ["--algo", "{algo}", "--threads", "{threads}", "--repetitions", "{repetitions}"]
    found = [Contender(OURS, [str(binary), "bench", *same])]
    peers = [("PyTorch", "torch", "torch_ppo.py", []), ("JAX", "jax, optax", "jax_ppo.py", [])]
    if args.eager:
        peers.insert(1, ("PyTorch, eager", "torch", "torch_ppo.py", ["--eager"]))
    for name, modules, script, switches in peers:
        if has(args.python, modules):
            found.append(Contender(name, [args.python, str(HERE / script), "--json", *same, *switches]))
        else:
            say(f"{name} is left out: {args.python} cannot import {modules}; {args.python} {INSTALL}")
    return found + args.peer


def has(python: str, modules: str) -> bool:
    try:
        return subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(args: argparse.Namespace, found: list[Contender]) -> dict[tuple[str, str], list[dict]]:
    """The runs of each (algorithm, contender), round by round."""
    runs = {}
    for turn in range(args.rounds):
        for algo in args.algo or ["reinforce", "ppo"]:
            for contender in found:
                head = f"round {turn + 1} of {args.rounds}, {algo}, {contender.name}"
                try:
                    run = contender.run(algo=algo, threads=args.threads, repetitions=args.repetitions)
                except ValueError as reason:
                    say(f"{head}: no result: {reason}")
                    continue
                say(f"{head}: {run['sps_median']:,.0f} steps/s")
                runs.setdefault((algo, contender.name), []).append(run)
    return runs


def table(runs: dict[tuple[str, str], list[dict]]) -> str:
    """One row for each algorithm and contender; medians of runs' medians, smallest and largest of all repetitions."""
    rows = ["| algorithm | | steps/s, median | min – max | ppo-routed is faster by |", "|---|---|---|---|---|"]
    speed = {key: statistics.median(run["sps_median"] for run in group) for key, group in runs.items()}
    for (algo, name), group in sorted(runs.items(), key=lambda item: item[0][0], reverse=True):
        low, high = min(run["sps_min"] for run in group), max(run["sps_max"] for run in group)
        ours = speed.get((algo, OURS))
        ratio = "" if name == OURS or ours is None else f"× {ours / speed[algo, name]:.2f}"
        rows.append(f"| {algo} | {name} | {speed[algo, name]:,.0f} | {low:,.0f} – {high:,.0f} | {ratio} |")
    return "\n".join(rows)


def machine(args: argparse.Namespace, runs: dict[tuple[str, str], list[dict]], load: float) -> str:
    """What the numbers depend on."""
    versions = {name: group[0]["version"] for (_, name), group in runs.items() if group[0]["version"]}
    facts = [
        f"{cpu_model()}, {os.cpu_count()} cores of which {args.threads} threads were used; {platform.platform()}",
        f"{args.rounds} rounds of {args.repetitions} repetitions; load average before the first run {load:.1f}",
        *(f"{name}: {version}" for name, version in versions.items()),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def cpu_model() -> str:
    """The name of the processor with family and model, for names as plain as `AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(map(str.strip, line.split(":", 1)) for line in reversed(lines) if ":" in line)
    family, model = facts.get("cpu family"), facts.get("model")
    return facts.get("model name", platform.machine()) + (f" (family {family}, model {model})" if family else "")


def main() -> None:
    args = options()
    found = contenders(args)
    load = os.getloadavg()[0]
    if load > 0.3:
        say(f"the load average is {load:.1f}: other work slows the contenders unequally, so wait until it is gone")
    runs = measure(args, found)
    print(table(runs), machine(args, runs, load), sep="\n\n")
    if not any(name == OURS for _, name in runs):
        sys.exit("error: ppo-routed gave no result, so there is no ratio\nhint: what it said stands above")


if __name__ == "__main__":
    main()
