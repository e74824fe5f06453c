#!/usr/bin/env python3
"""The published autoencoders as PyTorch modules: TinyVAE32, UltraTinyVAE32 and StandardVAE.

  tiny_vae.py --check [DIR]   compare evaluation of TinyVAE32 and StandardVAE with the golden vectors

Names and shapes are those of the state_dicts that `hrm export` writes and that the goldens hold.
Images are (B, 3, 32, 32) in [0, 1].
"""

import argparse
import math
import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from check import Comparison, load_golden, under
from tiny_vae_pro import ROOT, formula


def widths(base):
    return [3, base, 2 * base, 4 * base, 8 * base]


class Coder(nn.Module):
    """Four halvings to 2 x 2 maps, two linear heads, four doublings."""

    def __init__(self, latent, base):
        super().__init__()
        self.maps = 8 * base
        self.fc_mu, self.fc_var = (nn.Linear(4 * self.maps, latent) for _ in range(2))
        self.fc_decode = nn.Linear(latent, 4 * self.maps)

    def encode(self, x):
        h = self.features(x).flatten(1)
        return self.fc_mu(h), self.fc_var(h)

    def decode(self, z):
        return self.images(self.fc_decode(z).view(-1, self.maps, 2, 2)).sigmoid()


class TinyVAE(Coder):
    def __init__(self, latent=64, base=16):
        super().__init__(latent, base)
        for i, (a, b) in enumerate(zip(widths(base), widths(base)[1:]), start=1):
            self.add_module(f"enc{i}", nn.Conv2d(a, b, 3, 2, 1))
            self.add_module(f"bn{i}", nn.BatchNorm2d(b))
            up = nn.ConvTranspose2d(widths(base)[5 - i], widths(base)[4 - i], 3, 2, 1, 1)
            self.add_module(f"dec{i}", up)
            if i < 4:
                self.add_module(f"dbn{i}", nn.BatchNorm2d(up.out_channels))

    def features(self, x):
        for i in range(1, 5):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"enc{i}")(x)))
        return x

    def images(self, h):
        for i in range(1, 4):
            h = F.relu(getattr(self, f"dbn{i}")(getattr(self, f"dec{i}")(h)))
        return self.dec4(h)


class UltraTinyVAE(Coder):
    def __init__(self, latent=32, base=8):
        super().__init__(latent, base)
        for i, (a, b) in enumerate(zip(widths(base), widths(base)[1:]), start=1):
            self.add_module(f"enc{i}", nn.Sequential(
                nn.Conv2d(a, a, 3, 2, 1, groups=a), nn.BatchNorm2d(a), nn.ReLU(),
                nn.Conv2d(a, b, 1), nn.BatchNorm2d(b), nn.ReLU(),
            ))
            up = nn.ConvTranspose2d(widths(base)[5 - i], widths(base)[4 - i], 3, 2, 1, 1)
            self.add_module(f"dec{i}", up)

    def features(self, x):
        return self.enc4(self.enc3(self.enc2(self.enc1(x))))

    def images(self, h):
        for i in range(1, 4):
            h = F.relu(getattr(self, f"dec{i}")(h))
        return self.dec4(h)


class StandardVAE(Coder):
    def __init__(self, latent=512, base=64):
        super().__init__(latent, base)
        down, up = [], []
        for i, (a, b) in enumerate(zip(widths(base), widths(base)[1:])):
            down += [nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
            c, d = widths(base)[4 - i], widths(base)[3 - i]
            up += [nn.ConvTranspose2d(c, d, 4, 2, 1)]
            up += [nn.BatchNorm2d(d), nn.ReLU()] if i < 3 else []
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)

    def features(self, x):
        return self.encoder(x)

    def images(self, h):
        return self.decoder(h)


def filled(about, shapes):
    """The teacher's weights, which the golden describes by a formula (its README)."""
    weights = {}
    for k, name in enumerate(about["order"]):
        shape = shapes[name]
        scale, offset = 0.1, 0.0
        is_norm = name.split(".")[0] in ("encoder", "decoder") and len(shapes[name]) == 1
        if name.endswith("running_var"):
            scale, offset = 0.3, 1.0
        elif len(shape) > 1:
            fan = math.prod(shape[1:])
            if name.startswith("decoder"):
                fan = shape[0] * shape[2] * shape[3] / 4
            scale = math.sqrt(6 / fan) * (0.25 if name.startswith(("fc_mu", "fc_var")) else 1)
        elif is_norm and name.endswith("weight"):
            offset = 1.0
        weights[name] = formula(shape, about["salt0"] + k, scale, offset)
    return weights


def check(folder):
    golden = load_golden(folder, "vae")
    if golden is None:
        return True
    tensors, about = golden
    result, x = Comparison(), tensors["x"]
    student, teacher = TinyVAE(), StandardVAE()
    student.load_state_dict(under("student/w/", tensors))
    shapes = {name: tuple(t.shape) for name, t in teacher.state_dict().items()}
    weights = filled(about["teacher_fill"], shapes)
    for name, head in under("teacher/w_head/", tensors).items():
        result.close("fill", f"w_head/{name}", weights[name].flatten()[: len(head)], head, 1e-6)
    teacher.load_state_dict(weights, strict=False)
    for who, model in {"student": student, "teacher": teacher}.items():
        model.eval()
        mu, log_var = model.encode(x)
        for name, got in {"mu": mu, "log_var": log_var, "recon": model.decode(mu)}.items():
            result.close("eval", f"{who}/{name}", got, tensors[f"{who}/eval/{name}"], 1e-3)
    return result.report("vae")


def main():
    golden = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    parser = argparse.ArgumentParser(description="The autoencoders, checked against the goldens.")
    parser.add_argument("--check", nargs="?", type=Path, const=golden, metavar="DIR", required=True,
                        help="folder of goldens (default: HRM_GOLDEN_DIR or ../shared/golden)")
    args = parser.parse_args()
    with torch.no_grad():
        sys.exit(0 if check(args.check) else 1)


if __name__ == "__main__":
    main()
