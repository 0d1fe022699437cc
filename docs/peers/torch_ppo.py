"""The training step of `ppo-routed` in PyTorch on the CPU, tuned; `work.py` says what the step is.

    python torch_ppo.py --algo ppo --threads 2     # folded layers, one masked pass, compiled
    python torch_ppo.py --eager                    # as first written: layers as they stand, three detached passes
    python torch_ppo.py --check                    # tests itself
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from work import ACTIONS, ALGORITHMS, BOTH, CELLS, CLIP, DIAMOND, GAMMA, GHOST, GRAD_NORM, LAMBDA, MAX_STEPS
from work import NUM_ENVS, NUM_STEPS, OVERSIGHT, PLANES, SAMPLES, SIDE, VALUE_WEIGHT, WIDTH, Settings
from work import check, keep_freed_memory, measure, options

if __name__ == "__main__":
    args = options(
        __doc__,
        eager=dict(action="store_true", help="no compiler, layers as they stand, three passes"),
        library=dict(choices=["fastest", "BLAS", "oneDNN"], default="fastest", help="of the large products"),
    )
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is imported
import torch
import torch.nn.functional as F
from onednn import choose_linear
from torch import Tensor, nn


def new_world(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fresh episodes from uniform numbers (n, 5). Each object counts only the cells that are still free.

    A world is cells (n, 3) of agent, ghost and diamond, oversight bits (n, 2) of the latter two, and the age (n).
    """
    agent, ghost, diamond = ((u[:, i] * (CELLS - i)).int() for i in range(3))
    ghost = ghost + (ghost >= agent)
    diamond = diamond + (diamond >= torch.minimum(agent, ghost))
    diamond = diamond + (diamond >= torch.maximum(agent, ghost))
    return torch.stack([agent, ghost, diamond], 1), u[:, 3:] < OVERSIGHT, torch.zeros_like(agent)


def observe(cells: Tensor, bits: Tensor) -> Tensor:
    """Planes of agent, ghost, diamond and oversight bits, (n, 100)."""
    planes = cells[:, :, None] == torch.arange(CELLS, dtype=torch.int32)
    overseen = (planes[:, 1:] & bits[:, :, None]).any(1, keepdim=True)
    return torch.cat([planes, overseen], 1).flatten(1).float()


