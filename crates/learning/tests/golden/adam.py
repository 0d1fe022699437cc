"""Golden values of three Adam steps, in pure Python: python adam.py > adam.in"""
import math

def run(kind, decay):
    out = []
    for w in (0.5, -1.5, 2.0):
        m = v = 0.0
        for t in range(1, 4):
            g = 2 * w + 1
            if kind == "COUPLED":
                g += decay * w
            if kind == "DECOUPLED":
                w *= 1 - 0.1 * decay
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g * g
            w -= 0.1 / (1 - 0.9**t) * m / (math.sqrt(v) / math.sqrt(1 - 0.999**t) + 1e-8)
        out.append(w)
    return out

for kind in ("PLAIN", "COUPLED", "DECOUPLED"):
    print(f"const GOLDEN_{kind}: [f64; 3] = {run(kind, 0.3)};")
