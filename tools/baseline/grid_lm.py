#!/usr/bin/env python3
"""The grid model in plain PyTorch: a causal transformer over an example of a task written as tokens.

  grid_lm.py --one SHAPE/VARIANT  time a training step: forward, loss, backward, clip, NorMuon, AdamW

A sequence is start, the rows of the input, each ended by a newline, separator, the rows of the output
in the same way, end. Every position has a token, a place (x, y, z) that turns its queries and keys, and
its sequence's task and turn (one of eight symmetries). Shapes: B sequences, S positions, C hidden, HD
head. It reads no data set and trains nothing useful. bf16 means that weights and activations are cast
in the forward pass and master weights stay f32.
"""

import argparse
import json
import math
from typing import NamedTuple

from timing import add_options, time_steps  # first: it says where compiled code is kept

import torch
import torch.nn.functional as F
from torch import nn

from normuon import NorMuon
from step import IGNORE, linear, rms_norm, rotate, swiglu

START, NEWLINE, SEPARATOR, END = 10, 11, 12, 13
VOCAB, TURNS = 14, 8
INPUT, OUTPUT = 1, 3  # z of the cells
# Of 32 pairs of a head: how many turn with x, with x or y, with any.
AXES_END = (10, 20, 32)


class Config(NamedTuple):
    hidden_size: int
    num_heads: int
    layers: int
    tasks: int
    expansion: float = 4.0
    dropout: float = 0.0
    forward_dtype: str = "float32"

    @property
    def inner_size(self):
        return round(self.expansion * self.hidden_size)


# ---- sequences ---------------------------------------------------------------------------------


def grid(rows, z):
    """Tokens and places of a grid, whose newlines stand at the width of their row."""
    tokens = [[*row, NEWLINE] for row in rows]
    places = [(x, y, z) for y, row in enumerate(tokens) for x in range(len(row))]
    return sum(tokens, []), places


def prompt(rows):
    """What a model answers: up to the separator."""
    tokens, places = grid(rows, INPUT)
    return [START, *tokens, SEPARATOR], [(0, 0, 0), *places, (0, 0, 2)]


def sequence(inp, out):
    """Tokens and places of an example, and as labels what follows where that is of the output."""
    tokens, places = prompt(inp)
    answer, answer_places = grid(out, OUTPUT)
    labels = [IGNORE] * (len(tokens) - 1) + [*answer, END, IGNORE]
    return tokens + [*answer, END], places + [*answer_places, (0, 0, 4)], labels


# ---- the network -------------------------------------------------------------------------------


def weight_shapes(cfg):
    c, f = cfg.hidden_size, cfg.inner_size
    yield "embed_tokens.weight", (VOCAB, c)
    yield "embed_task.weight", (cfg.tasks, c)
    yield "embed_turn.weight", (TURNS, c)
    for i in range(cfg.layers):
        yield f"layers.{i}.self_attn.qkv_proj.weight", (3 * c, c)
        yield f"layers.{i}.self_attn.o_proj.weight", (c, c)
        yield f"layers.{i}.mlp.gate_up_proj.weight", (2 * f, c)
        yield f"layers.{i}.mlp.down_proj.weight", (c, f)
    yield "lm_head.weight", (VOCAB, c)


