"""Goldens of the optimizers on stored gradients, and of the learning rates."""


from vectors import Draw, Vectors, cosine_lr

import torch
from step import AdamAtan2, sign_sgd_rows
from torch import nn

BETAS, DECAY = [0.9, 0.95], 0.1


def textbook(params, grads, rates):
    """The bias correction inside atan2, which the published rule does not have."""
    m, s = ({k: torch.zeros_like(p) for k, p in params.items()} for _ in range(2))
    p = {k: x.clone() for k, x in params.items()}
    for t, (grad, lr) in enumerate(zip(grads, rates), start=1):
        for k, g in grad.items():
            m[k] = m[k].lerp(g, 1 - BETAS[0])
            s[k] = BETAS[1] * s[k] + (1 - BETAS[1]) * g * g
            deviation = (s[k] / (1 - BETAS[1] ** t)).sqrt()
            p[k] = p[k] * (1 - lr * DECAY) - lr * torch.atan2(m[k] / (1 - BETAS[0] ** t), deviation)
        yield {k: x.clone() for k, x in p.items()}


def optim_unit(folder, seed, small):
    draw = Draw(seed, "optim_unit")
    shapes = [(7, 5), (16,), (3, 4, 2)] if small else [
        tuple(draw.between(1, 9) for _ in range(draw.between(1, 3))) for _ in range(3)
    ]
    rates = [1e-3 * t for t in range(1, 5)]
    v = Vectors(
        "optim_unit", what="optimizers on stored gradients", seed=seed, lr=rates,
        weight_decay=DECAY, betas=BETAS,
        rules={
            "atan2": "p *= 1 - lr wd; p -= lr / (1 - b1^t) atan2(m, sqrt(v) / sqrt(1 - b2^t))",
            "adamw": "torch.optim.AdamW, eps 1e-8",
            "adamw_clip": "clip_grad_norm_(all, 1.0) first",
            "sparse": "sign SGD, lr 0.01 * step, wd 0.1, on the rows in ids",
        },
    )
    init = {f"p{i}": draw.normal(*shape) for i, shape in enumerate(shapes)}
    v.put_all("init/", init)
    grads = [{k: draw.normal(*p.shape) for k, p in init.items()} for _ in rates]
    for t, grad in enumerate(grads, start=1):
        # A norm that is clipped, and whose last bit is below the tolerance of 1e-6.
        norm = torch.cat([g.flatten() for g in grad.values()]).norm()
        grad.update({k: g * (1.5 / norm) for k, g in grad.items()})
        v.put_all(f"step{t}/grad/", grad)
    for run in ("atan2", "adamw", "adamw_clip"):
        params = {k: p.clone().requires_grad_() for k, p in init.items()}
        kind = AdamAtan2 if run == "atan2" else torch.optim.AdamW
        optimizer = kind(params.values(), lr=0.0, betas=tuple(BETAS), weight_decay=DECAY)
        for t, (grad, lr) in enumerate(zip(grads, rates), start=1):
            optimizer.param_groups[0]["lr"] = lr
            for k, p in params.items():
                p.grad = grad[k].clone()
            if run == "adamw_clip":
                v.put(f"{run}/step{t}/grad_norm", nn.utils.clip_grad_norm_(params.values(), 1.0))
            optimizer.step()
            v.put_all(f"{run}/step{t}/", params)
        if run == "atan2":
            for k, p in params.items():
                v.put(f"{run}/step{t}/exp_avg/{k}", optimizer.state[p]["m"])
                v.put(f"{run}/step{t}/exp_avg_sq/{k}", optimizer.state[p]["v"])
    for t, params in enumerate(textbook(init, grads, rates), start=1):
        v.put_all(f"atan2_textbook/step{t}/", params)
    rows, width, touched = (6, 8, 4) if small else (draw.between(2, 9), draw.between(1, 9), 5)
    table = draw.normal(rows, width)
    v.put("sparse/init", table)
    for t in range(1, len(rates) + 1):
        ids, grad = draw.ints(rows, touched), draw.normal(touched, width)
        sign_sgd_rows(table, ids.long(), grad, lr=0.01 * t, weight_decay=DECAY)
        v.put_all(f"sparse/step{t}/", {"ids": ids, "local_grad": grad, "weights": table})
    v.save(folder)


def lr_schedule(folder, seed, small):
    draw = Draw(seed, "lr_schedule")
    cases = [(1e-4, 2000, 100000, 1.0), (3e-4, 10, 100, 0.1), (1e-3, 0, 7, 0.0)]
    if not small:
        cases += [
            (10.0 ** -draw.between(1, 5), draw.below(50), draw.between(50, 999), draw.below(9) / 8)
            for _ in range(3)
        ]
    described = []
    for base, warmup, total, ratio in cases:
        steps = {0, 1, 2, warmup // 2, warmup, warmup + 1, (warmup + total) // 2, total - 1, total}
        lr = {str(s): cosine_lr(base, s, warmup, total, ratio) for s in sorted(steps)}
        described.append({
            "base_lr": base, "num_warmup_steps": warmup, "num_training_steps": total,
            "min_ratio": ratio, "lr": lr,
        })
    Vectors("lr_schedule", what="linear warm-up, then cosine", cases=described).save(folder)


def make(folder, seed, small):
    optim_unit(folder, seed, small)
    lr_schedule(folder, seed, small)
