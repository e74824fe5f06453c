#!/usr/bin/env python3
"""`hrm import` refuses hostile and damaged files: a clear error, no file, no code run, within bounds.

    hostile.py HRM      HRM: the binary to check

Archives and pickles are made by hand around a small official checkpoint that is accepted as it is: code
in the pickle, compressed bombs, paths that lead out, sizes that lie, tensors and entries that overlap,
then truncated and bit-flipped files of both formats. A child gets 2 GiB of address space and a minute.
"""

import io
import json
import math
import os
import pickle
import random
import resource
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

MEMORY_BYTES, SECONDS = 2 << 30, 60
FLIPS = 60
C, V, F = 16, 12, 256
SETTINGS = ["model.num_heads=2", "model.h_cycles=1", "model.l_cycles=1", "model.halt_max_steps=2",
            "data.canvas=3"]


def weights():
    torch.manual_seed(0)
    shapes = {"H_init": (C,), "L_init": (C,), "embed_tokens.embedding_weight": (V, C),
              "lm_head.weight": (V, C), "q_head.weight": (2, C), "q_head.bias": (2,),
              "puzzle_emb.weights": (5, C)}
    for level in ("H_level", "L_level"):
        layer = f"{level}.layers.0"
        shapes |= {f"{layer}.self_attn.qkv_proj.weight": (3 * C, C),
                   f"{layer}.self_attn.o_proj.weight": (C, C),
                   f"{layer}.mlp.gate_up_proj.weight": (2 * F, C),
                   f"{layer}.mlp.down_proj.weight": (C, F)}
    return {f"_orig_mod.model.inner.{k}": torch.randn(s) for k, s in shapes.items()}


class Child:
    """Runs `hrm import` on one file; knows what an accepted file must have become."""

    def __init__(self, folder, wanted):
        self.folder, self.wanted = folder, wanted
        self.file, self.output = folder / "step_7", folder / "out.safetensors"

    def run(self, *args):
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True,
                              errors="replace", timeout=SECONDS, preexec_fn=limit)

    def fail(self, what, done):
        sys.exit(f"hostile.py: {what}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")

    def take(self, what, content, settings):
        """Whether it was accepted. Refused: one clear error and nothing written."""
        self.file.write_bytes(content)
        self.output.unlink(missing_ok=True)
        done = self.run("import", self.file, *settings, "--output", self.output)
        if done.returncode == 0:
            return True
        is_clear = done.stderr.startswith("error: ") and "panicked" not in done.stderr
        if done.returncode != 1 or not is_clear or len(done.stderr) > 4000 or self.output.exists():
            self.fail(f"{what}: not refused clearly", done)
        self.said = done.stderr
        return False

    def refuse(self, what, content, word):
        if self.take(what, content, SETTINGS):
            sys.exit(f"hostile.py: {what}: accepted")
        if word not in self.said:
            sys.exit(f"hostile.py: {what}: the error lacks {word!r}: {self.said}")

    def check_accepted(self, what):
        """Damage that is not seen must not have changed a bit of the weights."""
        back = self.folder / "back.safetensors"
        done = self.run("export", self.output, "--output", back)
        if done.returncode != 0:
            self.fail(what, done)
        got = load_file(back)
        same = set(got) == set(self.wanted) and all(
            torch.equal(got[k].view(torch.int32), v.view(torch.int32))
            for k, v in self.wanted.items())
        if not same:
            sys.exit(f"hostile.py: {what}: accepted with other weights")


# ---- archives ----------------------------------------------------------------------------------


def saved(whole):
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    return buffer.getvalue()


