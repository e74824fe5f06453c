"""Goldens of TinyVAE, its teacher and its distillation. The teacher's weights and VGG's come by formula."""

import functools
import math

from vectors import Draw, Vectors, settled

import torch
from tiny_vae import StandardVAE, TinyVAE, filled
from tiny_vae_pro import formula
from torch import nn
from torch.nn import functional as F

SALT = 100
# Of the set in tests/golden; one that is drawn takes a tenth of the perceptual weight.
# A small rate, since biases before a norm are moved by rounding and running means follow them; a small
# perceptual weight, since rounding decides now and then which of two near values a max pool takes.
WEIGHTS = {
    "recon": 0.3, "kl": 0.1, "distill_latent": 0.3, "distill_recon": 0.2, "perceptual": 0.01,
    "temperature": 3.0, "lr": 1e-4, "weight_decay": 1e-5, "clip": 1.0,
}
# The official names of the terms, in the order of the first five weights.
TERMS = ("recon", "kl", "latent_distill", "recon_distill", "perceptual")
# Biases before a norm have no gradient but rounding; it is judged beside this share of the largest.
CANCELLED = 0.1
VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256]


def vgg_features():
    """Up to relu3_3, filled by formula."""
    layers, channels, k = [], 3, 0
    for width in VGG:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        conv = nn.Conv2d(channels, width, 3, padding=1)
        scale = math.sqrt(6 / (9 * channels))
        conv.weight.data = formula(conv.weight.shape, 900 + 2 * k, scale)
        conv.bias.data = formula(conv.bias.shape, 901 + 2 * k, 0.05)
        layers += [conv, nn.ReLU()]
        channels, k = width, k + 1
    return nn.Sequential(*layers).requires_grad_(False)


def kl_mean(mu, log_var):
    return -0.5 * (1 + log_var - mu * mu - log_var.exp()).mean()


def evaluate(v, who, model, x):
    model.eval()
    with torch.no_grad():
        mu, log_var = model.encode(x)
        parts = {"mu": mu, "log_var": log_var, "recon": model.decode(mu)}
    v.put_all(f"{who}/eval/", parts)
    model.train()


def train_once(v, who, model, x, draw, whole):
    """Losses and gradients of reconstruction and KL; `whole` gradients, or heads and norms of them."""
    mu, log_var = model.encode(x)
    eps = draw.normal(*mu.shape)
    recon = model.decode(mu + eps * (log_var / 2).exp())
    losses = {"loss_recon": F.mse_loss(recon, x), "loss_kl": kl_mean(mu, log_var)}
    (losses["loss_recon"] + WEIGHTS["kl"] * losses["loss_kl"]).backward()
    v.put_all(f"{who}/train/", {"eps": eps, "mu": mu, "log_var": log_var, "recon": recon, **losses})
    for name, p in model.named_parameters():
        if whole:
            v.put(f"{who}/train/grad/{name}", p.grad)
        else:
            v.put(f"{who}/train/grad_head/{name}", p.grad.flatten()[:64])
            v.put(f"{who}/train/grad_norm/{name}", p.grad.double().norm())
    after = {k: t for k, t in model.state_dict().items() if "running" in k or whole and "num" in k}
    v.put_all(f"{who}/train/after/", after)


def distill(v, run, models, weights, inputs):
    student, teacher, projector, vgg = models
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=WEIGHTS["lr"], betas=(0.9, 0.999),
        weight_decay=WEIGHTS["weight_decay"],
    )
    teacher.eval()
    v.put(f"{run}/latent_projector.weight", projector)
    for n, (x, eps, eps_latent) in enumerate(inputs, start=1):
        at = f"{run}/step{n}"
        if run == "distill":
            v.put_all(f"{at}/", {"x": x, "eps_decode": eps, "eps_latent": eps_latent})
        mu, log_var = student.encode(x)
        deviation = (log_var / 2).exp()
        x_hat = student.decode(mu + eps * deviation)
        with torch.no_grad():
            code = teacher.encode(x)[0]
            taught = teacher.decode(code)
        values = (
            F.mse_loss(x_hat, x),
            kl_mean(mu, log_var),
            F.mse_loss(mu + eps_latent * deviation, code @ projector.T),
            F.mse_loss(x_hat, taught),
            F.mse_loss(vgg(x_hat), vgg(x)),
        )
        total = sum(w * value for w, value in zip(weights, values))
        v.put_all(f"{at}/loss/", {k: x.double() for k, x in zip(TERMS, values)})
        v.put(f"{at}/loss/total", total.double())
        optimizer.zero_grad()
        total.backward()
        if n == 1:
            v.put_all(f"{at}/grad/", {k: p.grad for k, p in student.named_parameters()})
        v.put(f"{at}/grad_norm", nn.utils.clip_grad_norm_(student.parameters(), WEIGHTS["clip"]))
        optimizer.step()
    v.put_all(f"{run}/step{n}/after/", student.state_dict())