def rope(cfg, places):
    """cos and sin (.., S, HD) of places (.., S, 3): pair k of an axis that has n of them turns by
    coordinate / 10000^(k / n); the second half of a head repeats the first."""
    pairs = cfg.hidden_size // cfg.num_heads // 2
    ends = [pairs * end // AXES_END[-1] for end in AXES_END]
    angles = []
    for axis, (start, end) in enumerate(zip([0, *ends], ends)):
        n = end - start
        slow = 10000.0 ** (torch.arange(n, dtype=torch.float32) / max(n, 1))
        angles.append(places[..., axis, None].float() / slow)
    angle = torch.cat(angles * 2, dim=-1)
    return angle.cos(), angle.sin()


def dropout(cfg, x, training):
    return F.dropout(x, cfg.dropout, training)


def attention(cfg, w, name, x, turns, cache, training):
    """Every position sees itself and those before it. `cache`: keys and values of all positions
    before x, a list that is exchanged for that with x."""
    b, s, c = x.shape
    qkv = linear(w, f"{name}.qkv_proj", x).view(b, s, 3, cfg.num_heads, c // cfg.num_heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    q, k = rotate(q, *turns), rotate(k, *turns)
    if cache is not None:
        if cache:
            k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        cache[:] = k, v
    # One new position sees all there are.
    mixed = F.scaled_dot_product_attention(
        q, k, v, is_causal=s == k.shape[2], dropout_p=cfg.dropout if training else 0.0
    )
    return linear(w, f"{name}.o_proj", mixed.transpose(1, 2).reshape(b, s, c))


def forward(cfg, w, tokens, places, task, turn, caches=None, training=False):
    """Logits (B, S, V) of tokens (B, S), places (B, S, 3), task and turn (B)."""
    dtype = getattr(torch, cfg.forward_dtype)
    of_sequence = w["embed_task.weight"][task] + w["embed_turn.weight"][turn]
    x = (w["embed_tokens.weight"][tokens] + of_sequence[:, None]).to(dtype)
    x = dropout(cfg, x, training)
    turns = [table[:, None] for table in rope(cfg, places)]
    for i in range(cfg.layers):
        name, cache = f"layers.{i}", None if caches is None else caches[i]
        a = attention(cfg, w, f"{name}.self_attn", rms_norm(x), turns, cache, training)
        x = x + dropout(cfg, a, training)
        x = x + dropout(cfg, swiglu(w, f"{name}.mlp", rms_norm(x)), training)
    return linear(w, "lm_head", rms_norm(x))


def row_losses(logits, labels):
    """Mean cross-entropy over the labelled positions of each sequence (B)."""
    total = F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten().long(), ignore_index=IGNORE, reduction="none"
    )
    return total.view(labels.shape).sum(1) / (labels != IGNORE).sum(1).clamp_min(1)


@torch.no_grad()
def decode(cfg, w, rows, task, turn, most):
    """The likeliest token after the prompt, and so on to the end: at most `most` tokens, and the
    logits that each was chosen by."""
    tokens, places = prompt(rows)
    caches, answer, seen = [[] for _ in range(cfg.layers)], [], []
    x = y = 0
    while True:
        logits = forward(
            cfg, w, torch.tensor([tokens]), torch.tensor([places]), torch.tensor([task]),
            torch.tensor([turn]), caches,
        )[0, -1]
        seen.append(logits)
        token = logits.argmax().item()
        answer.append(token)
        if token == END or len(answer) == most:
            return answer, torch.stack(seen)
        tokens, places = [token], [(x, y, OUTPUT)]
        x, y = (0, y + 1) if token == NEWLINE else (x + 1, y)


# ---- training ----------------------------------------------------------------------------------


def optimizers(weights, lr, muon_lr, betas=(0.9, 0.95), weight_decay=0.1, **how):
    """NorMuon of the matrices inside, with a tenth of the decay in attention; AdamW of the rest,
    embeddings without decay."""
    blocks = {"qkv_proj": 3, "gate_up_proj": 2}
    hidden, rest = [], []
    for name, p in weights.items():
        part = name.split(".")[-2]
        if name.startswith("layers."):
            decay = weight_decay * (0.1 if ".self_attn." in name else 1.0)
            hidden.append({"params": [p], "blocks": blocks.get(part, 1), "weight_decay": decay})
        else:
            decay = 0.0 if part.startswith("embed_") else weight_decay
            rest.append({"params": [p], "weight_decay": decay})
    return NorMuon(hidden, lr=muon_lr, **how), torch.optim.AdamW(rest, lr=lr, betas=betas)


def random_weights(cfg):
    """Scales as in training; the exact law does not matter for timing."""
    shapes = weight_shapes(cfg)
    return {k: (torch.randn(s) / math.sqrt(s[-1])).requires_grad_() for k, s in shapes}


# ---- speed -------------------------------------------------------------------------------------

# Sequences of a batch, their positions.
SHAPES = {
    "grid-b32-s256-h128": (32, 256, Config(128, 4, 4, 400, dropout=0.1)),
    "grid-b32-s512-h768": (32, 512, Config(768, 12, 8, 800, dropout=0.1)),
}
VARIANTS = ("eager-f32", "compile-f32", "eager-bf16", "compile-bf16")


def time_variant(shape, variant, args):
    mode, dtype = variant.split("-")
    b, s, cfg = SHAPES[shape]
    cfg = cfg._replace(forward_dtype={"f32": "float32", "bf16": "bfloat16"}[dtype])
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    weights = random_weights(cfg)
    tokens, labels = (torch.randint(0, VOCAB, (b, s)) for _ in range(2))
    places = torch.randint(0, 20, (b, s, 3))
    task, turn = torch.randint(0, cfg.tasks, (b,)), torch.randint(0, TURNS, (b,))
    both = optimizers(weights, lr=3e-4, muon_lr=0.02)

    def loss():
        logits = forward(cfg, weights, tokens, places, task, turn, training=True)
        return row_losses(logits, labels).mean()

    loss = torch.compile(loss, dynamic=False) if mode == "compile" else loss

    def step():
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(weights.values(), 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad()
        return value.item()

    return time_steps(shape, variant, step, args)


def known_variant(text):
    shape, _, variant = text.partition("/")
    if shape not in SHAPES or variant not in VARIANTS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected SHAPE/VARIANT")
    return shape, variant


def main():
    parser = argparse.ArgumentParser(
        description="Training step of the grid model in PyTorch.",
        epilog="Example: grid_lm.py --one grid-b32-s256-h128/eager-f32",
    )
    parser.add_argument("--one", metavar="SHAPE/VARIANT", type=known_variant, required=True,
                        help=f"shapes: {', '.join(SHAPES)}; variants: {', '.join(VARIANTS)}")
    add_options(parser)
    args = parser.parse_args()
    print(json.dumps(time_variant(*args.one, args)))


if __name__ == "__main__":
    main()
