"""Tables, optimizers and what an update needs."""

import torch
from normuon import NorMuon
from torch import nn
from torch.nn import functional as F


def puzzle_emb(c):
    table = c.normal(c.size(6, 2, 20), c.size(13, 1, 40))
    ids = c.draw.ints(table.shape[0], c.size(5, 1, 20))
    c.begin("puzzle_emb/gather", None, constants={"table": table, "ids": ids})
    c.expect("puzzle_emb/gather", y=F.embedding(ids.long(), table))


def sign_sgd_rows(c):
    """The rule of the official HRM; sums by index_add."""
    rows, width, lr, decay = c.size(6, 3, 20), c.size(13, 1, 40), 0.01, 0.1
    table, ids = c.normal(rows, width), c.draw.ints(rows, c.size(5, 3, 20))
    ids[1] = ids[0]
    g = c.normal(ids.numel(), width)
    g[:, 0] = 0.0
    total = torch.zeros(rows, width).double().index_add(0, ids.long(), g.double())
    touched = torch.zeros(rows, 1).index_fill(0, ids.long(), 1.0).bool()
    new = torch.where(touched, table.double() * (1 - lr * decay) - lr * total.sign(), table)
    c.begin("sign_sgd_rows/step", None, constants={"table": table, "ids": ids, "g": g},
            lr=lr, weight_decay=decay)
    c.expect("sign_sgd_rows/step", y=new)


def adam_atan2(p, g, m, v, t, lr, decay, b1, b2):
    """Everett et al. 2024, with the first correction outside as PyPI adam-atan2 0.0.3 has it."""
    m.lerp_(g, 1 - b1)
    v.lerp_(g * g, 1 - b2)
    p.mul_(1 - lr * decay)
    p.sub_(lr / (1 - b1**t) * torch.atan2(m, (v / (1 - b2**t)).sqrt()))


def adam(c):
    n, rates, scale = c.size(53, 1, 300), [0.01, 0.02, 0.005], 0.25
    how = {"weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95}
    betas = how["beta1"], how["beta2"]
    start, grads = c.normal(n), [c.normal(n) for _ in rates]
    for g in grads:
        g[::7] = 0.0
    for rule in ("adamw", "adam_atan2"):
        p = nn.Parameter(start.double())
        torch_adam = torch.optim.AdamW([p], betas=betas, weight_decay=how["weight_decay"], eps=1e-8)
        m, v = torch.zeros(n).double(), torch.zeros(n).double()
        for t, (lr, g) in enumerate(zip(rates, grads), start=1):
            g = scale * g.double()
            if rule == "adamw":
                torch_adam.param_groups[0]["lr"], p.grad = lr, g
                torch_adam.step()
                m, v = torch_adam.state[p]["exp_avg"], torch_adam.state[p]["exp_avg_sq"]
            else:
                adam_atan2(p.data, g, m, v, t, lr, how["weight_decay"], *betas)
        c.begin(f"adam/{rule}", None, rule=rule, lr=rates, scale=scale, **how,
                constants={"start": start} | {f"g{t}": g for t, g in enumerate(grads, start=1)})
        c.expect(f"adam/{rule}", p=p, m=m, v=v)


def normuon(c):
    rates, scale = [0.5, 0.2, 0.1], 0.25
    how = {"weight_decay": 0.1, "momentum": 0.95, "beta2": 0.9}
    for label, rows, cols, blocks in (
        ("wide", c.size(5, 1, 20), c.size(17, 20, 50), 1),
        ("tall", c.size(17, 20, 50), c.size(5, 1, 20), 1),
        ("fused", c.size(4, 1, 12), c.size(9, 4, 20), 3),
    ):
        start = c.normal(blocks * rows, cols)
        grads = [c.normal(blocks * rows, cols) for _ in rates]
        p = nn.Parameter(start.double())
        optimizer = NorMuon([{"params": [p], "blocks": blocks}], **how)
        for lr, g in zip(rates, grads):
            optimizer.param_groups[0]["lr"], p.grad = lr, scale * g.double()
            optimizer.step()
        c.begin(f"normuon/{label}", None, blocks=blocks, lr=rates, scale=scale, **how,
                constants={"start": start} | {f"g{t}": g for t, g in enumerate(grads, start=1)})
        c.expect(f"normuon/{label}", p=p, **optimizer.state[p])


def ema(c):
    decay = 0.875
    old = c.normal(c.size(37, 1, 200))
    p = c.normal(*old.shape)
    average = torch.optim.swa_utils.get_ema_avg_fn(decay)
    c.begin("ema/step", None, constants={"ema": old, "p": p}, decay=decay)
    c.expect("ema/step", y=average(old.double(), p.double(), 1))


def global_norm(c):
    g = c.normal(c.size(301, 1, 3000))
    for label, most in (("clips", 1.5), ("lets_through", 1e6)):
        p = nn.Parameter(torch.zeros(g.shape).double())
        p.grad = g.double()
        norm = nn.utils.clip_grad_norm_([p], most)
        factor = p.grad.norm() / norm
        c.begin(f"global_norm/{label}", None, columns=3, constants={"g": g}, max_norm=most)
        c.expect(f"global_norm/{label}", y=torch.stack((norm, factor, torch.ones(()).double())))


CASES = (puzzle_emb, sign_sgd_rows, adam, normuon, ema, global_norm)
