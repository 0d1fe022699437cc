"""The training step of `mnist-routed bench` in PyTorch on the CPU: the paper's autoencoder with routing and penalties.

    python torch_mnist.py --threads 2 --batch-size 2048     # one line of JSON: images a second, median, smallest, largest
    python torch_mnist.py --compile                         # with torch.compile
    python torch_mnist.py --onednn                          # linear layers through oneDNN (see `onednn.py`)

Encoder 784-2048-512-32, decoder and two certificates its reverse; the reconstruction of 0-4 trains the first half of the
encoding, that of 5-9 the second; L1 and correlation penalties; Adam with coupled decay; all in f32.
"""

import argparse
import json
import os
import statistics
import time

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--batch-size", type=int, default=2048, metavar="N")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="of about three seconds (default 7)")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--onednn", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is imported
import torch
import torch.nn.functional as F
from onednn import linear as onednn_linear
from torch import Tensor, nn
from work import keep_freed_memory

PIXELS, HIDDEN, LATENT = 784, [2048, 512], 32
HALF = LATENT // 2
L1, CORRELATION = 0.003, 0.1


class Linear(nn.Linear):
    library = staticmethod(F.linear)

    def forward(self, x: Tensor) -> Tensor:
        return self.library(x, self.weight, self.bias)


def network(*widths: int) -> nn.Sequential:
    layers = [module for a, b in zip(widths, widths[1:]) for module in (Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        back = HIDDEN[::-1]
        self.encoder = network(PIXELS, *HIDDEN, LATENT)
        self.decoder = network(LATENT, *back, PIXELS)
        self.certificates = nn.ModuleList(network(HALF, *back, PIXELS) for _ in range(2))

    def forward(self, x: Tensor, second: Tensor) -> Tensor:
        """The loss; `second` has 1 for the digits of the second half, (rows, 1)."""
        z = self.encoder(x)
        own = torch.cat([(1 - second).expand(-1, HALF), second.expand(-1, HALF)], 1)
        routed = own * z + (1 - own) * z.detach()
        error = (self.decoder(routed) - x).abs().mean(1, keepdim=True)
        loss = (error * second).sum() / second.sum() + (error * (1 - second)).sum() / (1 - second).sum()
        loss = loss + L1 * z.abs().sum(1).mean()
        centred = z - z.mean(0)
        normed = centred / centred.std(0).clamp_min(1e-8)
        loss = loss + CORRELATION * (normed[:, :HALF].T @ normed[:, HALF:] / (len(z) - 1)).abs().mean()
        for certificate, part in zip(self.certificates, z.detach().split(HALF, 1)):
            loss = loss + (certificate(part) - x).abs().mean()
        return loss


def main():
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    if args.onednn:
        Linear.library = staticmethod(onednn_linear)
    model = Autoencoder()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=5e-5, fused=True)
    loss_of = torch.compile(model) if args.compile else model
    images = torch.rand(args.batch_size, PIXELS)
    second = (torch.arange(args.batch_size) % 2).float()[:, None]

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        loss = loss_of(images, second)
        loss.backward()
        adam.step()
        assert torch.isfinite(loss)

    def rate(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * args.batch_size / (time.perf_counter() - began)

    rate(3)
    steps = max(1, round(3.0 * rate(2) / args.batch_size))
    rates = [rate(steps) for _ in range(args.repetitions)]
    names = {"images_per_second": statistics.median, "images_per_second_min": min, "images_per_second_max": max}
    line = {
        "framework": "PyTorch",
        "version": torch.__version__,
        "threads": args.threads,
        "batch_size": args.batch_size,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    print(json.dumps(line | {name: round(of(rates), 1) for name, of in names.items()}))


if __name__ == "__main__":
    main()
