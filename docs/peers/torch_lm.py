"""The training step of `lm-routed bench` in PyTorch on the CPU: TinyStories-28M's shape, 8 sequences of 256 random tokens.

    python torch_lm.py --threads 2               # one line of JSON: tokens a second, median, smallest, largest
    python torch_lm.py --threads 2 --compile     # with torch.compile
    python torch_lm.py --threads 2 --small       # the default model: `lm-routed bench --shape config`

Forward, backward, gradient clipping and fused AdamW, all in f32. Attention is PyTorch's own fused one. PyTorch
chooses the library of its products; `--onednn` sends the linear layers to oneDNN (see `onednn.py`), since MKL may leave an
AMD processor at half of its speed.
"""

import argparse
import json
import os
import statistics
import time

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="timed ones (default 7)")
    parser.add_argument("--small", action="store_true", help="4 layers of width 128, 2,048 tokens, 32 × 128 a step")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--onednn", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is imported
import torch
import torch.nn.functional as F
from onednn import linear as onednn_linear
from torch import Tensor, nn

LAYERS, HEADS, WIDTH, HIDDEN, VOCABULARY, POSITIONS = 8, 16, 512, 2048, 50_257, 2048
SEQUENCES, TOKENS, WARM_UP = 8, 256, 2
if __name__ == "__main__" and args.small:
    LAYERS, HEADS, WIDTH, HIDDEN, VOCABULARY, POSITIONS = 4, 4, 128, 512, 2048, 128
    SEQUENCES, TOKENS = 32, 128


class Linear(nn.Linear):
    """A linear layer whose products the chosen library computes."""

    library = staticmethod(F.linear)

    def forward(self, x: Tensor) -> Tensor:
        return self.library(x.flatten(0, -2), self.weight, self.bias).unflatten(0, x.shape[:-1])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = Linear(WIDTH, 3 * WIDTH), Linear(WIDTH, WIDTH)
        self.up, self.down = Linear(WIDTH, HIDDEN), Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before_attention(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.before_mlp(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        self.register_buffer("no_bias", torch.zeros(VOCABULARY))  # oneDNN's layer wants one
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = Linear.library(self.last(x).flatten(0, 1), self.tokens.weight, self.no_bias)
        return F.cross_entropy(logits, targets.flatten())


def main():
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    if args.onednn:
        Linear.library = staticmethod(onednn_linear)
    model = Transformer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    loss_of = torch.compile(model) if args.compile else model
    text = torch.randint(VOCABULARY, (SEQUENCES, TOKENS + 1))

    def step() -> float:
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(text[:, :-1], text[:, 1:])
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        assert torch.isfinite(loss + norm)
        return SEQUENCES * TOKENS / (time.perf_counter() - began)

    for _ in range(WARM_UP):
        step()
    rates = [step() for _ in range(args.repetitions)]
    names = {"tokens_per_second": statistics.median, "tokens_per_second_min": min, "tokens_per_second_max": max}
    print(
        json.dumps(
            {
                "framework": "PyTorch",
                "version": torch.__version__,
                "compiled": args.compile,
                "onednn": args.onednn,
                "threads": args.threads,
                "parameters": sum(p.numel() for p in model.parameters()),
                **{name: round(of(rates), 1) for name, of in names.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
