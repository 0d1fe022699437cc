"""Reads the models of a run of lm-routed with numpy alone and checks them against what the run's own program computes.

usage: lm-routed eval RUN --text "One day a fox went into the forest." > losses.jsonl
       python3 docs/read_model.py RUN losses.jsonl

A line of losses.jsonl has a model, the tokens of the text and the loss of each of them but the first. Learned positions
and layer norms alone.
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np


def read(path):
    """The architecture and the tensors of a model: a length, a JSON header with types, shapes and offsets, the bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    about = json.loads(header.pop("__metadata__")["signalbox"])
    span = lambda entry: body[slice(*entry["data_offsets"])]
    tensors = {name: np.frombuffer(span(entry), "<f4").reshape(entry["shape"]) for name, entry in header.items()}
    return about["header"]["architecture"], tensors


def losses(shape, w, tokens):
    """-log p of each token given those before it."""
    layer_norm = lambda x, name: (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + shape.get("norm_eps", 1e-5)
    ) * w[f"{name}.w"] + w[f"{name}.b"]
    gelu = lambda h: h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) / 2
    inputs, heads = tokens[:-1], shape["n_head"]
    x = w["embed.W_E"][inputs] + w["pos_embed.W_pos"][: len(inputs)]
    hidden = np.triu(np.full((len(inputs), len(inputs)), -np.inf), 1)
    for layer in range(shape["n_layer"]):
        dense = lambda x, name, m: x @ w[f"blocks.{layer}.{name}.W_{m}"] + w[f"blocks.{layer}.{name}.b_{m}"]
        qkv = dense(layer_norm(x, f"blocks.{layer}.ln1"), "attn", "QKV").reshape(len(inputs), 3, heads, -1)
        q, k, v = qkv.transpose(1, 2, 0, 3)  # (heads, places, width) each
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1]) + hidden
        pattern = np.exp(scores - scores.max(-1, keepdims=True))
        z = (pattern / pattern.sum(-1, keepdims=True)) @ v
        x = x + dense(z.transpose(1, 0, 2).reshape(len(inputs), -1), "attn", "O")
        x = x + dense(gelu(dense(layer_norm(x, f"blocks.{layer}.ln2"), "mlp", "in")), "mlp", "out")
    logits = layer_norm(x, "ln_final") @ w.get("unembed.W_U", w["embed.W_E"]).T
    logits -= logits.max(-1, keepdims=True)
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(inputs)), tokens[1:]]


worst = 0.0
for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
    of = json.loads(line)
    ours = losses(*read(pathlib.Path(sys.argv[1]) / "models" / f"{of['model']}.safetensors"), of["tokens"])
    apart = np.abs(ours - of["losses"]).max()
    worst = max(worst, apart)
    print(f"{of['model']}: mean loss {ours.mean():.4f}, losses differ by at most {apart:.1e}")
sys.exit(int(worst > 1e-4))
