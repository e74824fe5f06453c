"""Losses and halting."""

from vectors import IGNORE

import torch
from torch.nn import functional as F

from .cases import both
from .philox import HALTING, drawn, unit, words


def stablemax(x):
    """Log of s(x) over its sum; the formula of Prieto et al. 2025."""
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)
    return (s / s.sum(-1, keepdim=True)).log()


@both
def cross_entropy(c, label, dtype):
    b, p, s, v = c.size(4, 3, 5), c.size(2, 0, 3), c.size(9, 1, 30), c.size(7, 2, 13)
    for kind in ("softmax", "stablemax"):
        logits = c.normal(b, p + s, v, scale=2.0, dtype=dtype)
        cells = logits[:, p:]
        # The first of equal ones.
        top = (cells == cells.amax(-1, keepdim=True)).int().argmax(-1).int()
        labels = c.draw.labels(v, b, s)
        labels[0] = IGNORE
        labels[1] = torch.where(labels[1] == IGNORE, IGNORE, top[1])

        def f(logits):
            valid = labels != IGNORE
            flat = logits[:, p:].flatten(0, 1), labels.flatten().long()
            if kind == "softmax":
                losses = F.cross_entropy(*flat, ignore_index=IGNORE, reduction="none")
            else:
                losses = F.nll_loss(stablemax(flat[0]), flat[1], ignore_index=IGNORE,
                                    reduction="none")
            count, right = valid.sum(-1), (valid & (top == labels)).sum(-1)
            loss = losses.view(b, s).sum(-1) / count.clamp(min=1)
            return torch.stack((loss, count, right, right == count), -1)

        c.gradient(f"cross_entropy/{kind}_{label}", f, {"logits": logits}, dtype=dtype, kind=kind,
                   columns=4, constants={"labels": labels})


@both
def bce_logits(c, label, dtype):
    b = c.size(7, 2, 40)
    q, targets = c.normal(b, 2, scale=3.0, dtype=dtype), c.draw.uniform(b, 2)
    targets[:, 0] = targets[:, 0].round()
    targets[1, 1] = -1.0  # switched off

    def f(q):
        losses = F.binary_cross_entropy_with_logits(q, targets.double(), reduction="none")
        return torch.where(targets < 0, 0, losses)

    c.gradient(f"bce_logits/{label}", f, {"q": q}, dtype=dtype, constants={"targets": targets})


def mse(c):
    shape = c.size(5, 1, 9), c.size(13, 1, 200)
    c.gradient("mse/f32", lambda a, b: F.mse_loss(a, b).view(1),
               {"a": c.normal(*shape), "b": c.normal(*shape)})


def act_halt(c):
    """The rules of the official HRM, by torch.where."""
    b, t, width, most = c.size(9, 3, 40), c.size(3, 1, 9), c.size(5, 1, 20), c.size(4, 2, 6)
    halted = c.draw.ints(2, b).bool()
    halted[0], halted[1] = True, False
    steps, q = c.draw.ints(most, b) + 1, c.normal(b, 2)
    old, new, init = c.normal(b, t, width), c.normal(b, t, width), c.normal(width)
    where = halted.view(b, 1, 1)
    c.begin("act_halt/admit", "act_halt::admit",
            constants={"halted": halted, "src": new, "dst": old})
    c.expect("act_halt/admit", y=torch.where(where, new, old))
    c.begin("act_halt/reset", "act_halt::reset",
            constants={"halted": halted, "init": init, "z": old})
    c.expect("act_halt/reset", y=torch.where(where, init, old))

    prob = 0.5
    word = words(b, HALTING)
    least = torch.where(unit(word[:, 0]) < prob, 2 + word[:, 1] % (most - 1), 0)
    for label, training, q_continue in (
        ("training", True, True), ("halt_only", True, False), ("evaluation", False, True),
    ):
        now = torch.where(halted, 0, steps) + 1
        last = now >= most
        wants = last | (q[:, 0] > (q[:, 1] if q_continue else 0))
        name = f"act_halt/decide_{label}"
        c.begin(
            name, "act_halt::decide", max_steps=most, training=training, q_continue=q_continue,
            exploration_prob=prob,
            constants={"q": q, "draw": drawn(), "steps": steps, "halted": halted},
        )
        c.expect(name, new_steps=now.int(), new_halted=wants & (now >= least) if training else last)

    valid = c.draw.ints(7, b)
    right = torch.minimum(c.draw.ints(7, b), valid)
    valid[0], right[0] = 5, 5
    rows = torch.stack((c.draw.uniform(b), valid, right, right == valid), -1)
    best = torch.where(steps >= most, q[:, 0], q.amax(-1))
    c.begin("act_halt/targets", "act_halt::targets", max_steps=most,
            constants={"rows": rows, "next_q": q, "steps": steps})
    c.expect("act_halt/targets", y=torch.stack((rows[:, 3].double(), best.double().sigmoid()), -1))
    q_rows, counts = c.draw.uniform(b, 2), halted & (valid > 0)
    told = torch.stack((
        torch.ones(b), right / valid.clamp(min=1), right == valid,
        (q[:, 0] >= 0) == (right == valid), steps,
    )).double()[:, counts].sum(-1)
    sums = torch.cat((told, rows[:, :1].double().sum(0), q_rows.double().sum(0)))
    c.begin("act_halt/metrics", "act_halt::metrics", columns=8, constants={
        "rows": rows, "q": q, "q_rows": q_rows, "steps": steps, "halted": halted})
    c.expect("act_halt/metrics", y=sums)


CASES = (cross_entropy, bce_logits, mse, act_halt)
