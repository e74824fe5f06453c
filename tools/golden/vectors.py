"""A golden being made: named tensors and a description, written as `<name>.safetensors` and `.json`."""

import json
import math
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "baseline"))

import torch
from safetensors.torch import save_file

IGNORE = -100
# What an ulp of each weight may change in the outcome; the tests allow 1e-3.
MOVED = 1e-4
REDRAWS = 50


class Vectors:
    def __init__(self, name, **about):
        self.name, self.about, self.tensors = name, about, {}

    def put(self, name, value):
        """Booleans as u8, Python numbers as f64, scalars in shape [1]; a copy."""
        assert name not in self.tensors, name
        if not torch.is_tensor(value):
            value = torch.tensor(value, dtype=torch.float64)
        value = value.detach()
        if value.dtype == torch.bool:
            value = value.to(torch.uint8)
        if value.is_floating_point() and not value.isfinite().all():
            sys.exit(f"{self.name}: {name} is not finite")
        self.tensors[name] = value.reshape(value.shape or (1,)).clone().contiguous()

    def put_all(self, prefix, values):
        for name, value in values.items():
            self.put(prefix + name, value)

    def save(self, folder):
        about = {**self.about, "torch": torch.__version__}
        if self.tensors:
            save_file(self.tensors, folder / f"{self.name}.safetensors")
            about["tensors"] = {
                k: [str(v.dtype).removeprefix("torch."), list(v.shape)]
                for k, v in self.tensors.items()
            }
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in about.items())
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        (folder / f"{self.name}.json").write_text(text)
        print(f"{self.name}: {len(self.tensors)} tensors")


class Draw:
    """A seeded source of the sizes, weights and batches of one golden."""

    def __init__(self, seed, *what):
        # Not Python's hash, which differs from run to run. The generator takes 32 bits.
        own = zlib.crc32("/".join(map(str, (seed, *what))).encode())
        self.rng = torch.Generator().manual_seed(own)

    def below(self, end):
        return int(torch.randint(end, (1,), generator=self.rng))

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def one_of(self, *values):
        return values[self.below(len(values))]

    def ints(self, end, *shape):
        return torch.randint(end, shape, generator=self.rng, dtype=torch.int32)

    def normal(self, *shape, scale=1.0):
        return torch.randn(shape, generator=self.rng) * scale

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.rng)

    def labels(self, vocab, rows, length):
        """A quarter of them ignored."""
        labels = self.ints(vocab, rows, length)
        labels[self.uniform(rows, length) < 0.25] = IGNORE
        return labels


class Nudge:
    """Every number moves by so many ulps, up or down by chance; without `draw` it stays. `trial` is
    where a build begins to look for weights."""

    def __init__(self, draw=None, ulps=0, trial=0):
        self.draw, self.ulps, self.trial = draw, ulps, trial

    def __call__(self, x):
        if self.draw is None:
            return x
        return x * (1 + (self.draw.ints(2, *x.shape).float() * 2 - 1) * self.ulps * 2**-23)


def movement(made, moved, floor):
    """Largest relative difference of two builds of a set, and where. The optimizer's steps along
    gradients that are rounding have a test of their own; `floor` is the share of a set's largest
    gradient that its smallest are compared with."""
    if moved is None:
        return math.inf, "a decision"
    worst = (0.0, "nothing")
    for v, w in zip(made, moved, strict=True):
        if v.tensors.keys() != w.tensors.keys():
            return math.inf, "a decision"
        largest = {}
        for name, x in v.tensors.items():
            group = name.partition("/grad")[0]
            largest[group] = max(largest.get(group, 0.0), x.double().abs().max().item())
        for name, x in v.tensors.items():
            if any(f"/{part}/" in name for part in ("param", "ema", "after")):
                continue
            scale = max(x.double().abs().max().item(), 1e-12)
            if "/grad" in name:
                scale = max(scale, floor * largest[name.partition("/grad")[0]])
            by = (x.double() - w.tensors[name].double()).abs().max().item() / scale
            if not math.isfinite(by):
                return math.inf, f"{v.name}: {name}"
            worst = max(worst, (by, f"{v.name}: {name}"))
    return worst


def settled(name, seed, build, floor=0.0, ulps=1, nudges=2, allowed=MOVED):
    """The goldens that `build(seed, nudge)` makes, of the first seed, the given one or what follows
    from it, whose weights f32 can follow: `nudge` moves them, and the outcome stays within what is
    allowed. A build that hangs on a close call is None."""
    for number in range(REDRAWS):
        own = zlib.crc32(f"{seed}/{number}".encode()) >> 1 if number else seed
        made = build(own, Nudge())
        if made is None:
            print(f"{name}: a close call: drawn again")
            continue
        trial = made[0].about.get("trial", 0)
        moved = (build(own, Nudge(Draw("nudge", own, n), ulps, trial)) for n in range(nudges))
        by, where = max(movement(made, other, floor) for other in moved)
        verdict = "kept" if by <= allowed else "drawn again"
        print(f"{name}: ulps of each weight: {ulps}, moved by {by:.1e}: {where}: {verdict}")
        if by <= allowed:
            return made
    raise SystemExit(f"{name}: no weights of seed {seed} that f32 can follow")


def cosine_lr(base, step, warmup, total, min_ratio):
    """Linear warm-up, then cosine to `min_ratio` of the base."""
    if step < warmup:
        return base * step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return base * (min_ratio + max(0.0, (1 - min_ratio) * cosine))
