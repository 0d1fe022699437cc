"""Times the training steps of the three programs and of their peers in turn on this machine and prints a Markdown table
with their ratios.

    cargo build --release -p ppo-routed -p mnist-routed -p lm-routed
    python docs/peers/compare.py --python venv/bin/python            # PyTorch and JAX stand in that environment
    python docs/peers/compare.py --work ppo --eager                  # one work; PyTorch as first written, too
    python docs/peers/compare.py --base MODEL.gguf                   # and adapters on a frozen model
    python docs/peers/compare.py --work ppo --peer "mine=python mine.py --algo {work} --threads {threads}"

A peer prints as its last line on stdout an object in JSON with `threads`, `framework`, `version` and its speeds, median,
smallest and largest, under the names that `bench` of the program has; {work}, {threads} and {repetitions} in its command
are filled in. Every round runs each contender once, so that a slow minute of the machine meets all of them. Standard library
only.
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
INSTALL = "-m pip install torch jax optax numpy transformers peft"
OURS = "ours"


class Work(NamedTuple):
    """A training step: what counts its speed, our command for it, and its peers: name, modules, script, switches."""

    unit: str
    keys: tuple[str, str, str]
    ours: list[str]
    peers: list[tuple[str, str, str, list[str]]]


def keys(name: str) -> tuple[str, str, str]:
    return name, f"{name}_min", f"{name}_max"


def algorithm(name: str) -> Work:
    same = ["--algo", name, "--json"]
    peers = [("PyTorch, compiled", "torch", "torch_ppo.py", same), ("JAX, jitted", "jax, optax", "jax_ppo.py", same)]
    return Work("steps/s", ("sps_median", "sps_min", "sps_max"), ["ppo-routed", "bench", "--algo", name], peers)


def torch_three_times(script: str, *switches: str) -> list[tuple[str, str, str, list[str]]]:
    """As it comes, compiled, and with its linear layers through oneDNN."""
    ways = [("PyTorch", []), ("PyTorch, compiled", ["--compile"]), ("PyTorch, oneDNN", ["--onednn"])]
    return [(name, "torch", script, [*switches, *way]) for name, way in ways]


WORKS = {
    "reinforce": algorithm("reinforce"),
    "ppo": algorithm("ppo"),
    "mnist": Work(
        "images/s",
        keys("images_per_second"),
        ["mnist-routed", "bench", "--set", "train.batch_size=2048"],
        torch_three_times("torch_mnist.py"),
    ),
    "mnist-128": Work(
        "images/s",
        keys("images_per_second"),
        ["mnist-routed", "bench", "--set", "train.batch_size=128"],
        torch_three_times("torch_mnist.py", "--batch-size", "128"),
    ),
    "lm": Work("tokens/s", keys("tokens_per_second"), ["lm-routed", "bench"], torch_three_times("torch_lm.py")),
    "lm-small": Work(
        "tokens/s",
        keys("tokens_per_second"),
        ["lm-routed", "bench", "--shape", "config"],
        torch_three_times("torch_lm.py", "--small"),
    ),
    "adapt": Work(
        "tokens/s",
        keys("tokens_per_second"),
        ["lm-routed", "bench", "--base", "{base}", "--config", str(ROOT / "configs" / "adapt_smollm2.toml")],
        [("PyTorch + peft", "torch, peft", "lora_step.py", ["--blocks", "8", "--tokens", "96", "--batch", "4"])],
    ),
}


class Contender(NamedTuple):
    """A name in the table and a command with places for `{work}`, `{threads}` and `{repetitions}`."""

    name: str
    command: list[str]

    def run(self, work: Work, values: dict) -> dict:
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
            numbers = dict(zip(("median", "min", "max"), (float(line[key]) for key in work.keys)))
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its last line is not the JSON line of a peer: {error!r}") from error
        if not numbers["median"] > 0:
            raise ValueError("its median is no speed")
        if line.get("threads", values["threads"]) != values["threads"]:
            raise ValueError(f"it was asked for {values['threads']} threads and ran {line['threads']}")
        version = line.get("version") or line.get("torch", "")
        return numbers | {"version": " ".join(filter(None, [line.get("framework", ""), version]))}


def named_command(text: str) -> Contender:
    name, equals, command = text.partition("=")
    if not (equals and name.strip() and command.strip()):
        raise argparse.ArgumentTypeError("it reads NAME=COMMAND")
    return Contender(name.strip(), shlex.split(command))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=WORKS, action="append", help="all if not given; `adapt` needs --base")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contender (default 3)")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="timed ones of a run (default 7)")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="one with torch, jax and optax")
    parser.add_argument("--base", metavar="PATH", help="SmolLM2-135M, for `adapt`")
    parser.add_argument("--eager", action="store_true", help="PyTorch's PPO and REINFORCE as first written as well")
    parser.add_argument("--peer", type=named_command, action="append", default=[], metavar="NAME=COMMAND")
    args = parser.parse_args()
    if args.threads < 1 or args.rounds < 1 or args.repetitions < 5:
        parser.error("--threads and --rounds start at 1, --repetitions at 5")
    if not args.base and "adapt" in (args.work or []):
        parser.error("--work adapt needs --base")
    if args.base:
        args.base = str(Path(args.base).resolve())
    args.work = args.work or [name for name in WORKS if name != "adapt" or args.base]
    return args


def contenders(args: argparse.Namespace, work: Work) -> list[Contender]:
    """Ours first; then the peers that this machine can run, with a word about those that it cannot."""
    program, *rest = work.ours
    binary = ROOT / "target" / "release" / program
    if not binary.exists():
        sys.exit(f"error: {binary} is missing\nhint: cargo build --release -p {program}")
    same = ["--threads", "{threads}", "--repetitions", "{repetitions}"]
    found = [Contender(OURS, [str(binary), *rest, *same])]
    peers = list(work.peers)
    if args.eager and peers[0][2] == "torch_ppo.py":
        peers.append(("PyTorch, eager", *peers[0][1:3], [*peers[0][3], "--eager"]))
    for name, modules, script, switches in peers:
        if has(args.python, modules):
            found.append(Contender(name, [args.python, str(HERE / script), *same, *switches]))
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


Runs = dict[tuple[str, str], list[dict]]


def measure(args: argparse.Namespace, found: dict[str, list[Contender]]) -> Runs:
    """The runs of each (work, contender), round by round."""
    runs: Runs = {}
    for turn in range(args.rounds):
        for work, contender in ((work, contender) for work in args.work for contender in found[work]):
            head = f"round {turn + 1} of {args.rounds}, {work}, {contender.name}"
            values = {"threads": args.threads, "repetitions": args.repetitions, "work": work, "base": args.base}
            try:
                run = contender.run(WORKS[work], values)
            except ValueError as reason:
                say(f"{head}: no result: {reason}")
                continue
            say(f"{head}: {run['median']:,.0f} {WORKS[work].unit}")
            runs.setdefault((work, contender.name), []).append(run)
    return runs


def table(runs: Runs) -> str:
    """One row for each work and contender; medians of runs' medians, smallest and largest of all repetitions."""
    rows = ["| work | | speed, median | min – max | ours is faster by |", "|---|---|---|---|---|"]
    speed = {key: statistics.median(run["median"] for run in group) for key, group in runs.items()}
    for (work, name), group in sorted(runs.items(), key=lambda item: list(WORKS).index(item[0][0])):
        low, high = min(run["min"] for run in group), max(run["max"] for run in group)
        ours = speed.get((work, OURS))
        ratio = "" if name == OURS or ours is None else f"× {ours / speed[work, name]:.2f}"
        unit = WORKS[work].unit
        rows.append(f"| {work} | {name} | {speed[work, name]:,.0f} {unit} | {low:,.0f} – {high:,.0f} | {ratio} |")
    return "\n".join(rows)


def machine(args: argparse.Namespace, runs: Runs, load: float) -> str:
    """What the numbers depend on."""
    versions = sorted({run["version"] for (_, name), group in runs.items() if name != OURS for run in group} - {""})
    facts = [
        f"{cpu_model()}, {os.cpu_count()} cores of which {args.threads} threads were used; {platform.platform()}",
        f"{args.rounds} rounds of {args.repetitions} repetitions; load average before the first run {load:.1f}",
        *versions,
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
    found = {work: contenders(args, WORKS[work]) for work in args.work}
    load = os.getloadavg()[0]
    if load > 0.3:
        say(f"the load average is {load:.1f}: other work slows the contenders unequally, so wait until it is gone")
    runs = measure(args, found)
    print(table(runs), machine(args, runs, load), sep="\n\n")
    if not any(name == OURS for _, name in runs):
        sys.exit("error: none of our programs gave a result, so there is no ratio\nhint: what they said stands above")


if __name__ == "__main__":
    main()
