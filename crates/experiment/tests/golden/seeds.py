"""Prints the golden values of `src/seeds.rs`: the seed and the first output of each stream of seed 1.

An implementation of its own, from the formulas in the documentation: FNV-1a, SplitMix64, xoshiro256++.
"""

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def rotl(x, k):
    return ((x << k) | (x >> (64 - k))) & MASK


def first_output(seed):
    """The first number of xoshiro256++ whose state comes from SplitMix64 begun at `seed`."""
    state = [mix((seed + k * GAMMA) & MASK) for k in range(1, 5)]
    return (rotl((state[0] + state[3]) & MASK, 23) + state[0]) & MASK


for name in ["init", "env", "action", "shuffle", "data"]:
    seed = mix(mix((1 + GAMMA) & MASK) ^ fnv1a(name.encode()))
    print(f'("{name}", 0x{seed:016x}, 0x{first_output(seed):016x}),')
