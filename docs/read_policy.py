"""Reads a policy of ppo-routed with numpy alone and checks it against what the run itself saw.

usage: python3 docs/read_policy.py runs/routing-ppo-p0.1-seed0

For each cell of the picture's layout it computes the probabilities of going north, east, south and west, by the diamond
policy, the ghost policy and the full mixture, and compares them with the last line of snapshots.jsonl. Open grid only.
"""

import json
import pathlib
import struct
import sys

import numpy as np


def tensors(path):
    """A checkpoint's own header, and its tensors by name: a length, JSON with types, shapes and offsets, the bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    own = json.loads(header.pop("__metadata__")["signalbox"])["header"]
    found = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            found[name] = np.frombuffer(body[begin:end], "<f4").reshape(entry["shape"])
    return own, found


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


run = pathlib.Path(sys.argv[1])
about, weights = tensors(max((run / "checkpoints").glob("*.safetensors")))
snapshot = json.loads((run / "snapshots.jsonl").read_text().splitlines()[-1])
layer = lambda x, name: x @ weights[f"policy.{name}.weight"].T + weights[f"policy.{name}.bias"]
relu = lambda x: np.maximum(x, 0)


def trunk(x, name, layers):
    """Hidden layers, with a ReLU after each."""
    for i in range(layers):
        x = relu(layer(x, f"{name}.{i}"))
    return x



# one observation for each cell that the agent could stand on: planes agent, ghost, diamond, oversight, row by row
cells = len(snapshot["gate"])
side = round(cells**0.5)
plane = about["planes"].index
x = np.zeros((cells, len(about["planes"]), cells), np.float32)
x[np.arange(cells), plane("agent"), np.arange(cells)] = 1
x[:, plane("ghost"), 2 * side + 3] = 1  # row 2, column 3
x[:, plane("diamond"), 1] = 1  # row 0, column 1
flat = x.reshape(cells, -1)

layers = sum(name.startswith(f"policy.experts.{about['experts'][0]}.") for name in weights) // 2
hidden = {e: trunk(flat, f"experts.{e}", layers) for e in about["experts"]}
seen = flat
if "policy.gate.conv.weight" in weights:  # (out, in): the same mixture of the planes in every cell
    conv = np.einsum("op,npc->noc", weights["policy.gate.conv.weight"], x)
    seen = (conv + weights["policy.gate.conv.bias"][:, None]).reshape(cells, -1)
gate = 1 / (1 + np.exp(-layer(trunk(seen, "gate", layers), f"gate.{layers}")))
first, second = about["experts"]
mixed = {**hidden, "full": gate * hidden[first] + (1 - gate) * hidden[second]}

worst = 0.0
for name, rows in snapshot["policies"]:
    ours = softmax(layer(mixed[name], "head"))
    worst = max(worst, *(np.abs(ours[cell] - row).max() for cell, row in enumerate(rows) if row))
print(f"{run}: update {snapshot['update']}, probabilities differ by at most {worst:.1e}")
sys.exit(int(worst > 1e-5))
