#!/usr/bin/env python3
"""Archives of CIFAR-10 made by Python (tarfile, pickle, numpy) beside what `hrm data fetch` keeps.

The batches are pickled as numpy arrays under bytes keys in every protocol that the reader takes, 2
being the published one, with labels and file names as in the original; the binary form too. What
is kept must be the same images in the same order. Usage: images.py HRM_BINARY
"""

import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

PIXELS = 3072


def batch_of(rng, n, form, protocol, what):
    data = rng.integers(0, 256, (n, PIXELS), dtype=np.uint8)
    labels = [int(label) for label in rng.integers(0, 10, n)]
    records = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
    if form == "binary":
        return records, records.tobytes()
    if form == "fortran":
        data = np.asfortranarray(data)
    names = [f"airplane_s_{i:06}.png".encode() for i in range(n)]
    entries = {b"batch_label": what.encode(), b"labels": labels, b"data": data, b"filenames": names}
    if form == "text keys":
        entries = {key.decode(): value for key, value in entries.items()}
    return records, pickle.dumps(entries, protocol=protocol)


def archive(path, form, members):
    folder, suffix = ("bin", ".bin") if form == "binary" else ("py", "")
    with tarfile.open(path, "w:gz") as tar:
        top = tarfile.TarInfo(f"cifar-10-batches-{folder}")
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, content in members:
            info = tarfile.TarInfo(f"cifar-10-batches-{folder}/{name}{suffix}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def check(hrm, form, protocol, seed):
    rng = np.random.default_rng(seed)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    batches = [batch_of(rng, 20 + 300 * (i == 2), form, protocol, n) for i, n in enumerate(names)]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        path = scratch / "cifar-10.tar.gz"
        archive(path, form, zip(names, [content for _, content in batches]))
        out = scratch / "raw"
        command = [hrm, "data", "fetch", "cifar10", "--from", path, "--output-dir", out, "--quiet"]
        subprocess.run(command, check=True, timeout=120)
        kept = out / "cifar10"
        train = b"".join((kept / f"data_batch_{i}.bin").read_bytes() for i in range(1, 6))
        test = (kept / "test_batch.bin").read_bytes()
        about = json.loads((kept / "source.json").read_text())
        expected = np.concatenate([records for records, _ in batches[:5]])
        assert train == expected.tobytes(), "training images differ"
        assert test == batches[5][0].tobytes(), "test images differ"
        assert (about["train"], about["test"]) == (len(expected), 20), about
        return about["digest"]


def refuses_code(hrm):
    """A pickle that would run something is refused, and it does not run."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        witness = scratch / "witness"

        class Evil:
            def __reduce__(self):
                return (open, (str(witness), "w"))

        evil = pickle.dumps({b"data": Evil(), b"labels": [1]}, protocol=2)
        path = scratch / "evil.tar.gz"
        names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
        archive(path, "python", [(name, evil) for name in names])
        command = [hrm, "data", "fetch", "cifar10", "--from", path, "--output-dir", scratch / "raw"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert run.returncode != 0 and "refused" in run.stderr, run
        assert not witness.exists() and not (scratch / "raw/cifar10").exists()


def main():
    hrm = sys.argv[1]
    for seed, protocols in ((1, [2, 3, 4, 5]), (2, [2, 5])):
        forms = [("binary", 0)] + [("python", p) for p in protocols]
        forms += [("fortran", 2), ("text keys", 4)]
        digests = {check(hrm, form, protocol, seed) for form, protocol in forms}
        assert len(digests) == 1, digests
        print(f"seed {seed}: {len(forms)} archives, one digest")
    refuses_code(hrm)
    print("a pickle with code in it is refused")


if __name__ == "__main__":
    main()
