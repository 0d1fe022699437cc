"""Golden values of four Adam steps with split moments, in pure Python: python adam_split.py > adam_split.in

The second moment sees the natural gradient 2w + 1 at every step, the first a quarter of it at all steps but the second, at
which the weight is left alone.
"""
import math


def run(kind, decay):
    out = []
    for w in (0.5, -1.5, 2.0):
        m = v = 0.0
        t = 0
        for s in range(1, 5):
            natural = 2 * w + 1
            routed = 0.25 * natural
            if kind == "COUPLED":
                natural, routed = natural + decay * w, routed + decay * w
            v = 0.999 * v + 0.001 * natural * natural
            if s == 2:
                continue
            t += 1
            if kind == "DECOUPLED":
                w *= 1 - 0.1 * decay
            m = 0.9 * m + 0.1 * routed
            w -= 0.1 / (1 - 0.9**t) * m / (math.sqrt(v) / math.sqrt(1 - 0.999**s) + 1e-8)
        out.append(w)
    return out


for kind in ("PLAIN", "COUPLED", "DECOUPLED"):
    print(f"const SPLIT_{kind}: [f64; 3] = {run(kind, 0.3)};")
