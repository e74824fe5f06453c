#!/usr/bin/env python3
"""PyTorch baseline of the `hrm_seed` training step (`arc-full`), made of nn.TransformerEncoderLayer.

  hrm_seed.py --check [DIR]  compare cases and optimizer steps with the golden vectors
  hrm_seed.py --one SHAPE/VARIANT  time a training step: forward, loss, backward, clip, AdamW

It reads no data set and trains nothing useful. bf16 means autocast, as a user would run it.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

from timing import ROOT, add_options, time_steps  # first: it says where compiled code is kept

import torch
import torch.nn.functional as F
from torch import nn

from check import Comparison, load_golden, under

HALT_ABOVE, HALT_WEIGHT = 0.9, 0.01


class Config(NamedTuple):
    batch_size: int
    seq_len: int
    vocab_size: int = 12
    hidden_size: int = 256
    num_heads: int = 8
    num_h_layers: int = 4
    num_l_layers: int = 3
    dropout: float = 0.1
    max_cycles: int = 8


SHAPES = {"arc-full-b2": Config(2, 900), "arc-full-b24": Config(24, 900)}
VARIANTS = ("eager-f32", "eager-bf16")


def sinusoids(length, width):
    angle = torch.outer(
        torch.arange(length, dtype=torch.float32),
        torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width)),
    )
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class HrmSeed(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, c = cfg, cfg.hidden_size
        self.token_embedding = nn.Embedding(cfg.vocab_size, c)

        def level(layers):
            make = lambda: nn.TransformerEncoderLayer(
                c, cfg.num_heads, 4 * c, cfg.dropout, batch_first=True
            )
            return nn.ModuleList(make() for _ in range(layers))

        self.h_layers, self.l_layers = level(cfg.num_h_layers), level(cfg.num_l_layers)
        self.h_to_l, self.l_to_h = nn.Linear(c, c), nn.Linear(c, c)
        self.halt_predictor = nn.Linear(2 * c, 1)
        self.output = nn.Linear(c, cfg.vocab_size)
        self.h_norm, self.l_norm = nn.LayerNorm(c), nn.LayerNorm(c)
        self.register_buffer("positions", sinusoids(cfg.seq_len, c), persistent=False)

    def forward(self, tokens, max_cycles=None):
        """Logits (B, T, V) and halting probabilities (cycles, B)."""
        h = F.dropout(
            self.token_embedding(tokens) + self.positions, self.cfg.dropout, self.training
        )
        l, halts = h, []
        for cycle in range(max_cycles or self.cfg.max_cycles):
            for layer in self.h_layers:
                h = layer(h)
            h = self.h_norm(h)
            l = l + self.h_to_l(h)
            for layer in self.l_layers:
                l = layer(l)
            l = self.l_norm(l)
            h = h + self.l_to_h(l)
            pooled = torch.cat((h.mean(1), l.mean(1)), dim=-1)
            halts.append(self.halt_predictor(pooled).sigmoid().squeeze(-1))
            if cycle > 0 and halts[-1].mean() > HALT_ABOVE:
                break
        return self.output(l), torch.stack(halts)


def losses(logits, halts, targets):
    """Total, cross-entropy over every token, mean halting probability."""
    task = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten().long())
    halt = halts.float().mean()
    return task + HALT_WEIGHT * halt, task, halt


# ---- goldens -----------------------------------------------------------------------------------


def initial_weights(tensors, about, model):
    """What the cases began with. `w/*` may hold what the optimizer steps left (PyTorch hands out its
    parameters by reference); then they are drawn again as PyTorch drew them."""
    stored = under("w/", tensors)
    stored.pop("pos_encoding.pe")
    last = max(int(k.split("/")[1][4:]) for k in tensors if k.startswith("optim/step"))
    after = under(f"optim/step{last}/param/", tensors)
    if not all(torch.equal(stored[k], after.get(k, torch.empty(0))) for k in stored):
        return stored
    torch.manual_seed(about["seed"])
    drawn = dict(HrmSeed(model.cfg).named_parameters())
    moves = torch.Generator().manual_seed(about["seed"] + 1)
    for p in drawn.values():
        if p.dim() == 1:
            p.data += 0.1 * torch.randn(p.shape, generator=moves)
    return drawn


def load(model, weights):
    model.load_state_dict({k: v.detach().clone() for k, v in weights.items()})
    model.zero_grad()


def check(folder):
    golden = load_golden(folder, "seed_hrm")
    if golden is None:
        return True
    tensors, about = golden
    cfg = Config(**about["config"])
    model, result = HrmSeed(cfg), Comparison()
    weights = initial_weights(tensors, about, model)
    table = tensors["w/pos_encoding.pe"]
    result.close("table", "pos_encoding.pe", sinusoids(*table.shape), table, 1e-3)
    for case, how in about["cases"].items():
        load(model, weights)
        part = under(f"{case}/", tensors)
        model.halt_predictor.bias.data.copy_(part["halt_bias"])
        logits, halts = model(tensors["inputs"].long(), how["max_cycles_argument"])
        total, task, halt = losses(logits, halts, tensors["targets"])
        total.backward()
        result.equal(f"{case}/num_cycles", len(halts), how["num_cycles"])
        result.close("logits", f"{case}/logits", logits.detach(), part["logits"], 1e-3)
        result.close("halt", f"{case}/halt_probs", halts.detach(), part["halt_probs"], 1e-3)
        for name, value in {"total": total, "task": task, "halt": halt}.items():
            result.close("loss", f"{case}/loss_{name}", value.detach(), part[f"loss_{name}"], 1e-3)
        for name, want in under("grad/", part).items():
            grad = model.get_parameter(name).grad
            result.close("gradient", f"{case}/grad/{name}", grad, want, 2e-3)
        with torch.no_grad():
            model.eval()
            logits, _ = model(tensors["inputs"].long(), how["max_cycles_argument"])
            model.train()
        result.close("logits", f"{case}/eval_logits", logits, part["eval_logits"], 1e-3)
    load(model, weights)
    check_optimizer(model, tensors, about["optimizer"], result)
    return result.report("seed_hrm")


def check_optimizer(model, tensors, how, result):
    accum = how["grad_accumulation"]
    optimizer = torch.optim.AdamW(model.parameters(), **how["AdamW"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, how["cosine_T_max"], how["eta_min"]
    )
    steps = sorted({int(k.split("/")[1][4:]) for k in tensors if k.startswith("optim/step")})
    for step in steps:
        want = under(f"optim/step{step}/", tensors)
        optimizer.zero_grad()
        for micro in range((step - 1) * accum + 1, step * accum + 1):
            batch = under(f"optim/micro{micro}/", tensors)
            total, _, _ = losses(*model(batch["inputs"].long()), batch["targets"])
            (total / accum).backward()
            result.close("loss", f"micro{micro}", total.detach(), batch["loss_total"], 1e-3)
        norm = nn.utils.clip_grad_norm_(model.parameters(), how["clip"])
        result.close("gradient", f"step{step}/grad_norm", norm, want["grad_norm"], 2e-3)
        result.close("rate", f"step{step}/lr", schedule.get_last_lr()[0], want["lr"], 1e-6)
        optimizer.step()
        schedule.step()
        for name, p in under("param/", want).items():
            # The keys' bias has no gradient but rounding, which Adam blows up to a full step.
            got = model.get_parameter(name).detach()
            if name.endswith("in_proj_bias"):
                c = model.cfg.hidden_size
                got, p = (torch.cat((x[:c], x[2 * c :])) for x in (got, p))
            result.close("weights", f"step{step}/param/{name}", got, p, 1e-3)


# ---- speed -------------------------------------------------------------------------------------


def time_variant(shape, variant, args):
    cfg = SHAPES[shape]
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = HrmSeed(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01, fused=True)
    batch = [torch.randint(0, cfg.vocab_size, (cfg.batch_size, cfg.seq_len)) for _ in range(2)]

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.endswith("bf16")):
            total, _, _ = losses(*model(batch[0]), batch[1])
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return total.item()

    return time_steps(shape, variant, step, args)


def known_variant(text):
    shape, _, variant = text.partition("/")
    if shape not in SHAPES or variant not in VARIANTS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected SHAPE/VARIANT")
    return shape, variant


def main():
    golden = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    parser = argparse.ArgumentParser(
        description="hrm_seed training step in PyTorch: speed baseline, checked against the goldens.",
        epilog="Example: hrm_seed.py --one arc-full-b2/eager-f32",
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--check", nargs="?", type=Path, const=golden, metavar="DIR",
                      help="folder of goldens (default: HRM_GOLDEN_DIR or ../shared/golden)")
    task.add_argument("--one", metavar="SHAPE/VARIANT", type=known_variant,
                      help=f"shapes: {', '.join(SHAPES)}; variants: {', '.join(VARIANTS)}")
    add_options(parser, steps=1, warm_up=0)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(time_variant(*args.one, args)))
    else:
        sys.exit(0 if check(args.check) else 1)


if __name__ == "__main__":
    main()
