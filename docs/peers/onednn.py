"""A linear layer whose three products, forward and backward, go through oneDNN.

PyTorch gives f32 products to MKL, which on AMD processors stays at half of what AVX-512 can do: 105 against 225 GFLOP/s
for 4096 x 256 by 256 x 256 on one core of a Zen 5. oneDNN, which PyTorch also contains, does not; both are plain f32.
"""

import time
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.library.custom_op("peers::linear", mutates_args=())
def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    """x weight^T + bias. Hidden from the compiler, which takes this operation with constant weights only."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@linear.register_fake
def _(x, weight, bias):
    return x.new_empty(len(x), len(weight))


def backward(ctx, by_output):
    x, weight = ctx.saved_tensors
    by_x = linear(by_output, weight.t().contiguous(), None) if ctx.needs_input_grad[0] else None
    return by_x, linear(by_output.t(), x.t(), None), by_output.sum(0)


linear.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:2]))


def choose_linear(library: str, rows: int, width: int):
    """(library, function) for `BLAS` (MKL in most builds), `oneDNN`, or of both the one that takes less CPU time."""
    x, weight, bias = torch.rand(rows, width), torch.rand(width, width), torch.rand(width)

    def seconds(name: str) -> float:
        began = time.process_time()
        functions[name](x, weight, bias)
        return time.process_time() - began

    functions = {"BLAS": F.linear, "oneDNN": linear}
    if library == "fastest":
        with torch.no_grad():
            library = min(functions, key=lambda name: min(seconds(name) for _ in range(30)))
    return library, functions[library]
