#!/usr/bin/env python3
"""Prints initial_weights.txt: the first three and the last weight of every layer of the mixture for 4 planes of
25 cells, seed 7, worked out without the crate.

xoshiro256++ (Blackman, Vigna 2019) with its state filled by SplitMix64; a weight takes the upper 32 bits of an
output, the upper 23 of them as a fraction u of 1, and is u * (high - low) + low in single precision, with
high = 1 / sqrt(inputs of a unit) and low = -high. Layers in the order of their names; biases draw nothing.
"""
import math
import struct

MASK = (1 << 64) - 1


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def splitmix(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        yield z ^ (z >> 31)


def rotl(x, k):
    return (x << k | x >> (64 - k)) & MASK


def xoshiro(seed):
    fill = splitmix(seed)
    s = [next(fill) for _ in range(4)]
    while True:
        yield (rotl((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)


EXPERT = [(256, 100), (256, 256)]
LAYERS = {f"experts.{name}.{i}": shape for name in ("diamond", "ghost") for i, shape in enumerate(EXPERT)}
LAYERS |= {"gate.conv": (4, 4), "gate.0": (256, 100), "gate.1": (256, 256), "gate.2": (1, 256)}
LAYERS |= {"head": (4, 256)}
LAYERS |= {"value.conv": (16, 4), "value.0": (256, 400), "value.1": (32, 256), "value.2": (1, 32)}

numbers = xoshiro(7)
for name, (outputs, inputs) in sorted(LAYERS.items()):
    high = single(1 / single(math.sqrt(inputs)))
    scale = single(2 * high)
    assert single(single(scale * (1 - 2**-23)) - high) < high
    weights = [
        single(single((next(numbers) >> 41) / 2**23 * scale) - high) for _ in range(outputs * inputs)
    ]
    for index in (0, 1, 2, outputs * inputs - 1):
        print(f"{name}.weight {index} {weights[index]:.9g}")
