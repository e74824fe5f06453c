#!/usr/bin/env python3
"""`tiny_vae_pro` in PyTorch: what the Rust model is checked against, and the choices in its shape.

  tiny_vae_pro.py --check [FILE]   compare a step with the record (tests/models/tiny_vae_pro.json)
  tiny_vae_pro.py --record [FILE]  record it
  tiny_vae_pro.py --ablate DIR     train with each choice undone in turn, on the IDX files in DIR
                                   (train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz)

The recorded step has weights, images and noise by a formula, so that nothing large is kept.
"""

import argparse
import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests" / "models" / "tiny_vae_pro.json"
KL_WEIGHT = 0.1  # of the recorded step: large, so that it shows


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def blocks(channels, count):
    return nn.Sequential(*[Residual(channels) for _ in range(count)])


class Pro(nn.Module):
    """`linear`: no ReLU outside of the branches. `zero`: branches start at zero."""

    def __init__(self, linear=True, zero=True, sigmoid=True, init=True, encoder=1, decoder=3):
        super().__init__()
        self.relu = nn.Identity() if linear else nn.ReLU()
        self.last = nn.Sigmoid() if sigmoid else nn.Identity()
        self.encoder = nn.ModuleDict({
            "stem": nn.Conv2d(3, 32, 8, 4, 2),
            "res": blocks(32, encoder),
            "down": nn.Conv2d(32, 64, 4, 2, 1),
            "mu": nn.Linear(1024, 64),
            "log_var": nn.Linear(64, 64),
        })
        self.decoder = nn.ModuleDict({
            "fc": nn.Linear(64, 1024),
            "up": nn.ConvTranspose2d(64, 32, 4, 2, 1),
            "res": blocks(32, decoder),
            "out": nn.ConvTranspose2d(32, 3, 8, 4, 2),
        })
        if init:
            self.initialise()
        if zero:
            for block in self.branches():
                nn.init.zeros_(block.conv2.weight)
                nn.init.zeros_(block.conv2.bias)
        nn.init.zeros_(self.encoder["log_var"].weight)
        nn.init.constant_(self.encoder["log_var"].bias, -3.0)

    def branches(self):
        return (m for m in self.modules() if isinstance(m, Residual))

    def initialise(self):
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                seen = module.kernel_size[0] // module.stride[0]
                scaled(module, module.in_channels * seen * seen)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                scaled(module, module.weight[0].numel())
        scaled(self.encoder["stem"], 192, gain=2.0)
        for block in self.branches():
            scaled(block.conv1, 288, gain=math.sqrt(2))

    def encode(self, x):
        e = self.encoder
        h = self.relu(e["down"](e["res"](self.relu(e["stem"](x)))))
        mu = e["mu"](h.flatten(1))
        return mu, e["log_var"](mu)

    def decode(self, z):
        d = self.decoder
        h = self.relu(d["up"](self.relu(d["fc"](z)).view(-1, 64, 4, 4)))
        return self.last(d["out"](d["res"](h)))


def scaled(module, fan_in, gain=1.0):
    std = gain / math.sqrt(fan_in)
    edge = 2 * std / 0.879625661034239  # cut at two, rescaled to std
    nn.init.trunc_normal_(module.weight, 0, edge / 2, -edge, edge)
    nn.init.zeros_(module.bias)


def kl_mean(mu, log_var):
    return -0.5 * (1 + log_var - mu**2 - log_var.exp()).mean()


def formula(shape, salt, scale, offset=0.0):
    """The integer hash by which the golden files of the autoencoders fill their weights."""
    x = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(salt * 0x9E3779B9)
    x &= np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    unit = 2 * (x >> np.uint64(8)).astype(np.float64) / 2**24 - 1
    return torch.from_numpy((offset + scale * unit).astype(np.float32)).reshape(shape)


def recorded_step():
    model = Pro()
    names = [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        for salt, p in enumerate(model.parameters()):
            scale = math.sqrt(3 / p[0].numel()) if p.ndim > 1 else 0.1
            p.copy_(formula(p.shape, salt, scale))
    x, eps = formula((3, 3, 32, 32), 1000, 0.5, 0.5), formula((3, 64), 1001, 1.5)
    mu, log_var = model.encode(x)
    y = model.decode(mu + eps * torch.exp(log_var / 2))
    loss = F.mse_loss(y, x) + KL_WEIGHT * kl_mean(mu, log_var)
    loss.backward()
    grads = {}
    for i, (name, p) in enumerate(zip(names, model.parameters())):
        probe = (p.grad.double() * formula(p.shape, 2000 + i, 1.0).double()).sum()
        grads[name] = {"norm": p.grad.double().norm().item(), "probe": probe.item()}
    return {
        "provenance": "tools/baseline/tiny_vae_pro.py --record, "
        f"PyTorch {torch.__version__}, CPU, f32",
        "parameters": sum(p.numel() for p in model.parameters()),
        "kl_weight": KL_WEIGHT,
        "loss": loss.item(),
        "mu": mu[0].tolist(),
        "log_var": log_var[0].tolist(),
        "row": y[0, :, 13].flatten().tolist(),
        "grad": grads,
    }


def differences(got, want, path=""):
    if isinstance(want, dict):
        for key in got.keys() | want.keys():
            yield from differences(got.get(key), want.get(key), f"{path}/{key}")
    elif isinstance(want, str):
        return
    elif got is None or want is None:
        yield f"{path}: only on one side"
    else:
        a, b = np.atleast_1d(got), np.atleast_1d(want)
        same = a.shape == b.shape
        error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-12) if same else math.inf
        if not error <= 1e-4:
            yield f"{path}: relative error {error:.2e}"


