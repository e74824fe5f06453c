#!/usr/bin/env python3
"""TRM in plain PyTorch, forward only, with what it shares with HRM taken from step.py.

  trm.py --check [DIR]   compare every segment's outputs and states with the golden vectors

One network of L_layers blocks serves both states; a block mixes positions by attention or, with
mlp_t, by a SwiGLU over the sequence. Weights are a flat dict under the official names without
`model.inner.`. Shapes: B batch, T = prefix + sequence, C hidden.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from check import Comparison, load_golden, under
from step import admit, attention, embed, initial_carry, linear, rms_norm, rope_tables, swiglu

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ("trm_att", "trm_mlp")


class Config(NamedTuple):
    batch_size: int
    seq_len: int
    hidden_size: int
    num_heads: int
    L_layers: int
    H_cycles: int
    L_cycles: int
    vocab_size: int = 12
    puzzle_emb_ndim: int = 0
    puzzle_emb_len: int = 0
    num_puzzle_identifiers: int = 1
    halt_max_steps: int = 16
    pos_encodings: str = "rope"
    forward_dtype: str = "float32"
    mlp_t: bool = False

    @property
    def prefix_len(self):
        if self.puzzle_emb_ndim == 0:
            return 0
        return self.puzzle_emb_len or -(-self.puzzle_emb_ndim // self.hidden_size)

    @property
    def dtype(self):
        return getattr(torch, self.forward_dtype)


def mix(cfg, w, layer, x, rope):
    """(B, T, C): each position sees the others; residual and norm are part of it."""
    if cfg.mlp_t:
        turned = x.transpose(1, 2)
        return rms_norm(turned + swiglu(w, f"{layer}.mlp_t", turned)).transpose(1, 2)
    return rms_norm(x + attention(cfg, w, f"{layer}.self_attn", x, rope))


def level(cfg, w, z, injected, rope):
    x = z + injected
    for i in range(cfg.L_layers):
        layer = f"L_level.layers.{i}"
        x = mix(cfg, w, layer, x, rope)
        x = rms_norm(x + swiglu(w, f"{layer}.mlp", x))
    return x


def inner_forward(cfg, w, z_h, z_l, inputs, puzzle_rows, rope):
    """All cycles of a segment. Returns z_h, z_l, logits, q."""
    x = embed(cfg, w, inputs, puzzle_rows)
    for _ in range(cfg.H_cycles):
        for _ in range(cfg.L_cycles):
            z_l = level(cfg, w, z_l, z_h + x, rope)
        z_h = level(cfg, w, z_h, z_l, rope)
    logits = linear(w, "lm_head", z_h[:, cfg.prefix_len :])
    return z_h, z_l, logits, linear(w, "q_head", z_h[:, 0]).float()


def check_golden(folder, name):
    golden = load_golden(folder, name)
    if golden is None:
        return True
    tensors, about = golden
    cfg = Config(**{k: v for k, v in about["config"].items() if k in Config._fields})
    w, result = under("w/model.inner.", tensors), Comparison()
    steps = sorted({k.split("/")[0] for k in tensors if k.startswith("step")})
    rope, carry = rope_tables(cfg), None
    for step in steps:
        part = under(f"{step}/", tensors)
        batch = under("batch/", part)
        carry = admit(carry or initial_carry(cfg, batch), batch, w["H_init"], w["L_init"])
        rows = w["puzzle_emb.weights"][carry.data["puzzle_identifiers"].long()]
        inputs = carry.data["inputs"].long()
        z_h, z_l, logits, q = inner_forward(cfg, w, carry.z_h, carry.z_l, inputs, rows, rope)
        count = carry.steps + 1
        halted = (count >= cfg.halt_max_steps) | (q[:, 0] > 0)
        got = {"logits": logits, "q_halt_logits": q[:, 0], "q_continue_logits": q[:, 1]}
        for key, value in got.items():
            result.close("out", f"{name} {step}/{key}", value, part[f"out/{key}"], 1e-3)
        for key, value in {"z_H": z_h, "z_L": z_l}.items():
            result.close("carry", f"{name} {step}/{key}", value, part[f"carry/{key}"], 1e-3)
        result.equal(f"{name} {step}/halted", halted, part["carry/halted"])
        result.equal(f"{name} {step}/steps", count, part["carry/steps"])
        carry = carry._replace(z_h=z_h, z_l=z_l, steps=count, halted=halted)
    if not steps:
        result.failures.append(f"{name}: no step in the golden")
    return result.report(name)


def main():
    golden = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    parser = argparse.ArgumentParser(description="TRM in PyTorch, checked against the goldens.")
    parser.add_argument("--check", nargs="?", type=Path, const=golden, metavar="DIR", required=True,
                        help="folder of goldens (default: HRM_GOLDEN_DIR or ../shared/golden)")
    args = parser.parse_args()
    with torch.no_grad():
        passed = [check_golden(args.check, name) for name in GOLDENS]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