def entries(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def zipped(parts, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in parts if isinstance(parts, list) else parts.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


class Shell:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def with_code(canary):
    """The same call under each name that a pickle can reach it by."""
    name = str(canary).encode()
    yield "os.system", saved({"model_state_dict": {"x": Shell(canary)}})
    for module, what in ((b"posix", b"system"), (b"builtins", b"exec"), (b"torch.hub", b"load"),
                         (b"torch.serialization", b"load"), (b"numpy.core.multiarray", b"_x")):
        code = b"\x80\x02c" + module + b"\n" + what + b"\nX" + len(name).to_bytes(4, "little") + name
        yield f"{module.decode()}.{what.decode()}", zipped({"a/data.pkl": code + b"\x85R."})


def pickles():
    """Pickles that ask for more than there is."""
    yield "long text", b"\x80\x02X\xff\xff\xff\x7fa.", ""
    yield "huge integer", b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", ""
    yield "deep nesting", b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", ""
    doubled = b"\x80\x02)" + b"".join(b"q%c2h%ch%c\x86" % (i, i, i) for i in range(60)) + b"."
    yield "doubling tuples", doubled, ""
    yield "many opcodes", b"\x80\x02" + b"N0" * 20_000_000 + b"N.", ""
    yield "a persistent id of its own", b"\x80\x02X\x01\0\0\0aQ.", ""
    yield "memo from nowhere", b"\x80\x02h\x07.", ""


def lies(content, wanted):
    """One number of the pickle changed: the element count or the shape of the largest tensor."""
    parts = entries(content)
    name = next(n for n in parts if n.endswith("data.pkl"))
    pickled = parts[name]
    gate_up = b"M" + (2 * F).to_bytes(2, "little") + b"K" + bytes([C])
    count = b"M" + (2 * F * C).to_bytes(2, "little")
    for what, old, new in (
        ("a shape beyond its storage", gate_up, b"M\xff\xffK" + bytes([C])),
        ("a huge shape", gate_up, b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f"),
        ("a negative shape", gate_up, b"J\xff\xff\xff\xffK" + bytes([C])),
        ("a storage larger than its entry", count, b"J\xff\xff\xff\x7f"),
    ):
        if old not in pickled:
            sys.exit(f"hostile.py: {what}: the pickle of this PyTorch has other words")
        yield what, zipped(parts | {name: pickled.replace(old, new)})
    key = next(iter(wanted))
    wide = dict(wanted, **{key: torch.zeros(1).expand(1 << 20, 1 << 20)})
    yield "one element shown 2^40 times", saved(wide)
    yield "many views of one storage", saved(
        {f"{k}.{i}": v for i in range(400) for k, v in {"t": wanted[key]}.items()})
    small = {k: v for k, v in parts.items() if not k.endswith("data/3")}
    yield "a storage that is missing", zipped(small)


def overlapping(content):
    """The directory's second entry points at the first one's bytes."""
    at = content.rindex(b"PK\x01\x02")
    first = content.index(b"PK\x01\x02")
    offset = content[first + 42 : first + 46]
    return content[: at + 42] + offset + content[at + 46 :]


def check_archives(child, content, wanted):
    parts = entries(content)
    root = next(iter(parts)).split("/")[0]
    canary = child.folder / "canary"
    for what, hostile in with_code(canary):
        child.refuse(f"code: {what}", hostile, what.split(".")[0] if what != "os.system" else "system")
        if canary.exists():
            sys.exit(f"hostile.py: {what}: code of the pickle was run")
    child.refuse("compressed", zipped(parts, zipfile.ZIP_DEFLATED), "compressed")
    bomb = parts | {f"{root}/data/0": bytes(512 << 20)}
    child.refuse("zip bomb", zipped(bomb, zipfile.ZIP_DEFLATED), "compressed")
    for path in ("../../evil", f"{root}/../../evil", "/etc/evil", f"{root}/a\\..\\evil"):
        child.refuse(f"path {path}", zipped(parts | {path: b"x"}), "leads out")
    child.refuse("entry twice", zipped([*parts.items(), (f"{root}/data.pkl", b"\x80\x02}.")]), "twice")
    child.refuse("overlapping entries", overlapping(content), "")
    child.refuse("no pickle", zipped({f"{root}/data/0": b"x"}), "data.pkl")
    child.refuse("big-endian", zipped(parts | {f"{root}/byteorder": b"big"}), "big-endian")
    for what, code, word in pickles():
        child.refuse(what, zipped({f"{root}/data.pkl": code}), word)
    for what, hostile in lies(content, wanted):
        child.refuse(what, hostile, "")
    child.refuse("an old pickle", pickle.dumps({"a": 1}, protocol=2), "before 1.6")
    child.refuse("a list", saved([torch.zeros(2)]), "no dictionary")
    child.refuse("an optimizer", saved({"state": {0: torch.zeros(2)}}), "")


# ---- safetensors -------------------------------------------------------------------------------


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def check_safetensors(child):
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for what, content in {
        "empty": b"",
        "a header of 2^63 bytes": (1 << 63).to_bytes(8, "little") + b"{}",
        "a header of 1 GiB": (1 << 30).to_bytes(8, "little") + b"{}",
        "no JSON": raw(b"\xff\xfe\xfd"),
        "nested JSON": raw(b"[" * 200_000),
        "overlapping tensors": raw({"a": one, "b": dict(one, data_offsets=[4, 12])}, bytes(12)),
        "the same bytes twice": raw({"a": one, "b": one}, bytes(8)),
        "beyond the end": raw({"a": dict(one, data_offsets=[0, 1 << 40])}, bytes(8)),
        "backwards": raw({"a": dict(one, data_offsets=[8, 0])}, bytes(8)),
        "another size": raw({"a": dict(one, shape=[1 << 40])}, bytes(8)),
        "a product that overflows": raw({"a": dict(one, shape=[1 << 33, 1 << 33, 2])}, bytes(8)),
        "nothing of much": raw({"a": dict(one, shape=[0, 1 << 60], data_offsets=[0, 0])}),
        "unknown type": raw({"a": dict(one, dtype="F8_E4M3", shape=[8])}, bytes(8)),
    }.items():
        child.refuse(f"safetensors: {what}", content, "")


# ---- models that are none ------------------------------------------------------------------------


def check_models(child, wanted):
    for what, change, word in (
        ("not a number", {"lm_head.weight": torch.full((V, C), math.nan)}, "NaN"),
        ("integers", {"lm_head.weight": torch.zeros(V, C, dtype=torch.int32)}, "i32"),
        ("another shape", {"lm_head.weight": torch.zeros(V, C + 1)}, "lm_head.weight"),
        ("five dimensions", {"lm_head.weight": torch.zeros(V, 1, 1, 1, C)}, "5 dimensions"),
        ("no rows", {"embed_tokens.embedding_weight": torch.zeros(0, C)}, "embed_tokens"),
        ("no puzzle", {"puzzle_emb.weights": torch.zeros(0, C)}, "num_puzzle_ids"),
        ("a million layers", {"L_level.layers.1000000.x": torch.zeros(1)}, "unknown here"),
    ):
        named = {f"_orig_mod.model.inner.{k}": v for k, v in change.items()}
        child.refuse(what, saved(wanted | named), word)
    child.refuse("many tensors", saved({f"t{i}": torch.zeros(1) for i in range(5000)}), "5000 tensors")


def check_damage(child, what, content, settings):
    rng = random.Random(5)
    for share in (0, 0.1, 0.5, 0.9, 0.999):
        cut = content[: int(len(content) * share)]
        if child.take(f"{what} cut to {len(cut)}", cut, settings):
            sys.exit(f"hostile.py: {what}: {len(cut)} of {len(content)} bytes were accepted")
    accepted = 0
    for _ in range(FLIPS):
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        if child.take(f"{what}, bit {bit} of byte {at}", bytes(flipped), settings):
            accepted += 1
            child.check_accepted(f"{what}, bit {bit} of byte {at}")
    print(f"hostile.py: {what}: {FLIPS} bit flips, {FLIPS - accepted} refused, "
          f"{accepted} without a change to any weight")


def main():
    wanted = weights()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bare = {k.removeprefix("_orig_mod."): v for k, v in wanted.items()}
        child = Child(folder, bare)
        content = saved(wanted)
        if not child.take("the checkpoint itself", content, SETTINGS):
            sys.exit(f"hostile.py: the checkpoint itself is refused: {child.said}")
        child.check_accepted("the checkpoint itself")
        exports = {}
        for kind in ("pt", "safetensors"):
            exports[kind] = folder / f"e.{kind}"
            done = child.run("export", child.output, "--to", kind, "--output", exports[kind])
            if done.returncode != 0:
                child.fail(f"export to {kind}", done)
        check_archives(child, content, wanted)
        check_safetensors(child)
        check_models(child, wanted)
        check_damage(child, "official .pt", content, SETTINGS)
        for kind, path in exports.items():
            check_damage(child, f"exported {kind}", path.read_bytes(), [])
        plain = folder / "plain.safetensors"
        save_file(bare, plain)
        child.refuse("a foreign safetensors file, cut", plain.read_bytes()[:-1], "")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = Path(sys.argv[1]).resolve()
    main()