def validate(v, run, student, vgg, x, weights):
    student.eval()
    with torch.no_grad():
        mu, log_var = student.encode(x)
        x_hat = student.decode(mu)
        values = {
            "recon": F.mse_loss(x_hat, x), "kl": kl_mean(mu, log_var),
            "perceptual": F.mse_loss(vgg(x_hat), vgg(x)),
        }
    used = {"recon": weights[0], "kl": weights[1], "perceptual": weights[4]}
    v.put_all(f"{run}/validate_on_x/", {k: x.double() for k, x in values.items()})
    v.put(f"{run}/validate_on_x/total", sum(used[k] * x.double() for k, x in values.items()))


def build(small, seed, nudge):
    draw = Draw(seed, "vae")
    rows = 2 if small else draw.between(2, 3)
    latent, base = (6, 4) if small else (draw.between(1, 9), draw.between(2, 5))
    teacher_of = (5, 4) if small else (draw.between(1, 9), draw.between(2, 5))
    torch.manual_seed(seed)
    student, teacher, vgg = TinyVAE(latent, base), StandardVAE(*teacher_of), vgg_features()
    with torch.no_grad():
        for name, tensor in student.state_dict().items():
            if tensor.ndim == 1 and "running" not in name:
                tensor += draw.normal(*tensor.shape, scale=0.1)
        for p in (*student.parameters(), *vgg.parameters()):
            p.copy_(nudge(p))
    start = {k: t.clone() for k, t in student.state_dict().items()}
    order = [k for k in teacher.state_dict() if not k.endswith("num_batches_tracked")]
    # The goldens' order: encoder, heads, decoder.
    rank = {"encoder": 0, "fc_mu": 1, "fc_var": 2, "fc_decode": 3, "decoder": 4}
    order.sort(key=lambda name: rank[name.split(".")[0]])
    fill = {"function": "README.md: weights by formula", "salt0": SALT, "order": order}
    of_teacher = filled(fill, {k: tuple(t.shape) for k, t in teacher.state_dict().items()})

    def fresh():
        student.load_state_dict(start)
        teacher.load_state_dict(of_teacher, strict=False)
        student.train()
        student.zero_grad()

    recipe = WEIGHTS if small else WEIGHTS | {"perceptual": 1e-3}
    v = Vectors(
        "vae", what="autoencoders: forwards, gradients, steps of the distillation",
        seed=seed, batch=rows, teacher_fill=fill, weights=recipe,
    )
    x = draw.uniform(rows, 3, 32, 32)
    v.put("x", x)
    fresh()
    v.put_all("student/w/", start)
    v.put_all("teacher/w_head/", {k: t.flatten()[:16] for k, t in of_teacher.items()})
    for who, model in {"student": student, "teacher": teacher}.items():
        evaluate(v, who, model, x)
        train_once(v, who, model, x, draw, whole=who == "student")
    projector = draw.normal(latent, teacher_of[0], scale=teacher_of[0] ** -0.5)
    inputs = [
        (draw.uniform(rows, 3, 32, 32), draw.normal(rows, latent), draw.normal(rows, latent))
        for _ in range(2)
    ]
    v.put("vgg/feat_of_x", vgg(x)[:, :4])
    v.put("vgg/loss_x_vs_step1", F.mse_loss(vgg(x), vgg(inputs[0][0])))
    weights = list(recipe.values())[:5]
    for run, used in {"distill": weights, "distill_noperc": [*weights[:4], 0.0]}.items():
        fresh()
        distill(v, run, (student, teacher, projector, vgg), used, inputs)
        if run == "distill":
            validate(v, run, student, vgg, x, used)
    return [v]


def make(folder, seed, small):
    # Wide nudges, by which a max pool or a ReLU near its kink jumps, and smooth parts do not.
    made = settled(
        "vae", seed, functools.partial(build, small), CANCELLED, ulps=64, nudges=6, allowed=1e-3
    )
    for v in made:
        v.save(folder)
