"""The training step of `ppo-routed` in JAX on the CPU, tuned; `work.py` says what the step is.

    python jax_ppo.py --algo ppo --threads 2       # one jitted function for a whole update
    python jax_ppo.py --check                      # tests itself
"""

import os
from functools import partial

from work import ACTIONS, ALGORITHMS, BOTH, CELLS, CLIP, DIAMOND, GAMMA, GHOST, GRAD_NORM, LAMBDA, MAX_STEPS
from work import NUM_ENVS, NUM_STEPS, OVERSIGHT, PLANES, SAMPLES, SIDE, VALUE_WEIGHT, WIDTH, Settings
from work import check, measure, options

if __name__ == "__main__":
    args = options(__doc__)
    os.environ |= {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": str(args.threads)}  # read when JAX starts its thread pool
import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

TRUNKS = ("diamond", "ghost", "gate")
SHAPES = {f"{trunk}1": (PLANES * CELLS, WIDTH) for trunk in TRUNKS} | {f"{trunk}2": (WIDTH, WIDTH) for trunk in TRUNKS}
SHAPES |= {"gate_conv": (PLANES, 4), "gate_out": (WIDTH, 1), "head": (WIDTH, ACTIONS), "value_conv": (PLANES, 16)}
SHAPES |= {"value1": (16 * CELLS, WIDTH), "value2": (WIDTH, 32), "value3": (32, 1)}


def new_world(u):
    """Fresh episodes from uniform numbers (n, 5). Each object counts only the cells that are still free.

    A world has cells (n, 3) of agent, ghost and diamond, oversight bits (n, 2) of the latter two, and the age (n).
    """
    agent, ghost, diamond = ((u[:, i] * (CELLS - i)).astype(jnp.int32) for i in range(3))
    ghost += ghost >= agent
    diamond += diamond >= jnp.minimum(agent, ghost)
    diamond += diamond >= jnp.maximum(agent, ghost)
    cells = jnp.stack([agent, ghost, diamond], 1)
    return {"cells": cells, "bits": u[:, 3:] < OVERSIGHT, "age": jnp.zeros_like(agent)}


def observe(cells, bits):
    """Planes of agent, ghost, diamond and oversight bits, (n, 100)."""
    planes = cells[:, :, None] == jnp.arange(CELLS)
    overseen = (planes[:, 1:] & bits[:, :, None]).any(1, keepdims=True)
    return jnp.concatenate([planes, overseen], 1).reshape(-1, PLANES * CELLS).astype(jnp.float32)


def play(folded, world, u):
    """One step everywhere, with noise u (n, 6); what ends begins anew at once. Returns the world and what happened."""
    cells, bits, age = world["cells"], world["bits"], world["age"]
    all_log_probs = log_probs(folded, *forward(folded, observe(cells, bits))[:3])
    action = (jnp.exp(all_log_probs)[:, : ACTIONS - 1].cumsum(1) <= u[:, :1]).sum(1)
    row = jnp.clip(cells[:, 0] // SIDE + (action == 2) - (action == 0), 0, SIDE - 1)
    column = jnp.clip(cells[:, 0] % SIDE + (action == 1) - (action == 3), 0, SIDE - 1)
    moved = cells.at[:, 0].set(row * SIDE + column)
    reached = moved[:, :1] == moved[:, 1:]
    terminated = reached.any(1)
    done = terminated | (age + 1 >= MAX_STEPS)
    route = jnp.where(reached[:, 1] & bits[:, 1], DIAMOND, jnp.where(reached[:, 0] & bits[:, 0], GHOST, BOTH))
    happened = dict(cells=cells, bits=bits, action=action, log_prob=chosen(all_log_probs, action), route=route)
    happened |= dict(moved=moved, terminated=terminated, done=done)
    fresh, gone_on = new_world(u[:, 1:]), {"cells": moved, "bits": bits, "age": age + 1}
    begin_anew = lambda new, old: jnp.where(done.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    return jax.tree.map(begin_anew, fresh, gone_on), happened


def chosen(all_log_probs, action):
    return jnp.take_along_axis(all_log_probs, action[:, None], 1)[:, 0]


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def conv(layer, x):
    planes = jnp.einsum("npc,pm->nmc", x.reshape(-1, PLANES, CELLS), layer["w"]) + layer["b"][:, None]
    return planes.reshape(len(x), -1)


def forward_plain(net, x):
    """Two experts, a gate and a value net, layer by layer: the experts' outputs, the gate's logit, the value."""
    value = dense(net["value3"], dense(net["value2"], dense(net["value1"], conv(net["value_conv"], x))))
    return *trunks(net, x, x, conv(net["gate_conv"], x)), value[:, 0]


def fold(net):
    """The same function with fewer products: linear layers that follow one another become one."""
    after = net["value3"]  # from the narrow end, so that only ever a vector is multiplied
    for name in ("value2", "value1"):
        after = {"w": net[name]["w"] @ after["w"], "b": net[name]["b"] @ after["w"] + after["b"]}
    return net | {"gate1": fold_conv(net["gate_conv"], net["gate1"]), "value": fold_conv(net["value_conv"], after)}


def fold_conv(conv, layer):
    """A linear layer behind a 1x1 convolution, as a linear layer in front of it."""
    by_plane = layer["w"].reshape(conv["w"].shape[1], CELLS, -1)
    weight = jnp.einsum("pm,mco->pco", conv["w"], by_plane).reshape(PLANES * CELLS, -1)
    return {"w": weight, "b": layer["b"] + conv["b"] @ by_plane.sum(1)}


def forward(folded, x):
    """As `forward_plain`, of a network that `fold` has prepared."""
    return *trunks(folded, x, x, x), dense(folded["value"], x)[:, 0]


def trunks(net, *inputs):
    layers = lambda name, x: jax.nn.relu(dense(net[name + "2"], jax.nn.relu(dense(net[name + "1"], x))))
    diamond, ghost, gate = map(layers, TRUNKS, inputs)
    return diamond, ghost, dense(net["gate_out"], gate)


def log_probs(net, diamond, ghost, gate):
    share = jax.nn.sigmoid(gate)
    return jax.nn.log_softmax(dense(net["head"], share * diamond + (1 - share) * ghost))


def one_pass(net, x, route):
    """Routed log-probabilities, gate logit, value. `where` changes no value; it lets a gradient through or stops it."""
    diamond, ghost, gate, value = forward(fold(net), x)
    route = route[:, None]
    d = jnp.where(route == GHOST, stop_gradient(diamond), diamond)
    g = jnp.where(route == DIAMOND, stop_gradient(ghost), ghost)
    z = jnp.where(route == BOTH, gate, stop_gradient(gate))
    return log_probs(net, d, g, z), gate[:, 0], value


def three_passes(net, x, route):
    """The same, word for word: one combination for each route, of which each sample takes its own."""
    diamond, ghost, gate, value = forward_plain(net, x)
    d, g, z = stop_gradient((diamond, ghost, gate))
    ways = [log_probs(net, *parts) for parts in ((diamond, ghost, gate), (diamond, g, z), (d, ghost, z))]
    return jnp.stack(ways)[route, jnp.arange(len(x))], gate[:, 0], value


def loss_of(net, batch, settings: Settings, routed=one_pass):
    """Policy, value, entropy and gate together; `routed` is `one_pass` or `three_passes`."""
    route, target = batch["route"], batch["target"]
    all_log_probs, gate, value = routed(net, observe(batch["cells"], batch["bits"]), route)
    log_prob = chosen(all_log_probs, batch["action"])
    entropy = -(jnp.exp(all_log_probs) * all_log_probs).sum(1).mean()
    value_loss = (value - target) ** 2
    if settings.clipped:
        advantage = batch["advantage"]
        advantage = (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)
        ratio = jnp.exp(log_prob - batch["log_prob"])
        policy = -jnp.minimum(advantage * ratio, advantage * jnp.clip(ratio, 1 - CLIP, 1 + CLIP)).mean()
        near = batch["value"] + jnp.clip(value - batch["value"], -CLIP, CLIP)
        value_loss = jnp.maximum(value_loss, (near - target) ** 2)
    else:
        policy = -(log_prob * (target - stop_gradient(value))).mean()
    labelled = route != BOTH
    bce = optax.sigmoid_binary_cross_entropy(gate, (route == DIAMOND).astype(jnp.float32))
    gate_loss = (bce * labelled).sum() / jnp.maximum(labelled.sum(), 1)
    return policy + VALUE_WEIGHT * value_loss.mean() - settings.entropy * entropy + settings.gate * gate_loss


def backwards(x, carry):
    """y_t = x_t + carry_t y_(t+1), from the last step on."""
    step = lambda after, now: (now[0] + now[1] * after,) * 2
    return jax.lax.scan(step, jnp.zeros_like(x[0]), (x, carry), reverse=True)[1]


def rollout(net, world, key, settings: Settings):
    """The worlds after 32 steps, what happened, and which share of the episodes that ended reached a terminal."""
    folded = fold(net)
    noise = jax.random.uniform(key, (NUM_STEPS, NUM_ENVS, 1 + 5))
    world, batch = jax.lax.scan(partial(play, folded), world, noise)
    moved, terminated, done = (batch.pop(name) for name in ("moved", "terminated", "done"))
    reward, going = terminated.astype(jnp.float32), 1.0 - done
    batch["route"] = backwards(batch["route"], ~done)  # a label holds for the whole episode
    if settings.clipped:
        # what follows a step is its own outcome, of value 0 on a terminal: so a truncated episode bootstraps too
        values = lambda cells: dense(folded["value"], jax.vmap(observe)(cells, batch["bits"]))[..., 0]
        value, after = values(batch["cells"]), values(moved)
        advantage = backwards(reward + GAMMA * after * (1 - reward) - value, GAMMA * LAMBDA * going)
        batch |= {"value": value, "advantage": advantage, "target": value + advantage}
    else:
        batch["target"] = backwards(reward, GAMMA * going)
    return world, jax.tree.map(lambda x: x.reshape(SAMPLES, *x.shape[2:]), batch), terminated.sum() / done.sum()


def optimiser(settings: Settings):
    adam = optax.adam(settings.rate, eps=settings.eps)
    return optax.chain(optax.clip_by_global_norm(GRAD_NORM), adam) if settings.clipped else adam


@partial(jax.jit, static_argnums=(1, 2), donate_argnums=0)
def train(state, settings: Settings, updates: int):
    """Several whole updates in one program, so that the memory for activations is got once. Returns what they reach."""
    return jax.lax.scan(lambda state, _: update(state, settings), state, length=updates)


def update(state, settings: Settings):
    """One update: rollout and gradient steps."""

    def step(learner, part):
        net, adam = learner
        minibatch = batch if part is None else jax.tree.map(lambda x: x[part], batch)
        changes, adam = optimiser(settings).update(jax.grad(loss_of)(net, minibatch, settings), adam)
        return (optax.apply_updates(net, changes), adam), None

    def epoch(learner, key):
        order = jax.random.permutation(key, SAMPLES).reshape(settings.minibatches, -1)
        return jax.lax.scan(step, learner, order)

    net, adam, world, key = state
    key, noise, *shuffles = jax.random.split(key, 2 + settings.epochs)
    world, batch, reached = rollout(net, world, noise, settings)
    if settings.clipped:
        (net, adam), _ = jax.lax.scan(epoch, (net, adam), jnp.stack(shuffles))
    else:
        (net, adam), _ = step((net, adam), None)
    return (net, adam, world, key), reached


def start(settings: Settings):
    """Network, optimiser, environments and random key of a new run."""
    world_key, key, *keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), 2 + len(SHAPES))
    net = {}
    for k, (name, (inputs, outputs)) in zip(keys, SHAPES.items()):
        weight = jax.random.uniform(k, (inputs, outputs), minval=-1, maxval=1) / inputs**0.5
        net[name] = {"w": weight, "b": jnp.zeros(outputs)}
    return net, optimiser(settings).init(net), new_world(jax.random.uniform(world_key, (NUM_ENVS, 5))), key


def self_test(settings: Settings):
    """What `check` of `work.py` wants to see."""
    net, adam, world, key = start(settings)
    _, batch, _ = jax.jit(rollout, static_argnums=3)(net, world, key, settings)
    for name in batch.keys() & {"log_prob", "value"}:  # some are to leave the clip range
        batch[name] += 0.2 * jax.random.normal(key, batch[name].shape)
    gradient = jax.jit(jax.grad(loss_of), static_argnums=(2, 3))
    tuned, plain = (gradient(net, batch, settings, routed) for routed in (one_pass, three_passes))
    pairs = [(f"{name}.{x}", tuned[name][x], plain[name][x]) for name in SHAPES for x in "wb"]
    rows = [(name, float(abs(a - b).max()), float(abs(b).max())) for name, a, b in pairs]
    _, shares = train((net, adam, world, key), settings, 6 if settings.clipped else 60)
    check(jnp.bincount(batch["route"], length=3).tolist(), rows, shares.tolist())


if __name__ == "__main__":
    if args.check:
        self_test(ALGORITHMS[args.algo]._replace(rate=1e-3))  # so that few updates show something
    run, updates = [start(ALGORITHMS[args.algo])], 2 if args.algo == "ppo" else 32

    def some_updates():
        run[0], reached = train(run[0], ALGORITHMS[args.algo], updates)
        reached.block_until_ready()

    measure(some_updates, args, "JAX", jax.__version__, updates)
