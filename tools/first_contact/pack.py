"""Makes the pack: programs for one architecture that run without Rust and without this folder, goldens, scripts."""

import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import variants
from variants import Refused

MOST_BYTES = 60 << 20
# Debian 12; every current distribution has it.
NEWEST_GLIBC = (2, 36)
LIBRARIES = ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2")
PAYLOAD = "payload.tar.xz"
# Name in the pack, kind and name of the target.
PROGRAMS = (("hrm", "bin", "hrm"), ("ops", "test", "ops"), ("models", "test", "models"), ("bench-ops", "bench", "ops"))
SCRIPTS = ("tools/first-contact", "tools/first_contact", "tools/baseline")


def needed(command, what):
    found = shutil.which(command)
    if not found:
        raise Refused(f"{command} is missing: {what}")
    return found


def build(root, arch):
    """{name: executable} of one build, for `arch` only."""
    cargo = needed("cargo", "install Rust with rustup; it compiles the programs")
    command = [cargo, "build", "--release", "--locked", "--features", "cuda", "--package", "hrm", "--bins", "--test",
               "ops", "--test", "models", "--bench", "ops", "--message-format=json-render-diagnostics"]
    print(f"+ HRM_CUDA_ARCHS={arch} cargo {' '.join(command[1:])}", flush=True)
    done = subprocess.run(command, cwd=root, env=os.environ | {"HRM_CUDA_ARCHS": str(arch)}, stdout=subprocess.PIPE,
                          text=True)
    if done.returncode != 0:
        raise Refused("the programs do not build")
    found = {}
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if said.get("reason") == "compiler-artifact" and said.get("executable"):
            for name, kind, target in PROGRAMS:
                if said["target"]["kind"] == [kind] and said["target"]["name"] == target:
                    found[name] = Path(said["executable"])
    missing = [name for name, _, _ in PROGRAMS if name not in found]
    if missing:
        raise Refused(f"cargo built no {', '.join(missing)}")
    return found


def check_libraries(path):
    """Nothing but libc and its like, in versions that the other machine has."""
    readelf = needed("readelf", "apt-get install binutils")
    dynamic = subprocess.run([readelf, "-dW", path], capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    if not wanted:
        raise Refused(f"{path.name}: readelf names no library, so nothing is known of it")
    more = [name for name in wanted if name not in LIBRARIES]
    if more:
        raise Refused(f"{path.name} also needs {', '.join(more)}")
    symbols = subprocess.run([readelf, "--version-info", "-W", path], capture_output=True, text=True, check=True).stdout
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", symbols)}
    if not versions:
        raise Refused(f"{path.name}: readelf names no version of glibc")
    if max(versions) > NEWEST_GLIBC:
        raise Refused(f"{path.name} needs glibc {'.'.join(map(str, max(versions)))}, "
                      f"newer than {'.'.join(map(str, NEWEST_GLIBC))}")
    return max(versions)


def goldens(root, folder):
    """Those of the repository and those beside it, each in a folder of its own: names occur in both."""
    places = {"repository": root / "tests" / "golden", "shared": root.parent / "shared" / "golden"}
    if os.environ.get("HRM_GOLDEN_DIR", "none") != "none":
        places = {"chosen": root / os.environ["HRM_GOLDEN_DIR"]}
    for name, place in places.items():
        files = [file for pattern in ("*.json", "*.safetensors") for file in sorted(place.glob(pattern))]
        if not files and name != "shared":
            raise Refused(f"{place} has no goldens: tools/golden/make makes them")
        if files:
            (folder / name).mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder / name)


def commit(root):
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() or "of no known commit"


def sizes(folder):
    """Bytes of each entry of a folder, largest first."""
    def size(entry):
        return sum(file.stat().st_size for file in [entry, *entry.rglob("*")] if file.is_file())

    found = {entry.name: size(entry) for entry in folder.iterdir()}
    return sorted(found.items(), key=lambda item: -item[1])


def told(list_):
    return ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in list_)


def make(root, out, arch, with_variants=True):
    """The pack at `out`, whole or not at all."""
    strip = needed("strip", "apt-get install binutils")
    needed("readelf", "apt-get install binutils")
    variants.check(root)
    scratch = out.with_name(out.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    payload = scratch / "payload"
    (payload / "bin").mkdir(parents=True)
    newest = (0, 0)
    for name, path in build(root, arch).items():
        subprocess.run([strip, "-o", payload / "bin" / name, path], check=True)
        newest = max(newest, check_libraries(payload / "bin" / name))
    goldens(root, payload / "golden")
    for variant in variants.VARIANTS if with_variants else ():
        print(f"variant {variant.name}", flush=True)
        variants.make(variant, root, arch, payload / "variants" / variant.name)
    about = {"commit": commit(root), "arch": arch, "glibc": ".".join(map(str, newest))}
    (payload / "about.json").write_text(json.dumps(about) + "\n")
    for name in SCRIPTS:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        ignored = {"ignore": shutil.ignore_patterns("__pycache__")} if (root / name).is_dir() else {}
        copy(root / name, scratch / name, **ignored)
    unpacked = sizes(payload) + sizes(payload / "bin")
    print("compressing", flush=True)
    # All programs carry the same kernels: a window as wide as two of them packs these once.
    window = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 128 << 20}
    with lzma.open(scratch / PAYLOAD, "w", filters=[window]) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for entry in sorted(payload.iterdir()):
            archive.add(entry, entry.name)
    shutil.rmtree(payload)
    total = sum(size for _, size in sizes(scratch))
    if total > MOST_BYTES:
        shutil.rmtree(scratch)
        raise Refused(f"the pack has {total / 2**20:.1f} MiB, more than {MOST_BYTES >> 20}: {told(unpacked)} unpacked")
    shutil.rmtree(out, ignore_errors=True)
    scratch.rename(out)
    print(f"{out}: {total / 2**20:.1f} MiB ({told(unpacked)} unpacked), commit {about['commit']}, sm_{arch}, "
          f"glibc {about['glibc']}")


def unpacked(pack, scratch):
    """The folder with `bin` and `golden` of a pack, unpacked into `scratch` where it is not yet."""
    if (pack / "bin").is_dir():
        return pack
    archive = pack / PAYLOAD
    if not archive.exists():
        raise Refused(f"{pack} is no pack: it has neither bin/ nor {PAYLOAD} (tools/first-contact --pack makes one)")
    folder = scratch / "pack"
    with tarfile.open(archive) as file:
        # Made by ourselves; the filter is only known to newer versions of Python, which ask for it.
        file.extractall(folder, **({"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}))
    shutil.copytree(pack / "tools", folder / "tools")
    return folder
