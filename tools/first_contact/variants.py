"""Variants of kernels for an A/B on a card without a compiler: replacements in the sources, compiled here to
machine code, which HRM_KERNELS_DIR puts in the place of the built-in modules."""

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

# A variant replaces `old` by `new` (a regular expression) wherever the modules' sources have it.
Variant = namedtuple("Variant", "name why modules old new")
VARIANTS = (
    Variant("fast-exp", "the gate's exponential by MUFU alone (other last bits)", ("matmul", "swiglu"),
            r"(?<![\w.])expf\(-x\)", "__expf(-x)"),
    Variant("l2-128", "asynchronous copies that ask L2 for whole lines of 128 bytes",
            ("matmul", "attention_fwd", "attention_bwd"),
            r"cp\.async\.cg\.shared\.global \[", "cp.async.cg.shared.global.L2::128B ["),
)
# Ops of the bench whose kernels lie in a module; a folder with others is timed over all hot ops.
OPS = {"matmul": ("matmul", "gated_mlp"), "swiglu": ("swiglu",), "attention_fwd": ("attention",),
       "attention_bwd": ("attention",), "rms_norm": ("rms_norm",)}
INCLUDE = re.compile(r'^#include "(.+)"$', re.M)


class Refused(Exception):
    """What is missing or does not fit, in words."""


def sources(kernels, module):
    """The files of a module: its own and those of ours that it includes."""
    found, wanted = [], [kernels / f"{module}.cu"]
    while wanted:
        path = wanted.pop()
        if path in found:
            continue
        if not path.exists():
            raise Refused(f"{path} is missing")
        found.append(path)
        for name in INCLUDE.findall(path.read_text()):
            # As the compiler looks for it: beside the file, then in kernels/.
            beside = path.parent / name
            wanted.append(beside if beside.exists() else kernels / name)
    return found


def apply(variant, kernels):
    """`kernels`, a copy of ours, becomes the variant. Every module must change."""
    files = {module: sources(kernels, module) for module in variant.modules}
    counts = {}
    for path in {path for all_ in files.values() for path in all_}:
        text, counts[path] = re.subn(variant.old, variant.new, path.read_text())
        if counts[path]:
            path.write_text(text)
    for module, all_ in files.items():
        if not any(counts[path] for path in all_):
            raise Refused(f"variant {variant.name}: `{variant.old}` is nowhere in the sources of {module}")


def check(root):
    """Every replacement still matches."""
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            apply(variant, shutil.copytree(root / "kernels", Path(folder) / "kernels"))


def toolchain(root):
    """The folder that build.rs takes its compiler from."""
    for name in ("HRM_CUDA_HOME", "CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            return Path(os.environ[name])
    return Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "cuda-toolchain"


def nvrtc_options(root):
    """Those of the build: a variant differs in its replacement only."""
    text = (root / "build" / "nvrtc.rs").read_text()
    found = re.search(r"OPTIONS: &\[&str\] =\s*&\[(.*?)\];", text, re.S)
    if not found:
        raise Refused("build/nvrtc.rs has no list OPTIONS")
    return re.findall(r'"([^"]+)"', found[1])


def to_ptx(library, path, options):
    """NVRTC's PTX of a file."""
    nvrtc = ctypes.CDLL(str(library))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()

    def text(of_size, of_text):
        getattr(nvrtc, of_size)(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, of_text)(program, buffer)
        return buffer.value

    nvrtc.nvrtcCreateProgram(ctypes.byref(program), path.read_bytes(), str(path).encode(), 0, None, None)
    words = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    if nvrtc.nvrtcCompileProgram(program, len(options), words) != 0:
        log = text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode(errors="replace")
        raise Refused(f"{path.name} does not compile:\n{log}")
    ptx = text("nvrtcGetPTXSize", "nvrtcGetPTX")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx


def make(variant, root, arch, folder):
    """`folder`/<module>.ptx for each module: the name that HRM_KERNELS_DIR looks for, whatever is in it."""
    home = toolchain(root)
    libraries = sorted((home / "lib64").glob("libnvrtc.so*"))
    ptxas = home / "bin" / "ptxas"
    if not libraries or not ptxas.exists():
        raise Refused(f"{home} has no lib64/libnvrtc.so or no bin/ptxas: run tools/cuda-toolchain")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        kernels = shutil.copytree(root / "kernels", Path(scratch) / "kernels")
        apply(variant, kernels)
        options = nvrtc_options(root) + [f"-I{kernels}", f"-I{home / 'include'}"]
        for module in variant.modules:
            ptx = Path(scratch) / f"{module}.ptx"
            ptx.write_bytes(to_ptx(libraries[0], kernels / f"{module}.cu", options))
            command = [ptxas, f"-arch=sm_{arch}", "-o", folder / f"{module}.ptx", ptx]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Refused(f"variant {variant.name}: ptxas, {module}:\n{done.stderr}")
    (folder / "WHY").write_text(f"{variant.why}: {variant.old} -> {variant.new}\n")
