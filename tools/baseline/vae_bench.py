#!/usr/bin/env python3
"""Times the student's training step of `hrm distill tiny-vae` and `tiny-vae-pro` in PyTorch.

  vae_bench.py --one tiny-vae/eager-f32

Forward, all losses of the preset, backward, clipping, AdamW; of `tiny-vae` with its teacher in
evaluation, a trained projector and the teacher's features as the perceptual term. Images are random.
"""

import argparse
import json

from timing import add_options, time_steps  # first: it says where compiled code is kept

import torch
from torch import nn
from torch.nn import functional as F

from tiny_vae import StandardVAE, TinyVAE
from tiny_vae_pro import Pro, kl_mean

# Batch, weights of the losses, AdamW and clipping: presets/distill.
PRESETS = {
    "tiny-vae": (128, dict(lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-5), 1.0),
    "tiny-vae-pro": (64, dict(lr=5e-3, betas=(0.9, 0.99), weight_decay=0.01), 0.01),
}
VARIANTS = ("eager-f32", "compile-f32")


def draw(mu, log_var):
    return mu + torch.randn_like(mu) * torch.exp(log_var / 2)


class Taught(nn.Module):
    """TinyVAE beside its teacher."""

    def __init__(self):
        super().__init__()
        self.student = TinyVAE()
        self.projector = nn.Linear(512, 64, bias=False)
        self.teacher = StandardVAE().requires_grad_(False)

    def loss(self, x):
        self.teacher.eval()
        mu, log_var = self.student.encode(x)
        y = self.student.decode(draw(mu, log_var))
        with torch.no_grad():
            code, _ = self.teacher.encode(x)
            drawn, seen = self.teacher.decode(code), self.teacher.features(x)
        return (
            0.3 * F.mse_loss(y, x)
            + 0.1 * kl_mean(mu, log_var)
            + 0.3 * F.mse_loss(draw(mu, log_var), self.projector(code))
            + 0.2 * F.mse_loss(y, drawn)
            + 0.1 * F.mse_loss(self.teacher.features(y), seen)
        )


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = Pro()

    def loss(self, x):
        mu, log_var = self.student.encode(x)
        return F.mse_loss(self.student.decode(draw(mu, log_var)), x) + 1.6667e-4 * kl_mean(mu, log_var)


def time_variant(shape, variant, args):
    batch, adam, clip = PRESETS[shape]
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = (Taught() if shape == "tiny-vae" else Alone()).to(args.device)
    model = model.to(memory_format=torch.channels_last)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True, **adam)
    loss_of = torch.compile(model.loss) if variant.startswith("compile") else model.loss
    x = torch.rand(batch, 3, 32, 32, device=args.device).to(memory_format=torch.channels_last)

    def step():
        loss = loss_of(x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        return loss.item()

    return time_steps(shape, variant, step, args)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--one", metavar="SHAPE/VARIANT", required=True,
                        help=f"shapes: {', '.join(PRESETS)}; variants: {', '.join(VARIANTS)}")
    add_options(parser)
    args = parser.parse_args()
    shape, _, variant = args.one.partition("/")
    if shape not in PRESETS or variant not in VARIANTS:
        parser.error(f"--one {args.one}: expected SHAPE/VARIANT")
    print(json.dumps(time_variant(shape, variant, args)))


if __name__ == "__main__":
    main()