def images(path):
    raw = np.frombuffer(gzip.open(path).read(), np.uint8, offset=16).reshape(-1, 28, 28)
    grey = torch.from_numpy(np.pad(raw, ((0, 0), (2, 2), (2, 2))))
    return grey[:, None].expand(-1, 3, -1, -1)


def pixels(rows):
    return rows.float().div(255).contiguous(memory_format=torch.channels_last)


def train(data, steps, batch=64, lr=5e-3, cosine=True, noise_var=0.004, seed=1, **shape):
    torch.manual_seed(seed)
    model = Pro(**shape).to(memory_format=torch.channels_last)
    adam = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.01)
    rows, at, started = torch.randperm(len(data)), 0, time.process_time()
    for step in range(steps):
        warm, left = min(1, (step + 1) / 50), max(0, step - 50) / max(1, steps - 50)
        shape_of_lr = 0.5 + 0.5 * math.cos(math.pi * left) if cosine else 1
        adam.param_groups[0]["lr"] = lr * warm * shape_of_lr
        if at + batch > len(data):
            rows, at = torch.randperm(len(data)), 0
        x = pixels(data[rows[at : at + batch]])
        at += batch
        mu, log_var = model.encode(x)
        y = model.decode(mu + torch.randn_like(mu) * torch.exp(log_var / 2))
        loss = F.mse_loss(y, x) + noise_var / 24 * kl_mean(mu, log_var)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        adam.step()
    return model, time.process_time() - started


@torch.no_grad()
def score(model, data):
    mean, drawn, nats = 0.0, 0.0, torch.zeros(64)
    for start in range(0, len(data), 500):
        x = pixels(data[start : start + 500])
        mu, log_var = model.encode(x)
        z = mu + torch.randn_like(mu) * torch.exp(log_var / 2)
        mean += ((model.decode(mu).clamp(0, 1) - x) ** 2).mean().item() * len(x) / len(data)
        drawn += ((model.decode(z).clamp(0, 1) - x) ** 2).mean().item() * len(x) / len(data)
        nats += -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(0) / len(data)
    return mean, drawn, nats.sum().item(), int((nats > 0.01).sum())


CHOICES = {
    "as it is": {},
    "no residual branch in the encoder": dict(encoder=0),
    "two in the decoder instead of three": dict(decoder=2),
    "no branches at all: linear up to the sigmoid": dict(encoder=0, decoder=0),
    "ReLU between all layers": dict(linear=False),
    "branches do not start at zero": dict(zero=False),
    "PyTorch's initial values": dict(init=False),
    "no sigmoid": dict(sigmoid=False),
    "batch 128, half the steps": dict(batch=128),
    "lr 1e-3": dict(lr=1e-3),
    "constant lr": dict(cosine=False),
    "KL weight x 10": dict(noise_var=0.04),
    "no KL": dict(noise_var=0.0),
}


def ablate(folder, steps, seed, only):
    data = {
        split: images(Path(folder) / f"{split}-images-idx3-ubyte.gz") for split in ("train", "t10k")
    }
    print(f"{'':46} parameters     s  MSE of mean  of draws   nats active")
    for name, choice in CHOICES.items():
        if only and only not in name:
            continue
        count = steps * 64 // choice.get("batch", 64)
        model, seconds = train(data["train"], count, seed=seed, **choice)
        mean, drawn, nats, active = score(model, data["t10k"])
        size = sum(p.numel() for p in model.parameters())
        scores = f"{mean:12.6f} {drawn:9.6f} {nats:6.1f} {active:6}"
        print(f"{name:46} {size:10} {seconds:5.0f} {scores}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", nargs="?", const=RECORD, type=Path)
    parser.add_argument("--record", nargs="?", const=RECORD, type=Path)
    parser.add_argument("--ablate", metavar="DIR")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="rows whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ablate:
        return ablate(args.ablate, args.steps, args.seed, args.only)
    if args.record:
        args.record.write_text(json.dumps(recorded_step(), indent=1) + "\n")
        return
    bad = list(differences(recorded_step(), json.loads((args.check or RECORD).read_text())))
    if bad:
        raise SystemExit("differs from the record:\n" + "\n".join(bad))
    print("tiny_vae_pro: the recorded step is that of PyTorch")


if __name__ == "__main__":
    main()
