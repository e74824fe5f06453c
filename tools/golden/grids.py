"""Goldens of the grid model: answers, a pass over examples of several sizes, steps with NorMuon."""

import functools

from vectors import Draw, Vectors, settled

import grid_lm
import torch
from torch import nn

OPTIMIZER = {
    "lr": 1e-3, "muon_lr": 0.02, "betas": [0.9, 0.95], "weight_decay": 0.1,
    "momentum": 0.95, "beta2": 0.95,
}
CLIP = 1.0
# Two logits nearer than this to each other are a close call.
CLOSE = 1e-2
# Tokens in all answers: fewer would tell one position from another too seldom.
LEAST_SAID = 5


def scale(name, shape):
    """Wide enough that what a position says depends on all before it: answers that are not one token."""
    return 1.0 if name.startswith("embed_") else (3.0 if "qkv" in name else 1.5) * shape[-1] ** -0.5


def colours(draw, rows, cols):
    return draw.ints(10, rows, cols).tolist()


def batch(draw, cfg, sizes):
    """Examples end to end, one of each pair of sizes: what a packed batch holds."""
    made = [grid_lm.sequence(colours(draw, *inp), colours(draw, *out)) for inp, out in sizes]
    tokens, places, labels = (
        torch.tensor(sum(part, []), dtype=torch.int32) for part in map(list, zip(*made))
    )
    return {
        "tokens": tokens, "places": places, "labels": labels,
        "lengths": torch.tensor([len(one[0]) for one in made], dtype=torch.int32),
        "task": draw.ints(cfg.tasks, len(made)), "turn": draw.ints(grid_lm.TURNS, len(made)),
    }


def run(cfg, weights, b):
    """Logits of all positions, losses of all sequences."""
    logits, losses, start = [], [], 0
    for row, length in enumerate(b["lengths"].tolist()):
        part = slice(start, start + length)
        tokens, places, labels = (b[k][part][None] for k in ("tokens", "places", "labels"))
        task, turn = (b[k][row : row + 1] for k in ("task", "turn"))
        logits.append(grid_lm.forward(cfg, weights, tokens, places, task, turn))
        losses.append(grid_lm.row_losses(logits[-1], labels))
        start += length
    return torch.cat(logits, dim=1)[0], torch.cat(losses)


def put_answer(v, at, cfg, weights, draw, most):
    """False where two tokens were nearly as likely; the cache may not matter."""
    rows = colours(draw, draw.between(1, 3), draw.between(1, 3))
    task, turn = draw.below(cfg.tasks), draw.below(grid_lm.TURNS)
    answer, logits = grid_lm.decode(cfg, weights, rows, task, turn, most)
    tokens, places = grid_lm.prompt(rows)
    x = y = 0
    for token in answer[:-1]:
        tokens, places = [*tokens, token], [*places, (x, y, grid_lm.OUTPUT)]
        x, y = (0, y + 1) if token == grid_lm.NEWLINE else (x + 1, y)
    with torch.no_grad():
        whole = grid_lm.forward(
            cfg, weights, *(torch.tensor([part]) for part in (tokens, places, task, turn))
        )
    assert (whole[0, -len(answer) :] - logits).abs().max() < 1e-4, "the cache changes the answer"
    v.put(f"{at}/input", torch.tensor(rows, dtype=torch.int32))
    v.put(f"{at}/task", torch.tensor(task, dtype=torch.int32))
    v.put(f"{at}/turn", torch.tensor(turn, dtype=torch.int32))
    v.put(f"{at}/answer", torch.tensor(answer, dtype=torch.int32))
    v.put(f"{at}/logits", logits)
    best = logits.topk(2).values
    return (best[:, 0] - best[:, 1]).min() > CLOSE


def grid(small, seed, nudge):
    draw = Draw(seed, "grid_lm")
    heads = 2 if small else draw.between(1, 3)
    width = heads * (16 if small else draw.one_of(8, 16, 32))
    cfg = grid_lm.Config(width, heads, 2, 3 if small else draw.between(2, 5))
    v = Vectors(
        "grid_lm", what="the grid model: answers, a pass, ten steps with NorMuon",
        config=cfg._asdict(), seed=seed, optimizer=OPTIMIZER, clip=CLIP,
    )
    weights = {
        name: nudge(draw.normal(*shape, scale=scale(name, shape))).requires_grad_()
        for name, shape in grid_lm.weight_shapes(cfg)
    }
    v.put_all("w/", weights)
    clear = [put_answer(v, f"answer{i}", cfg, weights, draw, 24) for i in range(3)]
    sizes = [[(2, 3), (1, 2)], [(1, 1), (2, 2)], [(3, 2), (3, 4)]] if small else [
        [(draw.between(1, 5), draw.between(1, 5)) for _ in range(2)]
        for _ in range(draw.between(1, 4))
    ]
    optimizers = grid_lm.optimizers(weights, **OPTIMIZER)
    for t in range(1, 11):
        b = batch(draw, cfg, sizes)
        v.put_all(f"step{t}/", b)
        logits, losses = run(cfg, weights, b)
        losses.mean().backward()
        v.put(f"step{t}/row_losses", losses)
        if t == 1:
            v.put("step1/logits", logits)
            v.put_all("step1/grad/", {name: p.grad for name, p in weights.items()})
        norm = nn.utils.clip_grad_norm_(weights.values(), CLIP)
        v.put(f"step{t}/grad_norm", norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    v.put_all("step10/param/", weights)
    said = {token for i in range(3) for token in v.tensors[f"answer{i}/answer"].tolist()}
    return [v] if all(clear) and len(said) >= LEAST_SAID else None


def make(folder, seed, small):
    for v in settled("grid_lm", seed, functools.partial(grid, small)):
        v.save(folder)
