"""Goldens of the optimizers on stored gradients, and of the learning rates."""


from vectors import Draw, Vectors, cosine_lr

import torch
from normuon import NorMuon
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


def normuon_steps(folder, seed, small):
    """All rules of `train.optimizer=normuon` on one set of parameters, the clip before them."""
    draw = Draw(seed, "normuon")
    width, inner, tokens = (6, 10, 5) if small else (draw.between(n, 24) for n in (2, 2, 3))
    # Rows, columns, matrices below each other and share of the decay; None: AdamW.
    hidden = {
        "layers.0.self_attn.qkv_proj.weight": (3 * width, width, 3, 0.1),
        "layers.0.self_attn.o_proj.weight": (width, width, 1, 0.1),
        "layers.0.mlp.gate_up_proj.weight": (2 * inner, width, 2, 1.0),
        "layers.0.mlp.down_proj.weight": (width, inner, 1, 1.0),
    }
    shapes = {"embed_tokens.weight": (tokens, width)}
    shapes |= {name: shape[:2] for name, shape in hidden.items()}
    shapes |= {"lm_head.weight": (tokens, width), "lm_head.bias": (tokens,)}
    undecayed = ["embed_tokens.weight", "lm_head.bias"]
    how = {"momentum": 0.95, "beta2": 0.9}
    v = Vectors(
        "normuon", what="NorMuon and AdamW on stored gradients", seed=seed, betas=BETAS,
        weight_decay=DECAY, clip=1.0, **how, muon_lr=0.02, lr=1e-3,
        parameters=[
            {"name": name, "blocks": hidden[name][2], "decay_share": hidden[name][3]}
            if name in hidden else {"name": name, "decays": name not in undecayed}
            for name in shapes
        ],
    )
    params = {name: draw.normal(*shape).requires_grad_() for name, shape in shapes.items()}
    v.put_all("init/", params)
    muon = NorMuon(
        [
            {"params": [params[name]], "blocks": blocks, "weight_decay": share * DECAY}
            for name, (_, _, blocks, share) in hidden.items()
        ],
        lr=v.about["muon_lr"], **how,
    )
    rest = [name for name in shapes if name not in hidden]
    adamw = torch.optim.AdamW(
        [
            {"params": [params[name]], "weight_decay": 0.0 if name in undecayed else DECAY}
            for name in rest
        ],
        lr=v.about["lr"], betas=tuple(BETAS),
    )
    for t in range(1, 11):
        for name, p in params.items():
            p.grad = draw.normal(*p.shape)
            v.put(f"step{t}/grad/{name}", p.grad)
        v.put(f"step{t}/grad_norm", nn.utils.clip_grad_norm_(params.values(), v.about["clip"]))
        muon.step()
        adamw.step()
        v.put_all(f"step{t}/param/", params)
    for name, p in params.items():
        state = muon.state[p] if name in hidden else adamw.state[p]
        v.put(f"step{t}/exp_avg/{name}", state["m" if name in hidden else "exp_avg"])
        v.put(f"step{t}/exp_avg_sq/{name}", state["v" if name in hidden else "exp_avg_sq"])
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
    normuon_steps(folder, seed, small)
    lr_schedule(folder, seed, small)