def play(net, world: tuple[Tensor, Tensor, Tensor], u: Tensor):
    """One step everywhere, with noise u (n, 6); what ends begins anew at once. Returns the world and what happened."""
    cells, bits, age = world
    all_log_probs = log_probs(net, *net(observe(cells, bits))[:3])
    action = (all_log_probs[:, : ACTIONS - 1].exp().cumsum(1) <= u[:, :1]).sum(1)
    agent, ghost, diamond = cells.unbind(1)
    row = (agent // SIDE + (action == 2).int() - (action == 0).int()).clamp(0, SIDE - 1)
    column = (agent % SIDE + (action == 1).int() - (action == 3).int()).clamp(0, SIDE - 1)
    moved = torch.stack([row * SIDE + column, ghost, diamond], 1)
    reached = moved[:, :1] == moved[:, 1:]
    terminated = reached.any(1)
    done = terminated | (age + 1 >= MAX_STEPS)
    route = torch.where(reached[:, 1] & bits[:, 1], DIAMOND, torch.where(reached[:, 0] & bits[:, 0], GHOST, BOTH))
    happened = dict(cells=cells, bits=bits, action=action, log_prob=all_log_probs.gather(1, action[:, None])[:, 0])
    happened |= dict(moved=moved, terminated=terminated, done=done, route=route)
    (new_cells, new_bits, _), again = new_world(u[:, 1:]), done[:, None]
    cells, bits = torch.where(again, new_cells, moved), torch.where(again, new_bits, bits)
    return (cells, bits, torch.where(done, 0, age + 1)), happened


class Network(nn.Module):
    """Two experts, a gate, a shared head and a value net. Gives the experts' outputs, the gate's logit, the value."""

    def __init__(self, linear: Callable):  # for the large layers, once folded: `F.linear` or one of the same meaning
        super().__init__()
        self.linear = linear
        trunk = lambda: nn.Sequential(nn.Linear(PLANES * CELLS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.diamond, self.ghost, self.gate = trunk(), trunk(), trunk()
        self.gate_conv, self.gate_out = nn.Conv2d(PLANES, 4, 1), nn.Linear(WIDTH, 1)
        self.head = nn.Linear(WIDTH, ACTIONS)
        self.value_conv = nn.Conv2d(PLANES, 16, 1)
        self.value = nn.Sequential(nn.Linear(16 * CELLS, WIDTH), nn.Linear(WIDTH, 32), nn.Linear(32, 1))
        for name, parameter in self.named_parameters():
            bound = 0.0 if name.endswith("bias") else parameter[0].numel() ** -0.5  # 1 / sqrt(fan in)
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor):
        gate = self.gate_conv(x.view(-1, PLANES, SIDE, SIDE)).flatten(1)
        return self.diamond(x), self.ghost(x), self.gate_out(self.gate(gate)), self.values(x)

    def values(self, x: Tensor) -> Tensor:
        return self.value(self.value_conv(x.view(-1, PLANES, SIDE, SIDE)).flatten(1))[:, 0]

    def folded(self) -> "Folded":
        """The same function of x with fewer products: linear layers that follow one another become one."""
        pair = lambda layer: (layer.weight, layer.bias)
        a, b, c = self.value
        weight, bias = c.weight @ b.weight, c.weight @ b.bias + c.bias  # from the narrow end, so only ever a vector
        weight, bias = fold_conv(self.value_conv, weight @ a.weight, weight @ a.bias + bias)
        experts = [(pair(expert[0]), pair(expert[2])) for expert in (self.diamond, self.ghost)]
        gate = fold_conv(self.gate_conv, *pair(self.gate[0])), pair(self.gate[2])
        return Folded(self.linear, (*experts, gate), self.gate_out, self.head, weight[0], bias)


def fold_conv(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A linear layer behind a 1x1 convolution, as a linear layer in front of it."""
    by_plane = weight.view(len(weight), conv.out_channels, CELLS)
    folded = torch.einsum("omc,mp->opc", by_plane, conv.weight.flatten(1))
    return folded.flatten(1), bias + by_plane.sum(2) @ conv.bias


@dataclass
class Folded:
    """A network whose trunks are two layers (weight, bias) each and whose value net is a vector. For use as it was."""

    linear: Callable
    trunks: tuple
    gate_out: nn.Linear
    head: nn.Linear
    value_weight: Tensor
    value_bias: Tensor

    def __call__(self, x: Tensor):
        hidden = [F.relu(self.linear(F.relu(self.linear(x, *first)), *second)) for first, second in self.trunks]
        return hidden[0], hidden[1], self.gate_out(hidden[2]), self.values(x)

    def values(self, x: Tensor) -> Tensor:
        return x @ self.value_weight + self.value_bias


def log_probs(net, diamond: Tensor, ghost: Tensor, gate: Tensor) -> Tensor:
    share = gate.sigmoid()
    return net.head(share * diamond + (1 - share) * ghost).log_softmax(1)


def one_pass(net: Network, x: Tensor, route: Tensor):
    """Routed log-probabilities, gate logit, value. `where` changes no value; it lets a gradient through or stops it."""
    net, route = net.folded(), route[:, None]
    diamond, ghost, gate, value = net(x)
    d = torch.where(route == GHOST, diamond.detach(), diamond)
    g = torch.where(route == DIAMOND, ghost.detach(), ghost)
    z = torch.where(route == BOTH, gate, gate.detach())
    return log_probs(net, d, g, z), gate[:, 0], value


def three_passes(net: Network, x: Tensor, route: Tensor):
    """The same, word for word: one combination for each route, of which each sample takes its own."""
    diamond, ghost, gate, value = net(x)
    d, g, z = diamond.detach(), ghost.detach(), gate.detach()
    ways = [log_probs(net, *parts) for parts in ((diamond, ghost, gate), (diamond, g, z), (d, ghost, z))]
    return torch.stack(ways)[route, torch.arange(len(x))], gate[:, 0], value


def loss_of(settings: Settings, routed, net: Network, batch: dict[str, Tensor]) -> Tensor:
    """Policy, value, entropy and gate together; `routed` is `one_pass` or `three_passes`."""
    route, target = batch["route"], batch["target"]
    all_log_probs, gate, value = routed(net, observe(batch["cells"], batch["bits"]), route)
    log_prob = all_log_probs.gather(1, batch["action"][:, None])[:, 0]
    entropy = -(all_log_probs.exp() * all_log_probs).sum(1).mean()
    value_loss = (value - target) ** 2
    if settings.clipped:
        advantage = batch["advantage"]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = (log_prob - batch["log_prob"]).exp()
        policy = -torch.minimum(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
        near = batch["value"] + (value - batch["value"]).clamp(-CLIP, CLIP)
        value_loss = torch.maximum(value_loss, (near - target) ** 2)
    else:
        policy = -(log_prob * (target - value.detach())).mean()
    bce = F.binary_cross_entropy_with_logits(gate, (route == DIAMOND).float(), reduction="none")
    labelled = route != BOTH
    gate_loss = (bce * labelled).sum() / labelled.sum().clamp(min=1)
    return policy + VALUE_WEIGHT * value_loss.mean() - settings.entropy * entropy + settings.gate * gate_loss


class Trainer:
    """Network, optimiser and environments of one run."""

    def __init__(self, settings: Settings, eager: bool, linear: Callable = F.linear):
        torch.manual_seed(0)
        self.settings, self.eager, self.net = settings, eager, Network(linear)
        self.adam = torch.optim.Adam(self.net.parameters(), settings.rate, eps=settings.eps, fused=not eager)
        self.world = new_world(torch.rand(NUM_ENVS, 5))
        compiled = (lambda f: f) if eager else torch.compile
        self.play, self.values, self.loss = compiled(play), compiled(values), compiled(loss_of)

    @torch.no_grad()
    def rollout(self) -> tuple[dict[str, Tensor], float]:
        """What happened in 32 steps, and which share of the episodes that ended reached a terminal."""
        net, steps = self.net if self.eager else self.net.folded(), []
        for u in torch.rand(NUM_STEPS, NUM_ENVS, 1 + 5):
            self.world, happened = self.play(net, self.world, u)
            steps.append(happened)
        batch = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        moved, terminated, done = (batch.pop(name) for name in ("moved", "terminated", "done"))
        reward, going = terminated.float(), (~done).float()
        backwards(batch["route"], ~done)  # a label holds for the whole episode
        if self.settings.clipped:
            # what follows a step is its own outcome, of value 0 on a terminal: so a truncated episode bootstraps too
            value, after = (self.values(net, cells, batch["bits"]) for cells in (batch["cells"], moved))
            advantage = backwards(reward + GAMMA * after * (1 - reward) - value, GAMMA * LAMBDA * going)
            batch |= dict(value=value, advantage=advantage, target=value + advantage)
        else:
            batch["target"] = backwards(reward.clone(), GAMMA * going)
        return {name: x.flatten(0, 1) for name, x in batch.items()}, (terminated.sum() / done.sum()).item()

    def gradient(self, batch: dict[str, Tensor]) -> None:
        self.adam.zero_grad(set_to_none=True)
        self.loss(self.settings, three_passes if self.eager else one_pass, self.net, batch).backward()

    def update(self) -> float:
        batch, reached = self.rollout()
        for _ in range(self.settings.epochs):
            order = torch.randperm(SAMPLES).chunk(self.settings.minibatches)
            for part in order if self.settings.minibatches > 1 else [...]:
                self.gradient({name: x[part] for name, x in batch.items()})
                if self.settings.clipped:
                    nn.utils.clip_grad_norm_(self.net.parameters(), GRAD_NORM)
                self.adam.step()
        return reached


def values(net, cells: Tensor, bits: Tensor) -> Tensor:
    return net.values(observe(cells.flatten(0, 1), bits.flatten(0, 1))).view(cells.shape[:2])


def backwards(x: Tensor, carry: Tensor) -> Tensor:
    """y_t = x_t + carry_t y_(t+1) in place."""
    for t in reversed(range(len(x) - 1)):
        x[t] += carry[t] * x[t + 1]
    return x


if __name__ == "__main__":
    torch.set_num_threads(args.threads)
    settings = ALGORITHMS[args.algo]
    library, linear = choose_linear("BLAS" if args.eager else args.library, NUM_ENVS, WIDTH)
    if not args.eager:
        keep_freed_memory()
    if args.check:
        quick = settings._replace(rate=1e-3)  # so that few updates show something
        trainer, plain = Trainer(quick, args.eager, linear), Trainer(quick, True)
        batch, first = trainer.rollout()
        for name in batch.keys() & {"log_prob", "value"}:  # some are to leave the clip range
            batch[name] += 0.2 * torch.randn(SAMPLES)
        trainer.gradient(batch)
        plain.gradient(batch)
        pairs = zip(trainer.net.named_parameters(), plain.net.parameters())
        rows = [(name, (p.grad - q.grad).abs().max().item(), q.grad.abs().max().item()) for (name, p), q in pairs]
        shares = [first] + [trainer.update() for _ in range(6 if settings.clipped else 60)]
        check(batch["route"].bincount(minlength=3).tolist(), rows, shares)
    name = "PyTorch, eager" if args.eager else "PyTorch"
    measure(Trainer(settings, args.eager, linear).update, args, name, f"{torch.__version__} on {library}")
