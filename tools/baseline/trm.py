#!/usr/bin/env python3
"""TRM in plain PyTorch, with what it shares with HRM taken from step.py.

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
from step import (
    act_step, admit, attention, embed, initial_carry, linear, rms_norm, rope_tables, swiglu,
)

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
    expansion: float = 4.0
    halt_exploration_prob: float = 0.0
    loss_type: str = "stablemax_cross_entropy"

    @property
    def prefix_len(self):
        if self.puzzle_emb_ndim == 0:
            return 0
        return self.puzzle_emb_len or -(-self.puzzle_emb_ndim // self.hidden_size)

    @property
    def dtype(self):
        return getattr(torch, self.forward_dtype)


def weight_shapes(cfg):
    """Those of the trained weights; with mlp_t the mixing MLP is as wide as the sequence asks."""

    def mlp(name, width):
        inner = -(-round(cfg.expansion * width * 2 / 3) // 256) * 256
        yield f"{name}.gate_up_proj.weight", (2 * inner, width)
        yield f"{name}.down_proj.weight", (width, inner)

    c, v, length = cfg.hidden_size, cfg.vocab_size, cfg.prefix_len + cfg.seq_len
    yield "embed_tokens.embedding_weight", (v, c)
    yield "lm_head.weight", (v, c)
    yield "q_head.weight", (2, c)
    yield "q_head.bias", (2,)
    if cfg.pos_encodings == "learned":
        yield "embed_pos.embedding_weight", (length, c)
    for i in range(cfg.L_layers):
        layer = f"L_level.layers.{i}"
        if cfg.mlp_t:
            yield from mlp(f"{layer}.mlp_t", length)
        else:
            yield f"{layer}.self_attn.qkv_proj.weight", (3 * c, c)
            yield f"{layer}.self_attn.o_proj.weight", (c, c)
        yield from mlp(f"{layer}.mlp", c)


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
    """All cycles of a segment, with gradient in the last of them. Returns z_h, z_l, logits, q."""
    x = embed(cfg, w, inputs, puzzle_rows)
    wanted = torch.is_grad_enabled()
    for cycle in range(cfg.H_cycles):
        with torch.set_grad_enabled(wanted and cycle == cfg.H_cycles - 1):
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
    table, h_init, l_init = (w.pop(k) for k in ("puzzle_emb.weights", "H_init", "L_init"))
    if {k: tuple(v.shape) for k, v in w.items()} != dict(weight_shapes(cfg)):
        print(f"{name}: FAILED weight names or shapes differ from the model's")
        return False
    trained = {k: v.requires_grad_() for k, v in w.items()}
    for step in steps:
        part = under(f"{step}/", tensors)
        batch = under("batch/", part)
        carry = admit(carry or initial_carry(cfg, batch), batch, h_init, l_init)
        rows = table[carry.data["puzzle_identifiers"].long()].requires_grad_()
        loss, out, carry, _ = act_step(cfg, trained, carry, rows, rope, inner_forward, False)
        gradients = torch.autograd.grad(loss["total"] / cfg.batch_size, [*trained.values(), rows])
        for key, value in out.items():
            result.close("out", f"{name} {step}/{key}", value, part[f"out/{key}"], 1e-3)
        for key, value in loss.items():
            result.close("loss", f"{name} {step}/{key}", value.detach(), part[f"loss/{key}"], 1e-3)
        for key, value in zip([*trained, "puzzle_emb.local_weights"], gradients):
            if (want := part.get(f"grad/model.inner.{key}")) is not None:
                result.close("grad", f"{name} {step}/{key}", value, want, 2e-3)
        for key, value in {"z_H": carry.z_h, "z_L": carry.z_l}.items():
            result.close("carry", f"{name} {step}/{key}", value, part[f"carry/{key}"], 1e-3)
        result.equal(f"{name} {step}/halted", carry.halted, part["carry/halted"])
        result.equal(f"{name} {step}/steps", carry.steps, part["carry/steps"])
    if not steps:
        result.failures.append(f"{name}: no step in the golden")
    return result.report(name)


def main():
    golden = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    parser = argparse.ArgumentParser(description="TRM in PyTorch, checked against the goldens.")
    parser.add_argument("--check", nargs="?", type=Path, const=golden, metavar="DIR", required=True,
                        help="folder of goldens (default: HRM_GOLDEN_DIR or ../shared/golden)")
    args = parser.parse_args()
    passed = [check_golden(args.check, name) for name in GOLDENS]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
